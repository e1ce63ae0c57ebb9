"""What is told of the deliveries to a host: what ends soon, and a host that stays away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

import pytest

from certrotd.clock import ManualClock
from certrotd.deliveries.checks import AWAY, CHANGED, PASSING, UNPRUNED, HostCheck, expiry_of
from certrotd.deliveries.document import delivered_in
from certrotd.deliveries.policy import Delivered, Policy
from certrotd.deliveries.subject import DeliveryFound
from certrotd.errors import Transient
from certrotd.lifecycle.finding import FILES, EarlierLooks, Finding, FindingSeverity, Watched
from certrotd.lifecycle.looked import Looked
from certrotd.rotation.outcome import Stopped
from certrotd.ssh.files import Stamp
from certrotd.ssh.folder import RemoteFolder
from certrotd.ssh.session import Session
from certrotd.state.typed import TypedDocument
from tests.fakes.state import MemoryState
from tests.unit.deliveries.examples import DAY, NOW, POLICY, delivered, standing


@pytest.mark.parametrize(
    ("now", "kind", "severity"),
    [
        (NOW, None, None),
        (NOW + 46 * DAY, "expiring", FindingSeverity.WARNING),
        (NOW + 54 * DAY, "expiring", FindingSeverity.ERROR),
        (NOW + 60 * DAY, "expired", FindingSeverity.ERROR),
    ],
    ids=["long before", "a sixth of 90 days before", "a twelfth before", "at the end"],
)
def test_what_a_host_has_is_told_of_before_it_ends(
    now: datetime, kind: str | None, severity: FindingSeverity | None
) -> None:
    """By its own dates, whatever keeps a newer one away."""
    found = list(expiry_of(POLICY, delivered(), now=now))
    assert [(each.kind, each.severity) for each in found] == ([(kind, severity)] if kind else [])


@dataclass
class Fake:
    """A delivery whose host has that ``link``, or is away.

    During a look another delivery ``begins``, or a whole one ``brings`` that generation.
    """

    policy: Policy = POLICY
    link: str | None = None
    away: bool = False
    begins: bool = False
    brings: int = 0
    asked: int = 0
    woken: int = 0
    surplus_there: Sequence[str] = ()
    stopped: bool = False
    state: MemoryState = field(default_factory=MemoryState)

    def __post_init__(self) -> None:
        self.document().write(delivered())

    def session(self) -> Session:
        return cast("Session", self)

    def close(self) -> None:
        """As Session.close."""

    def folder(self, session: Session) -> RemoteFolder:
        assert session is not None
        return cast("RemoteFolder", self)

    def live(self) -> str | None:
        self.asked += 1
        if self.stopped:
            raise Stopped("the process was told to stop")
        if self.away:
            raise Transient("edge is not reached")
        if self.brings:
            self.document().write(delivered(self.brings))
        return self.link

    def different(self, name: str, wanted: Mapping[str, Stamp]) -> str | None:
        assert (name, wanted) == (delivered().folder, delivered().stamps)
        return None

    def surplus(self, keep: int, spare: str) -> Sequence[str]:
        assert (keep, spare) == (POLICY.keep, delivered().folder)
        return self.surplus_there

    def document(self) -> TypedDocument[Delivered]:
        return delivered_in(self.state.document("deliveries/web.edge"))

    def in_flight(self) -> bool:
        return self.begins and self.asked > 0

    def wake(self) -> None:
        self.woken += 1


@pytest.mark.parametrize(
    ("enabled", "todo"), [(True, "certrotd delivers it again"), (False, "is disabled")]
)
def test_what_was_changed_there_is_remembered_and_told_with_what_comes_of_it(
    enabled: bool, todo: str
) -> None:
    """A certificate that is disabled is not delivered again, and nobody is told that it is."""
    fake = Fake(replace(POLICY, enabled=enabled))
    [found] = HostCheck("edge", [fake], 60.0, ManualClock(NOW)).look()
    [finding] = found.watched.findings
    assert (finding.kind, finding.words[-12:]) == (CHANGED, "live is gone")
    assert todo in finding.todo
    known = fake.document().peek()
    assert known is not None
    assert (known.drift, known.seen, fake.woken) == ("live is gone", NOW, 1)


@pytest.mark.parametrize(
    ("fake", "known"), [(Fake(begins=True), delivered()), (Fake(brings=2), delivered(2))]
)
def test_what_a_delivery_changes_during_a_look_is_nobody_else_s_change(
    fake: Fake, known: Delivered
) -> None:
    """Remembered, it would be delivered once more for nothing; told, it would be a false alarm."""
    [found] = HostCheck("edge", [fake], 60.0, ManualClock(NOW)).look()
    assert found.moving
    assert fake.document().peek() == known
    assert fake.woken == 0


@pytest.mark.parametrize(("surplus", "told"), [(["000001-0123456789abcdef"], True), ([], False)])
def test_old_folders_that_stay_there_are_told_of_until_they_are_gone(
    surplus: list[str], told: bool
) -> None:
    """They may have keys in them; whoever removes them there has ended it."""
    fake = Fake(link=delivered().folder, surplus_there=surplus)
    fake.document().write(replace(delivered(), unpruned="it has 'my notes' in it"))
    [found] = HostCheck("edge", [fake], 60.0, ManualClock(NOW)).look()
    words = [each.words for each in found.watched.findings if each.kind == UNPRUNED]
    assert words == (["old folders stay in /srv/tls: it has 'my notes' in it"] if told else [])
    known = fake.document().peek()
    assert known is not None
    assert bool(known.unpruned) == told
    remark = DeliveryFound(POLICY, replace(standing(), delivered=known), None).remark
    assert remark == ("old folders stay there: it has 'my notes' in it" if told else "")


def test_a_look_that_is_told_to_stop_says_nothing_of_its_host() -> None:
    """It is not the host that refuses."""
    fake = Fake(stopped=True)
    with pytest.raises(Stopped):
        HostCheck("edge", [fake], 60.0, ManualClock(NOW)).look()


def test_a_host_that_is_away_is_asked_once_for_all_of_its_deliveries() -> None:
    """What is known of each stays as it was."""
    fakes = [Fake(away=True) for _ in range(3)]
    looks = HostCheck("edge", fakes, 60.0, ManualClock(NOW)).look()
    assert [[each.kind for each in look.watched.findings] for look in looks] == [[AWAY]] * 3
    assert [each.asked for each in fakes] == [1, 0, 0]
    assert [each.document().peek() for each in fakes] == [delivered()] * 3


def looked(kind: str, *, moving: bool = False) -> Looked:
    """A look that found that."""
    watched = Watched(FILES, "web.edge", NOW, findings=(Finding(kind, "words"),))
    return Looked(watched, moving, PASSING)


def test_a_host_is_told_to_be_away_once_it_was_twice_in_a_row() -> None:
    """A restart is no reason to wake anybody; a changed file is told of at once."""
    first = looked(AWAY).settle(EarlierLooks())
    assert (first.watched.findings, first.watched.unsure) == ((), True)
    second = looked(AWAY).settle(first.held)
    assert [each.kind for each in second.watched.findings] == [AWAY]
    assert looked(CHANGED).settle(EarlierLooks()).watched.findings


def test_during_a_delivery_what_was_told_before_stands() -> None:
    """What it moves says nothing."""
    earlier = EarlierLooks({CHANGED: 1}, (Finding(CHANGED, "before"),))
    settled = looked(AWAY, moving=True).settle(earlier)
    assert settled.watched.findings == earlier.told
    assert settled.held == earlier
    assert replace(settled.watched, findings=()).unsure
