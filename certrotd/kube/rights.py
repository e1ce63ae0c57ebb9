"""What an account may do in a cluster, by its own questions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from certrotd.errors import NeedsOperator
from certrotd.kube.api import Api, Kind, Object

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ASK_AGAIN = 3600.0
"""So many seconds are the rights that were had believed to be had still."""
RULES_LAST = 60.0
"""So many seconds are the rules of an account in a namespace believed to be as they were."""
_VERSION = "authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Right:
    """To do ``verb`` to objects of one kind in a namespace, or to the one that has the name.

    Without a namespace in all, or to objects that are in none.
    """

    kind: Kind
    verb: str
    namespace: str
    name: str = ""

    @property
    def group(self) -> str:
        """The API group, empty for the core."""
        *_, group, _version = ("", *self.kind.group.split("/"))
        return "" if group == "api" else group

    def __str__(self) -> str:
        what = f"{self.kind.plural}/{self.name}" if self.name else self.kind.plural
        where = f"in the namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {what} {where}"


def missing(
    api: Api, rights: Iterable[Right], *, lasting: Collection[Right] = ()
) -> Iterator[NeedsOperator]:
    """Each of the rights that the account lacks; raises what Api.ask does.

    By one SelfSubjectRulesReview for each namespace. That tells some of the rights for certain, but
    not all, with webhooks not even all that Roles give; so what it does not tell is asked for by a
    SelfSubjectAccessReview. What was had within an hour is not asked for; of those that are
    ``lasting`` what was ever had, until the API server refuses anything for want of a right.
    """
    now = api.clock.monotonic()
    old = (each for each in rights if now - api.had.get(each, now - ASK_AGAIN) >= ASK_AGAIN)
    asked = [each for each in old if each not in lasting or each not in api.lasting]
    for namespace in dict.fromkeys(each.namespace for each in asked):
        here = [each for each in asked if each.namespace == namespace]
        rules = _rules(api, namespace, now) if len(here) > 1 else []
        for right in here:
            if given(rules, right) or may(api, right):
                api.had[right] = now
                if right in lasting:
                    api.lasting.add(right)
            else:
                yield NeedsOperator(f"the account may not {right}", hint="its Role lacks that")


def may(api: Api, right: Right) -> bool:
    """Whether the account has a right; raises what Api.ask does."""
    resource, _, subresource = right.kind.plural.partition("/")
    attributes = {
        "namespace": right.namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name,
    }
    review = _review("SelfSubjectAccessReview", {"resourceAttributes": attributes})
    return (api.ask("POST", REVIEWS, review).get("status") or {}).get("allowed") is True


def given(rules: Sequence[Any], right: Right) -> bool:
    """Whether one of the rules (ResourceRule) gives a right."""
    wanted = (("verbs", right.verb), ("apiGroups", right.group), ("resources", right.kind.plural))
    for rule in rules:
        if not isinstance(rule, dict):
            continue
        names = rule.get("resourceNames") or ()
        if all(_has(rule.get(key), value) for key, value in wanted) and (
            not names or (right.name and isinstance(names, list) and right.name in names)
        ):
            return True
    return False


def _has(found: object, value: str) -> bool:
    return isinstance(found, list) and (value in found or "*" in found)


def _rules(api: Api, namespace: str, now: float) -> Sequence[Any]:
    """Those that were given within a minute are not asked for: that they give a right is enough."""
    known, at = api.rules.get(namespace, ((), 0.0))
    if known and now - at < RULES_LAST:
        return known
    found = api.ask("POST", RULES, _review("SelfSubjectRulesReview", {"namespace": namespace}))
    rules = (found.get("status") or {}).get("resourceRules")
    api.rules[namespace] = (rules if isinstance(rules, list) else [], now)
    return api.rules[namespace][0]


def _review(kind: str, spec: Object) -> Object:
    return {"apiVersion": _VERSION, "kind": kind, "spec": spec}
