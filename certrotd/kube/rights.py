"""What this account may do, as the API server says (SelfSubjectAccessReview)."""

from __future__ import annotations

from certrotd.kube.api import Api, Kind

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def may(api: Api, namespace: str, kind: Kind, verb: str, *, name: str = "") -> bool:
    """Whether it may do that to the objects of a kind, or to the one of that name.

    Raises as Api.ask().
    """
    *_, group, _version = ("", *kind.group.split("/"))
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": "" if group == "api" else group,
        "resource": kind.plural,
        "name": name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    found = api.ask("POST", REVIEWS, review)
    return bool((found.get("status") or {}).get("allowed"))
