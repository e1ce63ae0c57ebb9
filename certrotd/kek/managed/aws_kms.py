"""A key of AWS KMS that AWS rotates: by itself each period, or on demand, 25 times at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.kek import aws_kms
from certrotd.kek.answers import read
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.bounded import within
from certrotd.kek.managed.periods import checked
from certrotd.kek.managed.port import KeyVersion, ManagedState, RotationsUsedUp
from certrotd.kek.port import Denied, KekUnavailable, Unfit
from certrotd.kek.service import asked

if TYPE_CHECKING:
    from certrotd.config.keks import AwsKmsKekEntry

ON_DEMAND = 25
"""Rotations on demand in the whole life of a key."""
PERIOD = 365
"""Days, where the service does not say another."""
MAX_PAGES = 50
T = TypeVar("T")


@dataclass(frozen=True)
class AwsManagedKey:
    """The key that ``service`` asks for."""

    service: AwsKms
    timeout: float = 10.0
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def describe(self) -> ManagedState:
        """As ManagedKey.describe.

        Takes kms:DescribeKey, GetKeyRotationStatus and ListKeyRotations; kms:GetKeyLastUsage for
        the last use.
        """
        return self._described(self._deadline())

    def rotate(self, present: str) -> None:
        """As ManagedKey.rotate; takes kms:RotateKeyOnDemand."""
        deadline = self._deadline()
        state = self._described(deadline)
        if state.rotating or state.present.id != present:
            return
        if state.rotations_left == 0:
            raise self._used_up()
        given = {"KeyId": self._key(deadline)["KeyId"]}
        meanings = {"LimitExceededException": self._used_up()}
        within(
            deadline,
            self.service.place,
            lambda by: self.service.asked(
                "rotate_key_on_demand", lambda _: None, by, meanings=meanings, **given
            ),
        )

    def set_period(self, period: timedelta | None) -> None:
        """As ManagedKey.set_period; takes kms:EnableKeyRotation and DisableKeyRotation."""
        days = checked(period, self.service.place, self.service.type) if period else 0
        deadline = self._deadline()
        given: dict[str, Any] = {"KeyId": self._key(deadline)["KeyId"]}
        if days:
            given["RotationPeriodInDays"] = days
        operation = "enable_key_rotation" if days else "disable_key_rotation"
        self._asked(operation, lambda _: None, deadline, **given)

    def _described(self, deadline: Deadline) -> ManagedState:
        key = self._key(deadline)
        key_id = str(key["KeyId"])
        status = self._asked("get_key_rotation_status", dict, deadline, KeyId=key_id)
        rotations = self._rotations(key_id, deadline)
        on_demand = sum(each.get("RotationType") == "ON_DEMAND" for each in rotations)
        last_use = self._last_use(key_id, deadline)

        def take() -> ManagedState:
            days = status.get("RotationPeriodInDays") or PERIOD
            return ManagedState(
                self.service.type,
                self.service.place,
                tuple(_versions(key, rotations)),
                period=timedelta(days=days) if status["KeyRotationEnabled"] else None,
                rotating=status.get("OnDemandRotationStartDate") is not None,
                rotations_left=max(0, ON_DEMAND - on_demand),
                last_use=last_use,
            )

        return read(self.service.place, take)

    def _key(self, deadline: Deadline) -> dict[str, Any]:
        """The metadata, with the id: the operations of rotation take no alias."""

        def take(found: Mapping[str, Any]) -> dict[str, Any]:
            return {"KeyId": str(found["KeyMetadata"]["KeyId"]), **found["KeyMetadata"]}

        return self._asked("describe_key", take, deadline, KeyId=self.service.key)

    def _rotations(self, key_id: str, deadline: Deadline) -> list[dict[str, Any]]:
        """Those that are over, from the oldest."""

        def take(page: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
            return [*page["Rotations"]], page["NextMarker"] if page.get("Truncated") else ""

        found: list[dict[str, Any]] = []
        given = {"KeyId": key_id}
        for _ in range(MAX_PAGES):
            rotations, marker = self._asked("list_key_rotations", take, deadline, **given)
            found += rotations
            if not marker:
                return sorted(found, key=lambda each: str(each.get("RotationDate", "")))
            given["Marker"] = marker
        raise KekUnavailable(f"{self.service.place} lists its rotations without an end")

    def _last_use(self, key_id: str, deadline: Deadline) -> datetime | None:
        """None also where the service is too old to say, or certrotd may not know it."""

        def take(found: Mapping[str, Any]) -> datetime | None:
            at = found.get("KeyLastUsage", {}).get("Timestamp")
            return at if isinstance(at, datetime) else None

        try:
            return self._asked("get_key_last_usage", take, deadline, KeyId=key_id)
        except (Denied, Unfit):
            return None

    def _asked(
        self,
        operation: str,
        take: Callable[[Mapping[str, Any]], T],
        deadline: Deadline,
        **given: Any,
    ) -> T:
        return asked(
            self.service.place,
            lambda by: self.service.asked(operation, take, by, **given),
            deadline,
        )

    def _used_up(self) -> RotationsUsedUp:
        return RotationsUsedUp(
            f"{self.service.place} was rotated on demand {ON_DEMAND} times, which is all that AWS "
            "allows",
            hint="let AWS rotate it by itself, or replace it by a new key",
        )

    def _deadline(self) -> Deadline:
        return Deadline(self.clock, self.timeout)


def _versions(key: Mapping[str, Any], rotations: list[dict[str, Any]]) -> list[KeyVersion]:
    """The first key material, and that of each rotation; an older service has no ids of them."""
    enabled = key.get("Enabled") is not False
    first = KeyVersion("0", key.get("CreationDate"), enabled)
    others = [
        KeyVersion(str(each.get("KeyMaterialId") or number), each.get("RotationDate"), enabled)
        for number, each in enumerate(rotations, 1)
    ]
    return [first, *others]


def build(name: str, entry: AwsKmsKekEntry) -> AwsManagedKey:
    """The key of a configuration entry."""
    del name
    return AwsManagedKey(aws_kms.service_of(entry), entry.timeout.total_seconds())
