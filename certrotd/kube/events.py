"""Events on objects of a cluster, which kubectl describe shows."""

from __future__ import annotations

from contextlib import suppress

from certrotd.errors import Failure
from certrotd.kube.api import Api, Kind, Object
from certrotd.kube.workloads import API_KINDS, Workload

EVENTS = Kind("api/v1", "events")
MAX_MESSAGE = 1024
_COMPONENT = "certrotd"


def event(about: Workload, namespace: str, at: str, reason: str, message: str) -> Object:
    """The Event (core/v1) that something happened to a workload ``at`` a time (RFC 3339).

    What has a ``reason`` that ends with Failed is a warning.
    """
    kind, name = about.reference.kind, about.reference.name
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:200]}.{_COMPONENT}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "apps/v1",
            "kind": API_KINDS[kind],
            "namespace": namespace,
            "name": name,
            "uid": about.uid,
        },
        "reason": reason,
        "message": message[:MAX_MESSAGE],
        "type": "Warning" if reason.endswith("Failed") else "Normal",
        "source": {"component": _COMPONENT},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def tell(api: Api, about: Workload, namespace: str, reason: str, message: str) -> None:
    """Write one; what keeps it from being written keeps nothing else from being done.

    That the account may write them is looked at before a rotation begins.
    """
    with suppress(Failure):
        at = f"{api.now():%Y-%m-%dT%H:%M:%SZ}"
        content = event(about, namespace, at, reason, message)
        api.create(EVENTS.path(namespace), content)
