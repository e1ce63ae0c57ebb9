"""What rotations leave in the audit log, and what becomes of them when it takes nothing."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from certrotd.audit.record import START, Happened, chained, unsettled
from certrotd.certs.decision import Renew
from certrotd.certs.policy import Policy
from certrotd.certs.recorded import recorded_of
from certrotd.clock import ManualClock
from certrotd.errors import Transient
from certrotd.lifecycle.audited import Unaudited, Unrecorded
from certrotd.lifecycle.report import Report
from certrotd.pki.generation import Standing
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.fakes.audit import MemoryAudit
from tests.fakes.rotator import Rotator
from tests.fakes.world import MemoryWorld

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICY = Policy(name="web", names=("example.test",), issuer="ca", authority="memory://ca")
DONE = [
    "rotation.began",
    "certificate.issued",
    "certificate.deployed",
    "rotation.finished",
]


class Stage:
    """A certificate, its log, and processes that rotate it one after the other."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.world = MemoryWorld(policy, ManualClock(NOW))
        self.audit = MemoryAudit()
        self._ids = itertools.count(1)

    def rotator(self) -> Rotator:
        unheard = self.world.rotator(new_id=lambda: f"r{next(self._ids)}")
        return replace(unheard, audit=self.audit)

    def rotate(self, *, forced: bool = False) -> Report:
        return self.rotator().rotate(self.world.managed(), forced=forced, by_hand=True)

    def event(self, name: str) -> Happened:
        """The newest of that name."""
        return next(each for each in reversed(self.audit.happened) if each.event == name)

    @property
    def live(self) -> int | None:
        return self.world.store.live("web")


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A target that will not be told of the next certificate, and then only once."""
    stage = Stage(replace(POLICY, waves=(("nginx",),)))
    assert not stage.rotate().failed
    stage.audit.happened.clear()

    target, calls = stage.world.targets["nginx"], itertools.count()
    real = target.apply

    def once() -> None:
        if next(calls) == 0:
            raise Transient("it does not answer")
        real()

    monkeypatch.setattr(target, "apply", once)
    return stage


def test_a_renewal_is_written_down_from_beginning_to_end(stage: Stage) -> None:
    """What was issued, for which names, until when, and that it is in use."""
    report = stage.rotate()
    assert not report.failed
    assert stage.audit.events == DONE
    assert {each.rotation for each in stage.audit.happened} == {"r1"}
    assert {each.subject for each in stage.audit.happened} == {"certificate/web"}
    live = stage.world.store.look("web").live
    assert live is not None
    assert live.facts is not None
    issued = stage.event("certificate.issued").details
    assert issued == {
        "fingerprint": live.facts.fingerprint,
        "not_after": live.facts.not_after.isoformat(),
        "names": ["example.test"],
        "authority": "memory://ca",
    }
    deployed = stage.event("certificate.deployed").details
    assert (deployed["fingerprint"], deployed["generation"]) == (issued["fingerprint"], 1)
    assert stage.event("rotation.began").details == {
        "act": "renew",
        "why": "there is no certificate yet",
    }


def test_a_look_with_nothing_due_writes_no_record(stage: Stage) -> None:
    """A log of every look would hide what matters."""
    stage.rotate()
    before = list(stage.audit.happened)
    assert not stage.rotate().failed
    assert stage.audit.happened == before


def test_a_rotation_that_cannot_be_audited_does_not_begin(stage: Stage) -> None:
    """No order is placed, no key made, no journal opened."""
    stage.audit.full = True
    report = stage.rotate()
    assert isinstance(report.failure, Unaudited)
    assert "does not begin: cannot write the audit log: No space left" in str(report.failure)
    assert (report.failed, report.outcome) == (True, None)
    assert stage.world.issuer.orders == []
    assert (stage.world.disk.journal, stage.world.disk.history) == (b"", b"")
    assert stage.world.store.shelves.get("web") in (None, stage.world.store.shelf("web"))
    assert stage.live is None
    stage.audit.full = False
    assert not stage.rotate().failed
    assert stage.audit.events == DONE


def test_a_rollback_that_cannot_be_audited_does_not_begin(stage: Stage) -> None:
    """Nor what is asked for by hand."""
    stage.rotate()
    stage.rotate(forced=True)
    stage.audit.full = True
    report = stage.rotator().rollback(stage.world.managed())
    assert isinstance(report.failure, Unaudited)
    assert stage.live == 2


def test_an_outcome_that_cannot_be_recorded_is_a_failure_and_recorded_by_the_next_run(
    stage: Stage,
) -> None:
    """The certificate stays: the disk filled up after it was committed."""
    stage.audit.refuses = {"rotation.finished"}
    report = stage.rotate()
    assert isinstance(report.outcome, Finished)
    assert isinstance(report.decision, Renew)
    assert isinstance(report.failure, Unrecorded)
    assert report.failed
    assert "the rotation is done; but that is not in the audit log: " in str(report.failure)
    assert stage.live == 1
    again = stage.rotate()
    assert isinstance(again.failure, Unrecorded)
    assert "an earlier rotation" in str(again.failure)
    stage.audit.refuses = set()
    assert not stage.rotate().failed
    assert stage.audit.events == DONE
    assert {each.rotation for each in stage.audit.happened} == {"r1"}
    assert not stage.rotate().failed
    assert stage.audit.events == DONE


def test_an_undone_rotation_is_written_down_with_its_reason(deaf: Stage) -> None:
    """The certificate was issued all the same: that is on record too."""
    report = deaf.rotate(forced=True)
    assert isinstance(report.outcome, RolledBack)
    assert deaf.audit.events == [
        "rotation.began",
        "certificate.issued",
        "rotation.rolled_back",
    ]
    details = deaf.event("rotation.rolled_back").details
    assert (details["to"], details["failed_step"]) == ("issued", "apply")
    assert "it does not answer" in str(details["failure"])
    deaf.world.clock.sleep(3600 * 24)
    assert not deaf.rotate().failed
    assert deaf.audit.events[3:] == [
        "rotation.began",
        "certificate.deployed",
        "rotation.finished",
    ]
    assert deaf.event("rotation.began").details["act"] == "deploy"
    assert deaf.event("certificate.deployed").details["targets"] == ["nginx"]


def test_an_undone_rotation_that_cannot_be_recorded_says_both(deaf: Stage) -> None:
    """What went wrong first is not hidden behind what went wrong with the log."""
    deaf.audit.refuses = {"rotation.rolled_back"}
    report = deaf.rotate(forced=True)
    assert isinstance(report.failure, Unrecorded)
    assert "it does not answer; rolled back to issued; but that is not" in str(report.failure)


def test_a_generation_that_stays_without_a_way_back_is_recorded() -> None:
    """The first certificate stays live though nobody could be told of it."""
    stage = Stage(replace(POLICY, waves=(("nginx",),)))
    stage.world.targets["nginx"].apply = _refuse  # type: ignore[method-assign]
    assert stage.rotate().failed
    assert "`certrotd rotate web` proves it" in str(
        stage.event("rotation.rolled_back").details["kept"]
    )


def test_a_failure_before_issuance_issues_nothing(stage: Stage) -> None:
    """The control: rolled back to the beginning, no certificate on record."""
    stage.world.solver.present = _refuse  # type: ignore[method-assign]
    report = stage.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert stage.audit.events == ["rotation.began", "rotation.rolled_back"]


def test_a_rollback_by_hand_is_written_down_as_one(stage: Stage) -> None:
    """Before it acts, with where it goes."""
    stage.rotate()
    stage.rotate(forced=True)
    stage.audit.happened.clear()
    assert not stage.rotator().rollback(stage.world.managed()).failed
    assert stage.audit.events == [
        "rotation.began",
        "rollback.by_hand",
        "certificate.deployed",
        "rotation.finished",
    ]
    assert stage.event("rollback.by_hand").details == {"generation": 1}
    assert stage.event("certificate.deployed").details["generation"] == 1


class TestAfterACrash:
    """The next process finds a rotation in flight, or one that never came to be."""

    @pytest.fixture
    def crashed(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
        def die(*_: Any) -> None:
            raise _Crash

        monkeypatch.setattr(stage.world.store, "switch", die)
        with pytest.raises(_Crash):
            stage.rotate()
        monkeypatch.undo()
        assert stage.audit.events == ["rotation.began"]
        return stage

    def test_going_on_is_written_down(self, crashed: Stage) -> None:
        """Before anything is done about it."""
        report = crashed.rotate()
        assert isinstance(report.recovered, Finished)
        assert crashed.audit.events == ["rotation.began", "rotation.resumed", *DONE[1:]]
        assert {each.rotation for each in crashed.audit.happened} == {"r1"}

    def test_going_on_does_not_wait_for_the_log(self, crashed: Stage) -> None:
        """Half a rotation is worse than one that is recorded late."""
        crashed.audit.full = True
        report = crashed.rotate()
        assert isinstance(report.recovered, Finished)
        assert isinstance(report.failure, Unrecorded)
        assert crashed.live == 1
        crashed.audit.full = False
        assert not crashed.rotate().failed
        assert crashed.audit.events == DONE

    def test_a_record_that_failed_at_first_is_written_with_the_outcome(
        self, crashed: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A lock held for a while does not leave a gap."""
        real, calls = crashed.audit.record, itertools.count()

        def record(*happened: Happened) -> None:
            if next(calls) == 0:
                raise Transient("busy")
            real(*happened)

        monkeypatch.setattr(crashed.audit, "record", record)
        assert not crashed.rotate().failed
        assert crashed.audit.events == ["rotation.began", "rotation.resumed", *DONE[1:]]

    def test_a_beginning_without_a_rotation_is_closed(self, stage: Stage) -> None:
        """The process died between the log and the journal."""
        stage.audit.record(Happened("rotation.began", "web", "r0"))
        assert not stage.rotate().failed
        assert stage.audit.events == ["rotation.began", "rotation.interrupted", *DONE]
        assert stage.event("rotation.interrupted").rotation == "r0"

    def test_a_parked_rotation_is_written_down(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And so is, that its being parked could not be."""
        monkeypatch.setattr(stage.world.store, "seal", _refuse)
        report = stage.rotate()
        assert isinstance(report.outcome, Parked)
        assert stage.audit.events == ["rotation.began", "rotation.parked"]
        assert stage.event("rotation.parked").details["failed"] is True
        stage.audit.refuses = {"rotation.parked"}
        report = stage.rotate()
        assert isinstance(report.failure, Unrecorded)
        monkeypatch.undo()
        stage.audit.refuses = set()
        assert not stage.rotate().failed
        assert stage.audit.events[-3:] == DONE[1:]

    def test_a_stuck_rotation_is_written_down(
        self, deaf: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Something is half undone on this host: nothing is more worth writing down."""
        switch = deaf.world.store.switch

        def forward(name: str, generation: int) -> None:
            if generation == 1:
                raise Transient("cannot go back")
            switch(name, generation)

        monkeypatch.setattr(deaf.world.store, "switch", forward)
        deaf.audit.refuses = {"rotation.stuck"}
        report = deaf.rotate(forced=True)
        assert "the undo of swap failed: cannot go back; but that is not" in str(report.failure)
        assert deaf.audit.events == ["rotation.began"]
        deaf.audit.refuses = set()
        deaf.rotate()
        assert deaf.audit.events == ["rotation.began", "rotation.resumed", "rotation.stuck"]
        assert "cannot go back" in str(deaf.event("rotation.stuck").details["undo_failed"])


def test_names_of_a_generation_that_is_gone_are_those_configured() -> None:
    """A late record has to make do with what is left."""
    line = {
        "id": "r1",
        "outcome": "finished",
        "to": "",
        "facts": {"fingerprint": "ab", "not_after": "2026", "act": "renew"},
    }
    [issued] = recorded_of(POLICY, line, Standing())
    assert issued.details["names"] == ["example.test"]


def test_sweeping_deploys_nothing() -> None:
    """The control of certificate.deployed."""
    stage = Stage()
    stage.rotate()
    line = {"id": "r2", "outcome": "finished", "to": "", "facts": {"act": "sweep"}}
    assert recorded_of(POLICY, line, stage.world.store.look("web")) == ()


def test_no_key_is_ever_written_down(stage: Stage) -> None:
    """The log is read by more people than the keys."""
    stage.rotate()
    assert "PRIVATE" not in repr(stage.audit.happened)


class _Crash(BaseException):
    """The process is no more."""


def _refuse(*_: Any, **__: Any) -> None:
    raise Transient("no")


def test_a_rotation_that_an_older_certrotd_began_is_settled(stage: Stage) -> None:
    """It recorded the beginning by the name alone; the log waits for no outcome for ever."""
    stage.audit.record(Happened("rotation.began", "web", "r0"))
    stage.rotate()
    assert stage.audit.events[1] == "rotation.interrupted"
    assert unsettled_after(stage.audit.happened) == {}


def unsettled_after(happened: list[Happened]) -> dict[str, str]:
    """What a log of these still waits for."""
    waiting: dict[str, str] = {}
    for each in happened:
        waiting = unsettled(waiting, chained(START, each, at=NOW))
    return waiting
