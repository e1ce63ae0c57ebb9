"""A site that keeps everything in a cluster: its state, its certificate, and who serves that."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from certrotd.stores.live_secret import NEEDED_LIVE
from tests.cluster.objects import container, deployment
from tests.integration.test_cluster_state import RULES as STATE
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.secrets import Shop
from tests.parts.site import Site
from tests.unit.targets.kubernetes_page import rules as target_rules

HOST = "web.example.test"
_PATH = re.compile(r"/(?:api|apis/[^/]+)/[^/]+/(?:namespaces/[^/]+/)?([^?]*)")
_DAEMON = re.compile(r"\w+ (leases/certrotd-lock.daemon|configmaps)|(list|watch) secrets$")


def made(plane: ControlPlane) -> Shop:
    """Two namespaces, an account with the rights that the docs name, and a Deployment "web"."""
    shop = Shop.made(plane, "web")
    plane.allow(shop.own, "certrotd", *STATE)
    live = {"apiGroups": [""], "resources": ["secrets"], "verbs": list(NEEDED_LIVE)}
    shop.allow_live({**live, "resourceNames": ["web"]}, *target_rules()[:-1])
    plane.api.create(
        f"/apis/apps/v1/namespaces/{shop.workloads}/deployments",
        deployment("web", 3, container("none")),
    )
    return shop


def keep(site: Site, shop: Shop, *, server: str | None = None, **certificate: Any) -> None:
    """Have the site keep its state and the certificate "web" there, and restart that Deployment.

    ``server``: another way to the API server.
    """
    path = shop.who.write_kubeconfig(site.directory / "kubeconfig", shop.own)
    if server is not None:
        path.write_text(path.read_text().replace(shop.plane.url, server))
    access = {"kubeconfig": str(path)}
    site.config["state"] = {"type": "kubernetes", **access}
    site.config["targets"]["pods"] = {
        "type": "kubernetes",
        "namespace": shop.workloads,
        "workloads": ["deployment/web"],
        **access,
    }
    store = {
        "type": "kubernetes",
        "secret": "web",
        "namespace": shop.workloads,
        "generations": shop.own,
        **access,
    }
    site.certificate("web", HOST, store=store, targets=["pods"], keep=1, **certificate)


def restarts(shop: Shop) -> int:
    """How often the pod template of the Deployment was changed."""
    path = f"/apis/apps/v1/namespaces/{shop.workloads}/deployments/web"
    return int(shop.plane.api.get(path)["metadata"]["generation"]) - 1


@dataclass
class Calls:
    """What the account of a shop has asked since the last look, by the API server's own log."""

    shop: Shop
    seen: int = 0

    def new(self) -> list[str]:
        """As "verb what"."""
        who = f"system:serviceaccount:{self.shop.own}:certrotd"
        with self.shop.plane.audit_log.open("rb") as log:
            log.seek(self.seen)
            whole, newline, _ = log.read().rpartition(b"\n")
        self.seen += len(whole) + len(newline)
        found = [
            each
            for each in map(json.loads, whole.splitlines())
            if each["user"].get("username") == who
        ]
        # a watch is told of when it begins and when it ends
        return [_called(each) for each in {each["auditID"]: each for each in found}.values()]


def of_rotation(calls: list[str]) -> list[str]:
    """Those of a rotation: from its lock on, but not what the daemon asks in any case."""
    lock = "leases/certrotd-lock.certificate.web"
    begun = next((i for i, each in enumerate(calls) if each.endswith(lock)), len(calls))
    return [each for each in calls[begun:] if not _DAEMON.match(each)]


def _called(line: dict[str, Any]) -> str:
    match = _PATH.match(line["requestURI"])
    what = match[1] if match else line["requestURI"]
    dry = " (dry run)" if "dryRun" in line["requestURI"] else ""
    return f"{line['verb']} {what}{dry}"
