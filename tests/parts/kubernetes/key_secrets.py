"""A namespace of a control plane in which certrotd writes keyrings, with the rights it needs."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certrotd.clock import SystemClock
from certrotd.config.output import SecretPlace
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import SECRETS, Api
from certrotd.outputs.port import Placed
from certrotd.outputs.secret_entries import NEEDED, SecretEntries, home_of
from tests.parts.kubernetes.api import Credentials
from tests.parts.kubernetes.control_plane import ControlPlane

NAME = "app-keys"


@dataclass(frozen=True)
class KeyNamespace:
    """``namespace`` has the Secret app-keys; ``who`` may write it, and no other."""

    plane: ControlPlane
    namespace: str
    who: Credentials

    @classmethod
    def made(cls, plane: ControlPlane, *, may_keep_aside: bool = False) -> "KeyNamespace":
        """A namespace of its own; whoever may keep aside may make any Secret there."""
        namespace = plane.namespace()
        who = plane.service_account(namespace, "certrotd")
        secrets = {"apiGroups": [""], "resources": ["secrets"]}
        rules = [{**secrets, "verbs": list(NEEDED), "resourceNames": [NAME]}]
        if may_keep_aside:
            rules.append({**secrets, "verbs": ["create"]})
        plane.allow(namespace, "certrotd", *rules)
        return cls(plane, namespace, who)

    def api(self, *, server: str | None = None) -> Api:
        """As one process has it."""
        context = trusting(self.plane.ca_file)
        access = Access(
            server or self.plane.url, context, self.namespace, lambda: str(self.who.token)
        )
        return Api(access, SystemClock(), agent="certrotd test")

    def entries(
        self, output: Placed, key: str, *, keyring: str = "orders", api: Api | None = None
    ) -> SecretEntries:
        """The place of an output there."""
        used = api or self.api()
        place = SecretPlace(name=NAME, key=key)
        return SecretEntries(output, lambda: home_of(place, keyring, lambda _file, _context: used))

    def place(self, key: str, kubeconfig: Path) -> dict[str, Any]:
        """The same in a configuration file."""
        self.who.write_kubeconfig(kubeconfig, self.namespace)
        return {
            "name": NAME,
            "key": key,
            "namespace": self.namespace,
            "kubeconfig": str(kubeconfig),
        }

    @property
    def path(self) -> str:
        """Of the Secret."""
        return SECRETS.path(self.namespace, NAME)

    def secret(self) -> dict[str, Any]:
        """As an administrator sees it."""
        found: dict[str, Any] = self.plane.api.get(self.path)
        return found

    def data(self) -> dict[str, bytes]:
        """What it holds; nothing if it is not there."""
        if not self.plane.api.exists(self.path):
            return {}
        return {key: base64.b64decode(each) for key, each in self.secret()["data"].items()}

    def make(self, data: Mapping[str, bytes] = {}, **given: Any) -> None:
        """Somebody else makes it."""
        encoded = {key: base64.b64encode(each).decode() for key, each in data.items()}
        secret = {"metadata": {"name": NAME}, "data": encoded, **given}
        self.plane.api.create(SECRETS.path(self.namespace), secret)

    def put(self, data: Mapping[str, bytes]) -> None:
        """Somebody else changes these entries."""
        encoded = {key: base64.b64encode(each).decode() for key, each in data.items()}
        self.plane.api.merge(self.path, {"data": encoded})

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Somebody else changes something of it."""
        found = self.secret()
        change(found)
        self.plane.api.replace(self.path, found)

    def others(self) -> list[dict[str, Any]]:
        """The other Secrets there."""
        found = self.plane.api.get(SECRETS.path(self.namespace))["items"]
        return [each for each in found if each["metadata"]["name"] != NAME]
