"""A generation revoked at the CA that issued it, as a step of a rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509

from certrotd.certs.world import World
from certrotd.errors import Failure, InvalidInput, NeedsOperator, Transient
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.keys import PrivateKey, key_digest, load
from certrotd.pki.request import is_request
from certrotd.pki.revocation import (
    ACCOUNT,
    CERTIFICATE_KEY,
    COMPROMISED,
    REASONS,
    REVOCATIONS,
    NotEntitled,
    Revocation,
    RevocationRefused,
    revocations_to_json,
)
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.step import JSON, Done, Journaled, Ledger, Observed
from certrotd.rotation.unexpected import as_failure
from certrotd.state.ports import JournalBroken

Ask = Callable[[PrivateKey | None], bool]


@dataclass(frozen=True)
class RevokeGeneration(Journaled):
    """One generation revoked; from its first attempt on nothing goes back to it.

    A rotation that had another task before is over whatever the CA says: what it does not do now
    is kept in the certificate's state, and a rotation of its own tries again, which ``must``.
    ``at_once``: also while other hosts have that generation in use.
    """

    generation: int
    reason: str
    by: str = ""
    must: bool = False
    at_once: bool = False
    kind = "revoke"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:
        known = world.store.look(world.name).state.revoked.get(self.generation)
        if known is not None and known.done is not None:
            return Done()
        wanted = self._wanted(world, known)
        if self.reason == COMPROMISED and wanted.key:  # and no certificate is to have it
            world.note_compromised(wanted.key, f"generation {self.generation} of {world.name}")
        # before it is asked for: a crash must not leave a revoked one that may be put back
        self._keep(wanted, world, ledger)
        try:
            by = self._revoke(world)
        except (Stopped, JournalBroken):
            raise
        except (Failure, OSError) as error:
            failure = as_failure(error, f"revoke generation {self.generation}")
            refused = isinstance(failure, RevocationRefused)
            wanted = replace(wanted, why=failure.message, refused=refused)
            self._keep(wanted, world, ledger)
            if self.must:
                raise failure from error
            world.remark(f"{world.name}: {wanted.words(self.generation)}")
            return Done()
        now = world.clock.now()
        self._keep(replace(wanted, by=by, done=now, why="", refused=False), world, ledger)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # no CA takes a revocation back

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        known = world.store.look(world.name).state.revoked.get(self.generation)
        settled = known is not None and (known.done is not None or known.refused)
        return Observed.DONE if settled else Observed.NOT_DONE

    def _wanted(self, world: World, known: Revocation | None) -> Revocation:
        if known is not None:
            return replace(known, reason=self.reason, by=self.by, refused=False)
        _, certificate = self._pair(world)
        facts, key = facts_of(certificate), key_digest(certificate.public_key())
        now = world.clock.now()
        return Revocation(self.reason, now, facts.fingerprint, facts.not_after, self.by, key=key)

    def _revoke(self, world: World) -> str:
        """Who has signed for it at last."""
        if not self.at_once and (hosts := world.delivered_to(self.generation)):
            raise Transient(
                f"not asked for yet: {', '.join(hosts)} still has generation {self.generation}",
                hint="`certrotd revoke` with --now does not wait for that",
            )
        key, certificate = self._pair(world)
        meta = world.store.generation(world.name, self.generation).meta
        code = REASONS[self.reason]
        try:
            ask = world.revoker(meta)
            world.fence()
            return revoked_by(
                lambda signer: ask(certificate, code, signer), lambda: key_in(key), self.by
            )
        except RevocationRefused as refused:
            if (who := world.who_revokes(meta)).guessed:
                raise RevocationRefused(f"{refused.message}; {who.words}") from refused
            raise

    def _pair(self, world: World) -> tuple[bytes, x509.Certificate]:
        try:
            key, chain = world.store.read(world.name, self.generation)
            return key, parse_certificates(chain)[0]
        except (NeedsOperator, InvalidInput) as failure:
            raise RevocationRefused(
                f"generation {self.generation} cannot be read: {failure.message}",
                hint="`certrotd revoke --file` revokes a certificate from a file",
            ) from failure

    def _keep(self, entry: Revocation, world: World, ledger: Ledger) -> None:
        state, now = world.store.look(world.name).state, world.clock.now()
        kept = {number: each for number, each in state.revoked.items() if each.matters(now)}
        told = ledger.facts.get(REVOCATIONS)
        before = told if isinstance(told, dict) else {}
        world.store.record(world.name, replace(state, revoked={**kept, self.generation: entry}))
        ledger.note(**{REVOCATIONS: {**before, **revocations_to_json({self.generation: entry})}})


def key_in(pem: bytes) -> PrivateKey | None:
    """The key of a generation; None where it has the request of one that is elsewhere."""
    return None if is_request(pem) else load(pem)


@dataclass
class Noted:
    """Ledger, of a step that is no part of a rotation."""

    facts: dict[str, JSON] = field(default_factory=dict)
    rotation: str = ""
    kept: Mapping[str, JSON] = field(default_factory=dict)

    def note(self, **facts: JSON) -> None:
        """As Ledger.note."""
        self.facts |= facts

    def checkpoint(self, kept: Mapping[str, JSON], *, done: int, total: int | None) -> None:
        """As Ledger.checkpoint, which nothing needs here."""
        raise AssertionError(f"{done} of {total} is in no journal: {kept}")


def revoked_by(ask: Ask, key: Callable[[], PrivateKey | None], by: str) -> str:
    """Have something revoked by the account, or by its own key where the account may not.

    ``by`` of SIGNERS lets only that one sign. Who has signed. Raises RevocationRefused, and what
    asking raises.
    """
    refused: NotEntitled | None = None
    if by != CERTIFICATE_KEY:
        try:
            ask(None)
        except NotEntitled as failure:
            refused = failure
        else:
            return ACCOUNT
    signer = None if by == ACCOUNT else key()
    if signer is None:
        said = (
            f"the account may not revoke it: {refused.message}" if refused else "it has no key here"
        )
        raise RevocationRefused(said, hint="the certificate's own key may revoke it") from refused
    try:
        ask(signer)
    except NotEntitled as failure:
        first = f"{refused.message}; by its own key: " if refused else ""
        raise RevocationRefused(f"{first}{failure.message}") from failure
    return CERTIFICATE_KEY


@dataclass(frozen=True)
class SharedKey:
    """Generations with one key, oldest first; ``unread`` says why of others nobody can tell."""

    numbers: tuple[int, ...]
    unread: Mapping[int, str]

    def doubts(self, name: str) -> Iterator[str]:
        """What is not known of the others, in words."""
        for number, why in self.unread.items():
            yield f"{name}: whether generation {number} has the same key is not known: {why}"


def shared_key(world: World, generation: int, newest: int, *, now: datetime) -> SharedKey:
    """That one and every other generation with its key that is valid still.

    Raises what reading that one raises.
    """

    def leaf(number: int) -> x509.Certificate:
        _, chain = world.store.read(world.name, number)
        return parse_certificates(chain)[0]

    wanted, known = leaf(generation).public_key(), world.store.look(world.name).state.revoked
    numbers, unread = [generation], {}
    for number in range(1, newest + 1):
        settled = number in known and known[number].done is not None
        if number == generation or settled:
            continue
        try:
            if world.store.sealed(world.name, number):
                other = leaf(number)
                if other.public_key() == wanted and other.not_valid_after_utc > now:
                    numbers.append(number)
        except (Failure, OSError) as error:
            unread[number] = as_failure(error, "read it").message
    return SharedKey(tuple(sorted(numbers)), unread)
