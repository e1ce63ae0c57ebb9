"""The steps of a delivery: each is journaled, can be done again, and undone.

::

    reach, upload
    ─ uploaded ─    the files are there under a name of their own; nobody reads them yet
    baseline, switch, command, prove, record
    ─ committed ─   nothing is taken back any more
    prune
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from certrotd.clock import Clock
from certrotd.deliveries.document import (
    from_json,
    stamps_from_json,
    stamps_to_json,
    to_json,
)
from certrotd.deliveries.former import unfit
from certrotd.deliveries.policy import Delivered, Policy
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.observe.tls import Endpoint, Served
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.keys import load
from certrotd.pki.verify import verify_dates, verify_key
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.step import JSON, Done, Journaled, Ledger, Observed, Savepoint, Step
from certrotd.ssh.files import NewFile, Stamp
from certrotd.ssh.folder import Uploaded
from certrotd.ssh.session import Ended
from certrotd.state.typed import TypedDocument
from certrotd.stores.bundle import files_of
from certrotd.stores.copies import PRIVATE

UPLOADED = Savepoint("uploaded", stop_undoes=True)
COMMITTED = Savepoint("committed", forward_only=True)
MAX_KEPT = 2000
"""So many characters of a program's output are kept in the history, of its end."""
SETTLE = 1.0


class Folder(Protocol):
    """The directory on the other host: as ssh.folder.RemoteFolder."""

    def check(self) -> None: ...
    def live(self) -> str | None: ...
    def upload(self, name: str, files: Sequence[NewFile]) -> Uploaded: ...
    def different(self, name: str, wanted: Mapping[str, Stamp]) -> str | None: ...
    def read(self, name: str, files: Sequence[str]) -> dict[str, bytes]: ...
    def switch(self, name: str) -> None: ...
    def discard(self, name: str) -> None: ...
    def prune(self, keep: int, spare: str) -> str: ...
    def command(self, argv: Sequence[str], *, seconds: float) -> Ended: ...


class Prober(Protocol):
    """Handshakes with endpoints: as observe.tls.TlsProber."""

    def look(self, endpoint: Endpoint) -> Served: ...
    def prove(self, endpoint: Endpoint, fingerprint: str) -> None: ...


@dataclass(frozen=True)
class World:
    """What a delivery acts upon.

    ``pair`` reads key and chain, leaf first, of a generation. ``heard`` takes what failed for the
    time being, or None once the host answers; ``fence`` raises Fenced once the lock is another's.
    ``revoked`` says of a fingerprint that its CA has revoked it, empty for any other.
    """

    policy: Policy
    pair: Callable[[int], tuple[bytes, bytes]]
    folder: Folder
    prober: Prober
    document: TypedDocument[Delivered]
    clock: Clock
    heard: Callable[[Failure | None], None] = lambda _failure: None
    fence: Callable[[], None] = lambda: None
    revoked: Callable[[str], str] = lambda _fingerprint: ""

    def leaf(self, generation: int) -> CertificateFacts:
        """What is in the leaf of a generation."""
        return facts_of(parse_certificates(self.pair(generation)[1])[0])

    def run(self) -> Ended | None:
        """Run the command there, if there is one; raises NeedsOperator if it fails."""
        argv = self.policy.command
        if not argv:
            return None
        self.fence()
        ended = self.folder.command(argv, seconds=self.policy.command_seconds)
        if ended.code != 0:
            how = "did not end by itself" if ended.code is None else f"exited with {ended.code}"
            words = f"`{' '.join(argv)}` on {self.policy.host} {how}{ended.tail}"
            raise NeedsOperator(words, hint="run it there as that account")
        return ended


@dataclass(frozen=True)
class Reach(Journaled):
    """Whether the host answers, and could take the files; what is live there."""

    kind = "reach"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        world.fence()
        try:
            world.folder.check()
            previous = world.folder.live()
        except Transient as failure:
            world.heard(failure)
            raise
        world.heard(None)
        return Done({"previous": previous})

    def undo(self, world: World, ledger: Ledger) -> None:
        """It only looked."""


@dataclass(frozen=True)
class Upload(Journaled):
    """The files of the generation in a ``folder`` of its own there, read back."""

    generation: int
    folder: str
    kind = "upload"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        key, chain = world.pair(self.generation)
        certificates = parse_certificates(chain, what=f"generation {self.generation}")
        verify_key(load(key), certificates[0])
        verify_dates(certificates, now=world.clock.now())
        world.fence()
        found = world.folder.upload(self.folder, files(world.policy, key, chain))
        return Done({"synced": found.synced, "stamps": stamps_to_json(found.stamps)})

    def undo(self, world: World, ledger: Ledger) -> None:
        """What stays on a host that is away nobody reads, and the next delivery sweeps it."""
        try:
            world.folder.discard(self.folder)
        except Transient as failure:
            ledger.note(left=str(failure))


@dataclass(frozen=True)
class Baseline(Journaled):
    """What is served before, and, as its undo, that services read the former files again.

    It comes before the switch because undoing goes backwards: the former files are back by then.
    """

    kind = "baseline"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        served = [_look(world.prober, each) for each in _former(world)]
        return Done({"served": served})

    def undo(self, world: World, ledger: Ledger) -> None:
        if not ledger.facts.get("told") or "kept" in ledger.facts:
            return
        served, known = ledger.facts.get("served"), world.document.peek()
        former = [
            endpoint
            for endpoint, before in zip(
                _former(world), served if isinstance(served, list) else (), strict=False
            )
            if known is not None and before == known.fingerprint
        ]
        try:
            world.run()
        except Stopped:
            raise
        except Failure:
            if not former:
                raise
            world.clock.sleep(SETTLE)  # what is seen to serve the former leaf still is in order
        for endpoint in former:
            assert known is not None, "it was served"
            world.prober.prove(endpoint, known.fingerprint)


@dataclass(frozen=True)
class Switch(Journaled):
    """``live`` there leads to the folder: the one point where the new pair replaces the old."""

    folder: str
    kind = "switch"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        world.fence()
        world.folder.switch(self.folder)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        if world.folder.live() != self.folder:
            return
        previous, known = ledger.facts.get("previous"), world.document.peek()
        if not isinstance(previous, str) or previous == self.folder:
            ledger.note(kept=f"the files stay at {world.policy.live}: there are no former ones")
            return
        now = world.clock.now()
        if why := unfit(world.folder, previous, known, revoked=world.revoked, now=now):
            ledger.note(kept=f"the files stay at {world.policy.live}: {why}")
            return
        world.folder.switch(previous)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        return Observed.DONE if world.folder.live() == self.folder else Observed.NOT_DONE


@dataclass(frozen=True)
class Command(Journaled):
    """The program there that has services read the files; how it ended is kept."""

    kind = "command"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:
        ledger.note(told=True)
        ended = world.run()
        if ended is None:
            return Done()
        output = ended.output.decode("utf-8", "replace")[-MAX_KEPT:]
        return Done({"command": {"code": ended.code, "output": output}})

    def undo(self, world: World, ledger: Ledger) -> None:
        """The baseline runs it again once the former files are back."""


@dataclass(frozen=True)
class Prove(Journaled):
    """Every endpoint seen to serve the generation's leaf."""

    generation: int
    kind = "prove"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        leaf = world.leaf(self.generation)
        for endpoint in world.policy.endpoints:
            world.prober.prove(replace(endpoint, key=leaf.key_type), leaf.fingerprint)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        """It only looked."""


@dataclass(frozen=True)
class Record(Journaled):
    """What was delivered; ``before`` is what had been, None for nothing."""

    generation: int
    folder: str
    before: Mapping[str, Any] | None
    kind = "record"

    def do(self, world: World, ledger: Ledger) -> Done:
        policy, leaf, now = world.policy, world.leaf(self.generation), world.clock.now()
        stamps = ledger.facts["stamps"]
        assert isinstance(stamps, Mapping), "the upload has noted them"
        world.fence()
        world.document.write(
            Delivered(
                generation=self.generation,
                folder=self.folder,
                fingerprint=leaf.fingerprint,
                key_type=leaf.key_type,
                not_before=leaf.not_before,
                not_after=leaf.not_after,
                asked=policy.asked,
                stamps=stamps_from_json(stamps),
                at=now,
                seen=now,
            )
        )
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        if self.before is not None:
            world.document.write(from_json(self.before))


@dataclass(frozen=True)
class Prune(Journaled):
    """Old folders there; what cannot be removed now is removed by the next delivery."""

    keep: int
    folder: str
    kind = "prune"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        world.fence()
        try:
            unpruned = world.folder.prune(self.keep, self.folder)
        except (Transient, NeedsOperator) as failure:
            unpruned = str(failure)
        known = world.document.peek()
        if known is not None and known.unpruned != unpruned:
            world.document.write(replace(known, unpruned=unpruned))
        return Done({"unpruned": unpruned} if unpruned else {})

    def undo(self, world: World, ledger: Ledger) -> None:
        """Forward only; the engine never comes here."""


_KINDS: dict[str, Any] = {
    each.kind: each for each in (Reach, Upload, Baseline, Switch, Command, Prove, Record, Prune)
}


def rebuild(kind: str, intent: Mapping[str, JSON]) -> Step[World]:
    """A step from what the journal keeps of it; KeyError for an unknown kind."""
    step: Step[World] = _KINDS[kind].rebuild(intent)
    return step


def plan(
    policy: Policy, generation: int, folder: str, before: Delivered | None
) -> tuple[Step[World] | Savepoint, ...]:
    """The steps that bring a generation to the host, into that folder."""
    known = to_json(before) if before is not None else None
    return (
        Reach(),
        Upload(generation, folder),
        UPLOADED,
        Baseline(),
        Switch(folder),
        *((Command(),) if policy.command else ()),
        *((Prove(generation),) if policy.endpoints else ()),
        Record(generation, folder, known),
        COMMITTED,
        Prune(policy.keep, folder),
    )


def files(policy: Policy, key: bytes, chain: bytes) -> list[NewFile]:
    """The files as they are to be on the other host."""
    shapes = files_of(key, chain)
    return [
        NewFile(
            f"{shape}.pem",
            shapes[shape],
            policy.mode if shape in PRIVATE else policy.cert_mode,
            policy.owner,
            policy.group,
        )
        for shape in policy.files
    ]


def _former(world: World) -> list[Endpoint]:
    """The endpoints, asked for a key of the type of what was delivered before."""
    known = world.document.peek()
    key = known.key_type if known is not None else ""
    return [replace(each, key=key) for each in world.policy.endpoints]


def _look(prober: Prober, endpoint: Endpoint) -> str | None:
    try:
        return prober.look(endpoint).fingerprint
    except Failure:
        return None  # serving nothing is a fact too: nothing has to be proven on the way back
