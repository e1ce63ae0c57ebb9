"""A key of the transit engine of Vault or OpenBao, of any type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.errors import InvalidInput
from certrotd.kek import vault
from certrotd.kek.bounded import within
from certrotd.kek.managed.periods import checked
from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.kek.port import Unfit
from certrotd.kek.service import asked
from certrotd.kek.vault import Vault

if TYPE_CHECKING:
    from certrotd.config.keks import VaultKekEntry


@dataclass(frozen=True)
class VaultManagedKey:
    """The key that ``service`` asks for."""

    service: Vault
    timeout: float = 10.0
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def describe(self) -> ManagedState:
        """As ManagedKey.describe; takes read on keys/KEY."""
        return self._described(self._deadline())

    def rotate(self, present: str) -> None:
        """As ManagedKey.rotate; takes update on keys/KEY/rotate."""
        deadline = self._deadline()
        if self._described(deadline).present.id != present:
            return
        within(
            deadline,
            self.service.place,
            lambda by: self.service.asked(
                "POST", f"keys/{self.service.key}/rotate", {}, by, lambda _: None
            ),
        )

    def set_period(self, period: timedelta | None) -> None:
        """As ManagedKey.set_period; takes update on keys/KEY/config."""
        days = checked(period, self.service.place, self.service.type) if period else 0
        self._configure({"auto_rotate_period": f"{days * 24}h"}, self._deadline())

    def retire_before(self, version: str) -> None:
        """As Retires.retire_before: by min_decryption_version; takes update on keys/KEY/config."""
        deadline = self._deadline()
        if version not in [each.id for each in self._described(deadline).versions]:
            raise InvalidInput(f"{self.service.place} has no version {version[:80]}")
        try:
            self._configure({"min_decryption_version": int(version)}, deadline)
        except Unfit as error:
            hint = "it must not be above min_encryption_version, unless that is 0"
            raise Unfit(error.message, hint=hint) from None

    def _described(self, deadline: Deadline) -> ManagedState:
        path = f"keys/{self.service.key}"
        return asked(
            self.service.place,
            lambda by: self.service.asked("GET", path, None, by, self._state),
            deadline,
        )

    def _configure(self, given: Mapping[str, Any], deadline: Deadline) -> None:
        path = f"keys/{self.service.key}/config"
        asked(
            self.service.place,
            lambda by: self.service.asked("POST", path, given, by, lambda _: None),
            deadline,
        )

    def _state(self, found: Mapping[str, Any]) -> ManagedState:
        least = max(1, int(found["min_decryption_version"]))
        given = found.get("min_available_version")
        available = None if given is None else max(1, int(given))  # 0: nothing was trimmed
        # Vault shows no more than the number of those that do not decrypt
        made = {int(number): _created(each) for number, each in found["keys"].items()}
        numbers = range(available or 1, int(found["latest_version"]) + 1)
        seconds = int(found.get("auto_rotate_period", 0))
        if not numbers:
            raise ValueError("no version")
        return ManagedState(
            self.service.type,
            self.service.place,
            tuple(KeyVersion(str(n), made.get(n), n >= least) for n in numbers),
            period=timedelta(seconds=seconds) if seconds else None,
            min_decryption_version=least,
            min_available_version=available,
        )

    def _deadline(self) -> Deadline:
        return Deadline(self.clock, self.timeout)


def _created(made: object) -> datetime:
    """When a version was made: a number, or of an asymmetric key among other things a text."""
    if isinstance(made, int):
        return datetime.fromtimestamp(made, UTC)
    if isinstance(made, dict):
        return datetime.fromisoformat(str(made["creation_time"])).astimezone(UTC)
    raise ValueError("no time")


def build(name: str, entry: VaultKekEntry) -> VaultManagedKey:
    """The key of a configuration entry."""
    del name
    return VaultManagedKey(vault.service_of(entry), entry.timeout.total_seconds())
