"""A key of Azure Key Vault, which rotates it by its policy, or on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.kek import azure_keyvault
from certrotd.kek.answers import read
from certrotd.kek.azure_keyvault import AzureKeyVault, version_of
from certrotd.kek.bounded import within
from certrotd.kek.managed.periods import checked, parse_iso
from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.kek.port import KekUnavailable
from certrotd.kek.service import asked

if TYPE_CHECKING:
    from certrotd.config.keks import AzureKeyVaultKekEntry

MAX_PAGES = 50
T = TypeVar("T")


@dataclass(frozen=True)
class AzureManagedKey:
    """The key that ``service`` asks for."""

    service: AzureKeyVault
    timeout: float = 10.0
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def describe(self) -> ManagedState:
        """As ManagedKey.describe; takes keys/get, keys/list and keys/getrotationpolicy."""
        return self._described(self._deadline())

    def rotate(self, present: str) -> None:
        """As ManagedKey.rotate; takes keys/rotate."""
        deadline = self._deadline()
        if self._described(deadline).present.id != present:
            return
        within(
            deadline,
            self.service.place,
            lambda by: self.service.asked("POST", "/rotate", None, by, lambda found: found),
        )

    def set_period(self, period: timedelta | None) -> None:
        """As ManagedKey.set_period; what the policy says of notices and expiry stays.

        Takes keys/getrotationpolicy and keys/setrotationpolicy.
        """
        days = checked(period, self.service.place, self.service.type) if period else 0
        deadline = self._deadline()
        policy = self._policy(deadline)

        def others() -> list[Any]:
            return [each for each in policy["lifetimeActions"] if not _rotates(each)]

        actions = read(self.service.place, others)
        if days:
            trigger = {"timeAfterCreate": f"P{days}D"}
            actions.append({"trigger": trigger, "action": {"type": "Rotate"}})
        given = {"lifetimeActions": actions, "attributes": policy.get("attributes") or {}}
        self._asked("PUT", "/rotationpolicy", lambda _: None, deadline, given)

    def _described(self, deadline: Deadline) -> ManagedState:
        present = self._asked("GET", "", lambda found: version_of(found["key"]["kid"]), deadline)
        versions = self._versions(deadline)
        if not any(each.id == present for each in versions):
            raise KekUnavailable(f"{self.service.place} does not list its present version")
        # of two that were made in one second only the vault knows which is the newer one
        versions.sort(key=lambda each: (each.id == present, each.created))
        policy = self._policy(deadline)
        period = read(self.service.place, lambda: _period(policy))
        return ManagedState(self.service.type, self.service.place, tuple(versions), period=period)

    def _versions(self, deadline: Deadline) -> list[KeyVersion]:
        def take(page: Mapping[str, Any]) -> tuple[list[KeyVersion], str]:
            return [_version(each) for each in page["value"]], str(page.get("nextLink") or "")

        found: list[KeyVersion] = []
        path = "/versions"
        for _ in range(MAX_PAGES):
            versions, link = self._asked("GET", path, take, deadline)
            found += versions
            if not link:
                return found
            path = self._followed(link)
        raise KekUnavailable(f"{self.service.place} lists its versions without an end")

    def _followed(self, link: str) -> str:
        """The path of the next page; it must be of the same key, for a token is sent there."""
        start = f"{self.service.vault}/keys/{self.service.key}"
        if not link.startswith(f"{start}/versions?"):
            raise KekUnavailable(f"{self.service.place} leads elsewhere for its other versions")
        return link.removeprefix(start)

    def _policy(self, deadline: Deadline) -> dict[str, Any]:
        return self._asked("GET", "/rotationpolicy", dict, deadline)

    def _asked(
        self,
        method: str,
        path: str,
        take: Callable[[Mapping[str, Any]], T],
        deadline: Deadline,
        given: Mapping[str, Any] | None = None,
    ) -> T:
        return asked(
            self.service.place,
            lambda by: self.service.asked(method, path, given, by, take),
            deadline,
        )

    def _deadline(self) -> Deadline:
        return Deadline(self.clock, self.timeout)


def _version(item: Mapping[str, Any]) -> KeyVersion:
    about = item["attributes"]
    created = datetime.fromtimestamp(int(about["created"]), UTC)
    return KeyVersion(version_of(item["kid"]), created, bool(about["enabled"]))


def _rotates(action: Mapping[str, Any]) -> bool:
    return str(action["action"]["type"]).lower() == "rotate"


def _period(policy: Mapping[str, Any]) -> timedelta | None:
    """So long after its creation, or before its expiry, a version is followed by another."""
    for each in policy["lifetimeActions"]:
        if not _rotates(each):
            continue
        if after := each["trigger"].get("timeAfterCreate"):
            return parse_iso(str(after))
        expiry = parse_iso(str(policy["attributes"]["expiryTime"]))
        return expiry - parse_iso(str(each["trigger"]["timeBeforeExpiry"]))
    return None


def build(name: str, entry: AzureKeyVaultKekEntry) -> AzureManagedKey:
    """The key of a configuration entry."""
    del name
    return AzureManagedKey(azure_keyvault.service_of(entry), entry.timeout.total_seconds())
