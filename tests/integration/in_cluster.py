"""A site that keeps everything in a cluster: its state, its certificate, and who serves that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from certrotd.stores.live_secret import NEEDED_LIVE
from tests.cluster.objects import container, deployment
from tests.integration.cluster_home import RULES as STATE
from tests.parts.kubernetes import ControlPlane, audit
from tests.parts.kubernetes.audit import AuditLog, Call, described
from tests.parts.kubernetes.secrets import Shop
from tests.parts.site import Site
from tests.unit.targets.kubernetes_page import rules as target_rules

HOST = "web.example.test"


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

    def new(self) -> list[Call]:
        """The requests, each of them answered."""
        who = f"system:serviceaccount:{self.shop.own}:certrotd"
        found, self.seen = AuditLog(self.shop.plane).follow(who, self.seen)
        return found


def asked(calls: Iterable[Call]) -> list[str]:
    """As "verb resource/name"."""
    return list(map(described, calls))


def of_rotation(calls: Iterable[Call]) -> list[str]:
    """Those of a rotation of the certificate "web"."""
    return asked(audit.of_rotation(calls, "web"))
