"""The state of certrotd in a namespace of an API server, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from certrotd.clock import SystemClock
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import LEASES, SECRETS, Api
from certrotd.kube.names import object_name
from certrotd.kube.objects import Objects
from certrotd.kube.state import NEEDED, ClusterState
from tests.parts.kubernetes import ControlPlane

SUBJECT = "certificate/web"
BEGIN = {"t": "begin", "id": "r1", "plan": []}
SUMMARY = {"id": "r1", "failure": None, "ended": "2026-06-01T00:00:00+00:00"}
RULES = [
    {
        "apiGroups": ["" if kind.group == "api/v1" else kind.group.split("/")[1]],
        "resources": [kind.plural],
        "verbs": list(verbs),
    }
    for kind, verbs in NEEDED.items()
]


@dataclass(frozen=True)
class Home:
    """A namespace of an API server, and the account that has its state there."""

    plane: ControlPlane
    namespace: str
    token: str

    @classmethod
    def made(cls, plane: ControlPlane) -> Home:
        namespace = plane.namespace()
        who = plane.service_account(namespace, "certrotd")
        plane.allow(namespace, "certrotd", *RULES)
        assert who.token is not None
        return cls(plane, namespace, who.token)

    def api(self, *, server: str | None = None, timeout: float = 10.0) -> Api:
        """As one process has it."""
        context = trusting(self.plane.ca_file)
        access = Access(server or self.plane.url, context, self.namespace, lambda: self.token)
        return Api(access, SystemClock(), agent="certrotd test", timeout=timeout)

    def state(self, words: str = "pod a", *, api: Api | None = None, **given: Any) -> ClusterState:
        """That of one process."""
        api = api or self.api()
        return ClusterState(api, self.namespace, "certrotd", words=words, **{"every": 0, **given})

    def objects(self, part: str) -> Objects:
        """The Secrets of a part of the state."""
        return Objects(self.api(), SECRETS, self.namespace, "certrotd", part, 1.0)

    def lease(self, name: str = SUBJECT) -> str:
        """The path of a lock's Lease."""
        return LEASES.path(self.namespace, object_name("certrotd-lock", name))
