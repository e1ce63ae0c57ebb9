"""Alert rules of a service that fails (a CA, a KMS): one incident with its subjects listed.

Transitions only; nothing here knows the time, a notifier or a disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved, rotation_key
from certrotd.wording import tally

TOGETHER = 2
"""So many subjects that fail at one service are the service's incident, not theirs."""

SHOWN = 5
_SIZES = ((10, "a few"), (100, "tens"), (1000, "hundreds"))


class Outages:
    """Which subjects fail because of a service, by its name, since it last answered well.

    Not safe to use from several threads at once.
    """

    def __init__(self, failing: Mapping[str, Sequence[Id]] | None = None) -> None:
        self._failing = {name: dict.fromkeys(ids) for name, ids in (failing or {}).items() if ids}
        self._services = {each: name for name, ids in self._failing.items() for each in ids}
        self._open = {name for name, ids in self._failing.items() if len(ids) >= TOGETHER}

    def fold(
        self, subject: Id, service: str | None, events: Sequence[AlertEvent]
    ) -> list[AlertEvent]:
        """What takes the place of the ``events`` of a rotation, or of a look, of ``subject``.

        ``service`` is the one that failed the rotation, None if it was not that.
        """
        folded: list[AlertEvent] = []
        for each in events:
            if each.key != rotation_key(subject):
                folded.append(each)
            elif service and isinstance(each, Alert) and each.kind == "rotation_failed":
                folded += self._failed(service, subject, each)
            else:
                folded += [each, *self._well(subject)]
        return folded

    def answered(self, service: str) -> list[AlertEvent]:
        """The service did what was asked of it: its incident is over."""
        for subject in self._failing.pop(service, ()):
            del self._services[subject]
        self._open.discard(service)
        return [Resolved(_key(service), f"{service} answers again.")]

    def keep(self, subjects: Collection[Id]) -> list[AlertEvent]:
        """Forget all other subjects."""
        gone = [each for each in self._services if each not in subjects]
        return [said for each in gone for said in self._well(each)]

    @property
    def failing(self) -> dict[str, tuple[Id, ...]]:
        """The subjects by service, in the order of their first failure."""
        return {name: tuple(ids) for name, ids in self._failing.items()}

    def _failed(self, service: str, subject: Id, alert: Alert) -> list[AlertEvent]:
        """The first subject has an alert of its own; when others join it, all have one."""
        said = self._well(subject) if self._services.get(subject, service) != service else []
        failing = self._failing.setdefault(service, {})
        failing[subject], self._services[subject] = None, service
        if service not in self._open and len(failing) < TOGETHER:
            return [*said, alert]
        folded = [subject] if service in self._open else list(failing)
        self._open.add(service)
        said.append(of_outage(service, failing, alert.cause))
        return [*said, *(_folded(service, each) for each in folded)]

    def _well(self, subject: Id) -> list[AlertEvent]:
        """A subject does not fail because of a service any more."""
        service = self._services.pop(subject, None)
        if service is None:
            return []
        failing = self._failing[service]
        del failing[subject]
        if failing:
            return []
        del self._failing[service]
        self._open.discard(service)
        return [Resolved(_key(service), f"Nothing fails because of {service} any more.")]


def of_outage(service: str, failing: Collection[Id], why: str) -> Alert:
    """One service fails so many. It has changed when they are ten times as many."""
    shown = ", ".join(str(each) for each in islice(failing, SHOWN))
    more = f" and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
    rotations = tally(failing)
    return Alert(
        kind="rotation_failed",
        severity="warning",
        key=_key(service),
        title=f"{service} fails the rotations of {rotations}",
        what=f"{service} fails the rotations of {rotations}: {shown}{more}. The last "
        f"reason: {why}.",
        todo="certrotd tries again by itself. Check the status page of the service, and whether "
        "this host reaches it. What is close to its end has an alert of its own. See: certrotd "
        "status",
        cause=next((size for most, size in _SIZES if len(failing) < most), "thousands"),
    )


def _key(service: str) -> str:
    return f"service/{service}"


def _folded(service: str, subject: Id) -> Resolved:
    words = f"{subject}: {service} fails several rotations, which is one alert now."
    return Resolved(rotation_key(subject), words, subject)
