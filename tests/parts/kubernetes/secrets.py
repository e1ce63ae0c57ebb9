"""A namespace of a control plane in which certrotd keeps certificates, with the rights it needs."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from certrotd.clock import Clock, SystemClock
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import SECRETS, Api
from certrotd.stores.kubernetes import KubernetesStore
from certrotd.stores.live_secret import NEEDED_LIVE, NEEDED_OWN, Place
from certrotd.stores.tls_secret import CHAIN, KEY, TYPE, Shapes
from tests.parts.kubernetes import ControlPlane, Credentials
from tests.parts.pki import Pair


def rules(*names: str) -> list[dict[str, Any]]:
    """What the account of a store may do: where the generations are, and to these Secrets."""
    secrets = {"apiGroups": [""], "resources": ["secrets"]}
    return [
        {**secrets, "verbs": list(NEEDED_OWN)},
        {**secrets, "verbs": list(NEEDED_LIVE), "resourceNames": list(names)},
    ]


@dataclass(frozen=True)
class Shop:
    """``workloads`` is the namespace of the live Secrets, ``own`` that of the generations."""

    plane: ControlPlane
    workloads: str
    own: str
    who: Credentials

    @classmethod
    def made(cls, plane: ControlPlane, *names: str) -> "Shop":
        """Two namespaces, and an account that has its rights there for these Secrets alone."""
        workloads, own = plane.namespace(), plane.namespace()
        who = plane.service_account(own, "certrotd")
        everywhere, named = rules(*names)
        plane.allow(own, "certrotd", everywhere)
        found = cls(plane, workloads, own, who)
        found.allow_live(named)
        return found

    def allow_live(self, *given: dict[str, Any]) -> None:
        """What the account may do where the live Secrets are, and nothing else."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.workloads}"
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "certrotd"},
            "rules": list(given),
        }
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "certrotd"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "certrotd",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "certrotd", "namespace": self.own}],
        }
        if self.plane.api.exists(f"{rbac}/roles/certrotd"):
            self.plane.api.replace(f"{rbac}/roles/certrotd", role)
            return
        self.plane.api.create(f"{rbac}/roles", role)
        self.plane.api.create(f"{rbac}/rolebindings", binding)

    def api(
        self, *, server: str | None = None, clock: Clock | None = None, timeout: float = 10.0
    ) -> Api:
        """As one process has it."""
        context = trusting(self.plane.ca_file)
        access = Access(server or self.plane.url, context, self.own, lambda: str(self.who.token))
        return Api(access, clock or SystemClock(), agent="certrotd test", timeout=timeout)

    def store(self, *names: str, api: Api | None = None, **given: Any) -> KubernetesStore:
        """One of these certificates (``web`` if none is named), each in a Secret of its name."""
        used = api or self.api()
        return KubernetesStore(
            {
                name: Place(
                    **{
                        "api": lambda: used,
                        "secret": name,
                        "shapes": Shapes(name),
                        "namespace": self.workloads,
                        "generations": self.own,
                        **given,
                    }
                )
                for name in names or ("web",)
            }
        )

    def path(self, name: str = "web") -> str:
        """The path of a live Secret."""
        return SECRETS.path(self.workloads, name)

    def secret(self, name: str = "web") -> dict[str, Any]:
        """A live Secret, as an administrator sees it."""
        found: dict[str, Any] = self.plane.api.get(self.path(name))
        return found

    def data(self, name: str = "web") -> dict[str, bytes]:
        """What it holds."""
        return {key: base64.b64decode(each) for key, each in self.secret(name)["data"].items()}

    def put(self, pair: Pair, *, name: str = "web", key: bytes | None = None, **given: Any) -> None:
        """Somebody else writes the live Secret as kubectl does: all of it, or makes it."""
        secret = tls_secret(name, key or pair.key_pem, pair.fullchain_pem, **given)
        if self.plane.api.exists(self.path(name)):
            self.plane.api.replace(self.path(name), secret)
        else:
            self.plane.api.create(SECRETS.path(self.workloads), secret)

    def fill(self, pair: Pair, *, name: str = "web", key: bytes | None = None) -> None:
        """Somebody else changes what it holds alone, as cert-manager does."""
        data = tls_secret(name, key or pair.key_pem, pair.fullchain_pem)["data"]
        self.plane.api.merge(self.path(name), {"data": data})

    def calls(self) -> list[str]:
        """All that the account has asked of the API server, by the server's own log."""
        who = f"system:serviceaccount:{self.own}:certrotd"
        lines = map(json.loads, self.plane.audit_log.read_text().splitlines())
        return [f"{x['verb']} {x['requestURI']}" for x in lines if x["user"].get("username") == who]

    def change(self, change: Callable[[dict[str, Any]], None], name: str = "web") -> None:
        """Somebody else changes it."""
        found = self.secret(name)
        change(found)
        self.plane.api.replace(self.path(name), found)


def tls_secret(name: str, key: bytes, chain: bytes, **given: Any) -> dict[str, Any]:
    """A Secret of somebody else."""
    data = {KEY: base64.b64encode(key).decode(), CHAIN: base64.b64encode(chain).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {"name": name},
        "data": data,
        **given,
    }
