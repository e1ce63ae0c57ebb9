"""Alert rules of a CA that fails: one incident with its certificates listed, not one for each.

Transitions only; nothing here knows the time, a notifier or a disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, Passed, Said, rotation_key
from certrotd.wording import count

TOGETHER = 2
"""So many certificates that fail at one CA are the CA's incident, not theirs."""

SHOWN = 5
_SIZES = ((10, "a few"), (100, "tens"), (1000, "hundreds"))


class Outages:
    """Which certificates fail because of their CA, by issuer, since it last issued anything.

    Not safe to use from several threads at once.
    """

    def __init__(self, failing: Mapping[str, Sequence[Id]] | None = None) -> None:
        self._failing = {name: dict.fromkeys(ids) for name, ids in (failing or {}).items() if ids}
        self._issuers = {each: name for name, ids in self._failing.items() for each in ids}
        self._open = {name for name, ids in self._failing.items() if len(ids) >= TOGETHER}

    def fold(self, subject: Id, issuer: str | None, said: Sequence[Said]) -> list[Said]:
        """What to say in place of what a rotation, or a look, of ``subject`` ``said`` by itself.

        ``issuer`` is the one whose CA failed the rotation, None if it was not that.
        """
        folded: list[Said] = []
        for each in said:
            if each.key != rotation_key(subject):
                folded.append(each)
            elif issuer and isinstance(each, Alert) and each.kind == "rotation_failed":
                folded += self._failed(issuer, subject, each)
            else:
                folded += [each, *self._well(subject)]
        return folded

    def issued(self, issuer: str) -> list[Said]:
        """The CA behind ``issuer`` has issued a certificate: its incident is over."""
        for subject in self._failing.pop(issuer, ()):
            del self._issuers[subject]
        self._open.discard(issuer)
        return [Passed(_key(issuer), f"{issuer} issues certificates again.")]

    def keep(self, subjects: Collection[Id]) -> list[Said]:
        """Forget the certificates that are not among these."""
        gone = [each for each in self._issuers if each not in subjects]
        return [said for each in gone for said in self._well(each)]

    @property
    def failing(self) -> dict[str, tuple[Id, ...]]:
        """The certificates by issuer, in the order of their first failure."""
        return {name: tuple(ids) for name, ids in self._failing.items()}

    def _failed(self, issuer: str, subject: Id, alert: Alert) -> list[Said]:
        """The first certificate has an alert of its own; when others join it, all have one."""
        said = self._well(subject) if self._issuers.get(subject, issuer) != issuer else []
        failing = self._failing.setdefault(issuer, {})
        failing[subject], self._issuers[subject] = None, issuer
        if issuer not in self._open and len(failing) < TOGETHER:
            return [*said, alert]
        folded = [subject] if issuer in self._open else list(failing)
        self._open.add(issuer)
        said.append(of_outage(issuer, failing, alert.cause))
        return [*said, *(_folded(issuer, each) for each in folded)]

    def _well(self, subject: Id) -> list[Said]:
        """A certificate does not fail because of its CA any more."""
        issuer = self._issuers.pop(subject, None)
        if issuer is None:
            return []
        failing = self._failing[issuer]
        del failing[subject]
        if failing:
            return []
        del self._failing[issuer]
        self._open.discard(issuer)
        return [Passed(_key(issuer), f"No certificate fails because of {issuer} any more.")]


def of_outage(issuer: str, failing: Collection[Id], why: str) -> Alert:
    """One CA fails so many certificates. It has changed when they are ten times as many."""
    shown = ", ".join(str(each) for each in islice(failing, SHOWN))
    more = f" and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
    certificates = count(len(failing), "certificate")
    return Alert(
        kind="rotation_failed",
        severity="warning",
        key=_key(issuer),
        title=f"{issuer}: the CA fails the orders of {certificates}",
        what=f"The CA of {issuer} fails the orders of {certificates}: {shown}{more}. The last "
        f"reason: {why}.",
        todo="certrotd tries again by itself. Check the status page of the CA, and whether this "
        "host reaches it. A certificate close to its end has an alert of its own. See: certrotd "
        "status",
        cause=next((size for most, size in _SIZES if len(failing) < most), "thousands"),
    )


def _key(issuer: str) -> str:
    return f"ca/{issuer}"


def _folded(issuer: str, subject: Id) -> Passed:
    words = f"{subject}: the CA of {issuer} fails several certificates, which is one alert now."
    return Passed(rotation_key(subject), words, subject)
