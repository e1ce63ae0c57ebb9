"""Workloads and pods in memory, behind what a rollout uses of the API."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from certrotd.clock import ManualClock
from certrotd.errors import Failure
from certrotd.https.stream import Stream
from certrotd.kube.api import Denied, Missing, Object, Selection
from certrotd.kube.recent import Recent
from certrotd.kube.rights import REVIEWS, RULES
from certrotd.kube.workloads import KINDS
from certrotd.state.ports import Conflict

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAMESPACE = "shop"


def workload_object(kind: str = "deployment", name: str = "web", replicas: int = 3) -> Object:
    """One that is whole."""
    counts = {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
    if kind == "daemonset":
        counts = dict.fromkeys(
            ("currentNumberScheduled", "desiredNumberScheduled"), replicas
        ) | dict.fromkeys(("updatedNumberScheduled", "numberAvailable"), replicas)
    return {
        "metadata": {"name": name, "uid": "1-2", "resourceVersion": "7", "generation": 2},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": []}},
        },
        "status": {"observedGeneration": 2, **counts},
    }


def pod(name: str, *, ready: bool = False, of: str | None = None, **status: Any) -> Object:
    """A pod; ``of`` is when its template was stamped."""
    annotations = {} if of is None else {"certrotd.io/restarted-at": of}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    metadata: Object = {"name": name, "uid": name, "resourceVersion": "3"}
    metadata["annotations"] = annotations
    metadata["ownerReferences"] = [{"kind": "StatefulSet", "uid": "1-2"}]
    address = f"10.0.0.{name}"
    return {"metadata": metadata, "status": {"conditions": conditions, "podIP": address, **status}}


def replica(name: str, of: str = "web", **fields: Any) -> Object:
    """A pod that a Deployment has made."""
    made = pod(name, **fields)
    made["metadata"]["labels"] = {"pod-template-hash": "5d9"}
    made["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": f"{of}-5d9", "uid": "rs"}]
    return made


def budget(*, healthy: int, allowed: int = 0, app: str = "web", name: str = "one") -> Object:
    """A PodDisruptionBudget over three pods with that label."""
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {
            "observedGeneration": 1,
            "expectedPods": 3,
            "currentHealthy": healthy,
            "disruptionsAllowed": allowed,
        },
    }


def status(**state: Any) -> Object:
    """A container's status."""
    return {"name": "main", "restartCount": 0, **state}


CRASHED: dict[str, Any] = {
    "containerStatuses": [
        status(
            state={"waiting": {"reason": "CrashLoopBackOff"}},
            lastState={"terminated": {"exitCode": 1}},
            restartCount=1,
        )
    ]
}


class MemoryApi:
    """As kube.api.Api for one namespace.

    ``then`` is called before each act with its name and path, and may raise; ``controller`` is
    given each workload that has been changed.
    """

    def __init__(self, *workloads: tuple[str, Object]) -> None:
        self.clock = ManualClock(NOW)
        self.objects = {
            KINDS[kind].path(NAMESPACE, found["metadata"]["name"]): found
            for kind, found in workloads
        }
        self.pods: list[Object] = []
        self.budgets: list[Object] = []
        self.events: list[Object] = []
        self.log: list[str] = []
        self.reviews: list[str] = []
        self.had: dict[object, float] = {}
        self.rules: dict[str, tuple[Sequence[Any], float]] = {}
        self.lasting: set[object] = set()
        self.recent = Recent(self.clock)
        self.denied: set[str] = set()
        self.then: Callable[[str, str], None] = lambda _what, _path: None
        self.lost: Failure | None = None  # raised after the next change was made
        self.controller: Callable[[Object], None] = lambda _found: None

    def now(self) -> datetime:
        self._act("now", "")
        return self.clock.now()

    def get(self, path: str) -> Object:
        self._act("get", path)
        return copy.deepcopy(self._there(path))

    def watch(self, selection: Selection, *, since: str, seconds: int) -> Stream:
        """Nobody may: what a watch tells is tried against a real API server."""
        raise Denied(f"nobody may watch {selection.path} for {seconds} s since {since}")

    def list_of(self, selection: Selection) -> tuple[list[Object], str]:
        """As find()."""
        return list(self.find(selection)), "9"

    def find(self, selection: Selection) -> Iterator[Object]:
        path, labels = selection.path, selection.labels
        self._act("list", f"{path}?{labels}")
        if path.endswith("/poddisruptionbudgets"):
            return iter(copy.deepcopy(self.budgets))
        if path.endswith("/pods"):
            return iter(copy.deepcopy(self.pods))
        within = [found for at, found in self.objects.items() if at.startswith(path)]
        return iter(copy.deepcopy([each for each in within if _labelled(each, labels)]))

    def ask(self, method: str, path: str, content: Object) -> Object:
        """A SelfSubjectAccessReview: all but what is in ``denied`` is allowed.

        A SelfSubjectRulesReview tells nothing.
        """
        if (method, path) == ("POST", RULES):
            return {"status": {"resourceRules": [], "incomplete": True}}
        assert (method, path) == ("POST", REVIEWS)
        attributes = content["spec"]["resourceAttributes"]
        assert attributes["namespace"] == NAMESPACE
        words = [attributes[key] for key in ("verb", "group", "resource", "name")]
        if attributes["subresource"]:
            words[2] += "/" + attributes["subresource"]
        asked = "{} {}/{} {}".format(*words).strip()
        self._act("review", asked)
        self.reviews.append(asked)
        return {"status": {"allowed": asked not in self.denied}}

    def merge(self, path: str, change: Object) -> Object:
        self._act("patch", path)
        found = self._there(path)
        if change["metadata"].pop("resourceVersion") != found["metadata"]["resourceVersion"]:
            raise Conflict("it has been changed")
        before = copy.deepcopy(found["spec"])
        _merge(found, change)
        version = int(found["metadata"]["resourceVersion"])
        found["metadata"]["resourceVersion"] = str(version + 1)
        if found["spec"] != before:
            found["metadata"]["generation"] += 1
            self.controller(found)
        lost, self.lost = self.lost, None
        if lost is not None:
            raise lost
        return copy.deepcopy(found)

    def delete(self, path: str, *, revision: str | None = None) -> None:
        self._act("delete", f"{path}@{revision}")
        name = path.rpartition("/")[2]
        self.pods = [each for each in self.pods if each["metadata"]["name"] != name]

    def create(self, path: str, content: Object) -> Object:
        self._act("create", path)
        self.events.append(content)
        return content

    def reasons(self) -> list[str]:
        """Those of the events."""
        return [each["reason"] for each in self.events]

    def _there(self, path: str) -> Object:
        if path not in self.objects:
            raise Missing(f"there is no {path}")
        return self.objects[path]

    def _act(self, what: str, path: str) -> None:
        self.log.append(f"{what} {path.rpartition('/')[2]}".strip())
        self.then(what, path)


def _labelled(found: Object, labels: str) -> bool:
    key, _, value = labels.partition("=")
    return not labels or bool((found["metadata"].get("labels") or {}).get(key) == value)


def _merge(target: Object, change: Object) -> None:
    """RFC 7396, and what the API server drops: a map that is empty."""
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            within = target.setdefault(key, {})
            _merge(within, value)
            if not within:
                del target[key]
        else:
            target[key] = value
