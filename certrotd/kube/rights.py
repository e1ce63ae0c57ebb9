"""What an account may do in a cluster, by its own question (SelfSubjectAccessReview)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from certrotd.errors import NeedsOperator
from certrotd.kube.api import Api, Kind

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Right:
    """To do ``verb`` to objects of one kind in a namespace, or to the one that has the name."""

    kind: Kind
    verb: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.kind.plural}/{self.name}" if self.name else self.kind.plural
        return f"{self.verb} {what} in the namespace {self.namespace}"


def missing(api: Api, rights: Iterable[Right]) -> Iterator[NeedsOperator]:
    """Each of the rights that the account lacks; raises what Api.ask does."""
    for right in rights:
        if not may(api, right):
            yield NeedsOperator(f"the account may not {right}", hint="its Role lacks that")


def may(api: Api, right: Right) -> bool:
    """Whether the account has a right; raises what Api.ask does."""
    *_, group, _version = ("", *right.kind.group.split("/"))
    resource, _, subresource = right.kind.plural.partition("/")
    attributes = {
        "namespace": right.namespace,
        "verb": right.verb,
        "group": "" if group == "api" else group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    found = api.ask("POST", REVIEWS, review)
    return bool((found.get("status") or {}).get("allowed"))
