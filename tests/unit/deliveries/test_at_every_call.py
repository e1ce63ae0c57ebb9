"""A delivery that fails, or is killed, at each call to its host: what is read there is one pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from certrotd.clock import ManualClock
from certrotd.deliveries.document import delivered_in
from certrotd.deliveries.policy import Delivered
from certrotd.deliveries.steps import World, plan, rebuild
from certrotd.errors import ProofFailed, Transient
from certrotd.observe.tls import Endpoint, Served
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.rotation.engine import Engine, Finished, Outcome, RolledBack
from certrotd.ssh.files import NewFile, Stamp
from certrotd.ssh.folder import Uploaded
from certrotd.ssh.session import Ended
from certrotd.state.typed import TypedDocument
from tests.fakes.chance import Refused
from tests.fakes.journal import MemoryDisk, MemoryJournal
from tests.fakes.state import MemoryState
from tests.parts.pki import make_leaf, make_root
from tests.unit.deliveries.examples import POLICY
from tests.unit.rotation.small import AFTER, BEFORE, BELIED, REFUSED, Crash, Fate

T = TypeVar("T")
ROOT = make_root()
PAIRS = {number: make_leaf(ROOT, "example.test") for number in (1, 2)}
PAIRS[3] = make_leaf(ROOT, "example.test", not_before=datetime.now(UTC) - timedelta(days=9))
OLD, NEW = (f"{number:06}-0123456789abcdef" for number in (1, 2))
TOLD = replace(POLICY, command=("reload", "it"), endpoints=(Endpoint("edge", 443, "example.test"),))


def pair(number: int) -> tuple[bytes, bytes]:
    """Key and chain of a generation."""
    found = PAIRS[number]
    return found.key_pem, found.fullchain_pem + ROOT.fullchain_pem


def fingerprint(number: int) -> str:
    """Of the leaf of a generation."""
    return facts_of(parse_certificates(pair(number)[1])[0]).fingerprint


@dataclass
class Host:
    """The other host: its folders, its link, and a service that reads them when it is told.

    The reload of what is in ``bad`` fails, and so does the proof of what the service cannot serve.
    """

    fate: Fate = field(default_factory=Fate)
    folders: dict[str, list[NewFile]] = field(default_factory=dict)
    link: str | None = None
    serves: str = ""
    bad: str = ""
    unproven: str = ""
    changed: str | None = None
    stays: str = ""
    shown: dict[str, str] = field(default_factory=dict)

    def call(self, what: str, effect: Callable[[], T]) -> T:
        """One call, which may fail, or be the last one of the process."""
        try:
            return self.fate.act(what, effect)
        except Refused:
            raise Transient(f"{what}: away") from None

    def check(self) -> None:
        self.call("check", lambda: None)

    def live(self) -> str | None:
        return self.call("live", lambda: self.link)

    def upload(self, name: str, files: Sequence[NewFile]) -> Uploaded:
        self.call("upload", lambda: self.folders.update({name: list(files)}))
        return Uploaded({each.name: Stamp("00", each.mode, 0, 0) for each in files}, synced=True)

    def different(self, name: str, wanted: Mapping[str, Stamp]) -> str | None:
        return self.call("different", lambda: self.changed)

    def read(self, name: str, files: Sequence[str]) -> dict[str, bytes]:
        found = {each.name: each.data for each in self.folders[name]}
        return self.call("read", lambda: {each: found[each] for each in files if each in found})

    def switch(self, name: str) -> None:
        assert name in self.folders, "it would lead to nothing"
        self.call("switch", lambda: setattr(self, "link", name))

    def discard(self, name: str) -> None:
        if self.link != name:
            self.call("discard", lambda: self.folders.pop(name, None))

    def prune(self, keep: int, spare: str) -> str:
        return self.call("prune", lambda: self.stays)

    def command(self, argv: Sequence[str], *, seconds: float) -> Ended:
        def reload() -> Ended:
            if self.link == self.bad:
                return Ended(1, b"no\n")
            self.serves = self.link or ""
            return Ended(0, b"reloaded\n")

        return self.call("command", reload)

    def look(self, endpoint: Endpoint) -> Served:
        shown = fingerprint(int(self.serves.partition("-")[0]))
        return Served(self.shown.get(endpoint.key, shown), b"")

    def prove(self, endpoint: Endpoint, wanted: str) -> None:
        shown = self.call("prove", lambda: self.look(endpoint).fingerprint)
        if shown != wanted or self.serves == self.unproven:
            raise ProofFailed("it serves another")


@dataclass
class Case:
    """A delivery of generation 2 to a host that has generation 1, if it has any."""

    host: Host = field(default_factory=Host)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    state: MemoryState = field(default_factory=MemoryState)
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime.now(UTC)))
    first: bool = False
    lifetime: timedelta = timedelta(days=30)
    revoked: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.first:
            return
        self.host.folders[OLD] = []
        self.host.link = self.host.serves = OLD
        now = self.clock.now()
        self.document().write(
            Delivered(
                *(1, OLD, fingerprint(1), "ecdsa-p256", now - timedelta(days=1)),
                now + self.lifetime,
                *("as configured", {}, now, now),
            )
        )

    def document(self) -> TypedDocument[Delivered]:
        """What is remembered of it."""
        return delivered_in(self.state.document("deliveries/web.edge"))

    def world(self) -> World:
        """What the steps act upon, in a new process."""
        document, told = self.document(), lambda each: self.revoked.get(each, "")
        return World(TOLD, pair, self.host, self.host, document, self.clock, revoked=told)

    def run(self) -> Outcome:
        """Processes, one after the other, until the rotation is closed."""
        for _ in range(12):
            engine = Engine(MemoryJournal(self.disk), self.world(), rebuild, self.clock.now)
            try:
                if engine.in_flight():
                    outcome = engine.resume()
                else:
                    steps = plan(TOLD, 2, NEW, self.document().peek())
                    outcome = engine.begin("r1", "delivery/web.edge", "why", steps)
            except Crash:
                continue
            if isinstance(outcome, Finished | RolledBack):
                return outcome
            self.clock.advance(timedelta(hours=2))
        raise AssertionError("it does not come to an end")

    def again(self) -> Delivered:
        """What is remembered after one more delivery."""
        assert isinstance(self.run(), Finished)
        known = self.document().peek()
        assert known is not None
        return known

    def settled(self, outcome: Outcome) -> None:
        """Link, service and memory are of one pair, which is the one that the outcome says."""
        wanted = NEW if isinstance(outcome, Finished) else OLD
        known = self.document().peek()
        assert (self.host.link, self.host.serves) == (wanted, wanted), outcome
        assert known is not None
        assert known.folder == wanted
        assert wanted in self.host.folders


def calls() -> list[str]:
    """Those of a delivery that nothing goes wrong with."""
    case = Case()
    case.settled(case.run())
    return case.host.fate.points


CALLS = calls()


def test_a_delivery_makes_these_calls_in_this_order() -> None:
    """Nothing is told before the link is replaced, and nothing replaced before all is there."""
    assert [*("check", "live", "upload", "switch", "command", "prove", "prune")] == CALLS


@pytest.mark.parametrize("fault", [BEFORE, AFTER, REFUSED, BELIED])
@pytest.mark.parametrize("at", range(len(CALLS)), ids=CALLS)
def test_whatever_happens_at_a_call_it_ends_with_one_pair(at: int, fault: str) -> None:
    """Killed before or after it, refused, or done and said to have failed."""
    case = Case(host=Host(Fate({at: fault})))
    case.settled(case.run())


@pytest.mark.parametrize("second", [BEFORE, AFTER, REFUSED])
@pytest.mark.parametrize("at", range(len(CALLS)), ids=CALLS)
def test_a_second_fault_on_the_way_back_is_survived(at: int, second: str) -> None:
    """The next run finishes the undo, or the delivery."""
    for then in range(at + 1, at + 5):
        case = Case(host=Host(Fate({at: REFUSED, then: second})))
        case.settled(case.run())


def test_a_command_that_fails_is_undone_and_told_again() -> None:
    """The end of what it printed is what people read."""
    case = Case(host=Host(bad=NEW))
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    assert "`reload it` on edge exited with 1: no" in str(outcome.because)
    case.settled(outcome)
    assert case.host.fate.points.count("command") == 2


def test_a_proof_that_fails_is_undone_and_the_former_pair_proven() -> None:
    """As on this host."""
    case = Case(host=Host(unproven=NEW))
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    case.settled(outcome)
    assert case.host.fate.points[-2:] == ["command", "prove"]


def test_of_an_endpoint_with_several_certificates_the_one_of_the_former_key_is_looked_at() -> None:
    """Else nobody would prove on the way back that the former one is served again."""
    case = Case(host=Host(unproven=NEW, shown={"": "that of another key"}))
    case.settled(case.run())
    assert case.host.fate.points[-2:] == ["command", "prove"]


def test_what_was_read_back_is_remembered_and_what_stays_of_old_folders() -> None:
    """What somebody changes before it is remembered is found by the next look."""
    case = Case(host=Host(stays="000001-0123456789abcdef has 'my notes' in it"))
    outcome = case.run()
    assert isinstance(outcome, Finished)
    known = case.document().peek()
    assert known is not None
    assert known.stamps == {
        "privkey.pem": Stamp("00", 0o640, 0, 0),
        "fullchain.pem": Stamp("00", 0o644, 0, 0),
    }
    assert known.unpruned == outcome.facts["unpruned"] == case.host.stays
    case.host.stays = ""
    assert case.again().unpruned == ""


def test_a_first_delivery_has_nothing_to_go_back_to() -> None:
    """Its files stay, and it is said."""
    case = Case(host=Host(unproven=NEW, serves=OLD), first=True)
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    assert case.host.link == NEW
    assert "there are no former ones" in str(outcome.facts["kept"])


def test_nobody_is_led_back_to_a_certificate_that_has_expired() -> None:
    """The new pair stays in its place."""
    case = Case(host=Host(unproven=NEW), lifetime=timedelta(0))
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    assert case.host.link == NEW
    assert "the former expired" in str(outcome.facts["kept"])


@pytest.mark.parametrize("known", [True, False], ids=["known", "looked at"])
def test_nobody_is_led_back_to_a_certificate_that_is_revoked(known: bool) -> None:
    """Clients that ask for its status would refuse it for certain."""
    revoked = {fingerprint(1): "generation 1 is revoked (superseded)"}
    case = Case(host=Host(unproven=NEW, serves=OLD, link=OLD), first=not known, revoked=revoked)
    case.host.folders[OLD] = [
        NewFile("privkey.pem", pair(1)[0], 0o640),
        NewFile("fullchain.pem", pair(1)[1], 0o644),
    ]
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    assert case.host.link == NEW
    assert "generation 1 is revoked (superseded)" in str(outcome.facts["kept"])


@pytest.mark.parametrize(
    ("key", "chain", "words"),
    [(1, 1, ""), (3, 3, "expired"), (2, 1, "does not belong"), (0, 1, "no key or no certificate")],
    ids=["whole", "expired", "mismatched", "half"],
)
def test_what_is_there_is_looked_at_where_nothing_of_it_is_known(
    key: int, chain: int, words: str
) -> None:
    """The state was lost: services are led back to the files there only if they are of use."""
    case = Case(host=Host(bad=NEW, serves=OLD, link=OLD), first=True)
    there = [NewFile("fullchain.pem", pair(chain)[1], 0o644)]
    there += [NewFile("privkey.pem", pair(key)[0], 0o640)] if key else []
    case.host.folders[OLD] = there
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    assert case.host.link == (NEW if words else OLD)
    assert words in str(outcome.facts.get("kept"))


def test_nobody_is_led_back_to_files_that_somebody_has_changed() -> None:
    """A whole pair is not replaced by one that may be no pair."""
    case = Case(host=Host(bad=NEW, changed="privkey.pem is gone"))
    outcome = case.run()
    assert isinstance(outcome, RolledBack)
    assert case.host.link == NEW
    assert "somebody changed the former there: privkey.pem is gone" in str(outcome.facts["kept"])


def test_a_generation_of_another_key_never_leaves() -> None:
    """The last look before anything is sent."""
    case = Case()
    world = replace(case.world(), pair=lambda _number: (pair(1)[0], pair(2)[1]))
    engine = Engine(MemoryJournal(case.disk), world, rebuild, case.clock.now)
    outcome = engine.begin("r1", "delivery/web.edge", "why", plan(TOLD, 2, NEW, None))
    assert isinstance(outcome, RolledBack)
    assert "upload" not in case.host.fate.points
    assert NEW not in case.host.folders
