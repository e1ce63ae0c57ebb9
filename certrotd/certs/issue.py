"""The steps from nothing to an issued, verified and sealed generation."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.certs.compromised import compromised, refuse_compromised
from certrotd.certs.decision import longest_wait
from certrotd.certs.elsewhere import refuse_superseded
from certrotd.certs.fitness import worse
from certrotd.certs.policy import INSTEAD, REPLACES
from certrotd.certs.ports import Choosing, Order, sealing_at_once
from certrotd.certs.staging import keeping, staged_key
from certrotd.certs.troubles import noting_trouble
from certrotd.certs.world import World
from certrotd.clock import Deadline
from certrotd.dns.persistent import lapsing
from certrotd.errors import Failure, InvalidInput, Transient
from certrotd.pki.certificate import CertificateFacts, moment
from certrotd.pki.generation import Meta
from certrotd.pki.keys import KeyType, PrivateKey, signing_request, to_pem
from certrotd.pki.order import IssuanceRefused, Missed, OrderGone, ValidationFailed
from certrotd.pki.request import digest, holder_of, is_request
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.step import Done, Journaled, Later, Ledger, Observed
from certrotd.rotation.unexpected import as_failure
from certrotd.state.ports import JournalBroken

Left = list[dict[str, Any]]
KEPT = timedelta(days=7)
KEPT_UNSERVED = timedelta(days=1)
EARLY = timedelta(days=1)
ENDING = "ending"
"""The fact of the record that somebody set once and that ends first: its name, and when."""
LAPSING = "lapsing"
"""The fact that such a record may be gone at the next renewal, in words."""


class WorseThanLive(Failure):
    """The CA issued, unasked, what would serve for less long than what is live."""


@dataclass(frozen=True)
class StageKey(Journaled):
    """The new private key, durable before anything is ordered for it.

    Or the request of a key that is ``elsewhere``, in its place.
    """

    generation: int
    key_type: str
    reuse_from: int | None
    elsewhere: bool = False
    kind = "key"
    announced = False
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        if self.elsewhere:
            pem = world.request()
            refuse_compromised(pem, world)
        elif (kept := self._kept_key(world)) is not None:
            pem = kept
        else:
            pem = to_pem(world.new_key(KeyType(self.key_type)))
        world.store.stage_key(world.name, self.generation, pem)
        return Done()

    def _kept_key(self, world: World) -> bytes | None:
        """That of the generation to reuse it from; None without one, or if others know it."""
        if self.reuse_from is None:
            return None
        pem, _ = world.store.read(world.name, self.reuse_from)
        return None if compromised(pem, world) else pem

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        world.store.discard(world.name, self.generation)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        if world.store.sealed(world.name, self.generation):
            return Observed.DONE
        pem = world.store.staged_key(world.name, self.generation)
        try:
            if pem is not None and holder_of(pem):
                return Observed.DONE
        except InvalidInput:
            pass  # cut off by the crash; it is written again
        return Observed.NOT_DONE


@dataclass(frozen=True)
class PlaceOrder(Journaled):
    """The order at the CA; its URL is journaled, so that a crash finds it again."""

    issuer: str
    names: tuple[str, ...]
    kind = "order"
    announced = False
    can_kill = False

    @noting_trouble()
    def do(self, world: World, ledger: Ledger) -> Done:
        return Done({"order": order_at_hand(self.issuer, self.names, world, ledger).url})

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        world.order = None  # an order that is not finalized expires by itself at the CA


@dataclass(frozen=True)
class Obtain(Journaled):
    """The certificate of the order, staged beside its key.

    A store that seals it in one write need not stage it: until then the CA has it, and is asked
    for it again after a crash. ``served_until`` is when the one that is live now ends (ISO 8601),
    None if there is none. ``kept_key``: its key, or the request of it, is that of an earlier one.
    """

    issuer: str
    names: tuple[str, ...]
    generation: int
    served_until: str | None = None
    kept_key: bool = False
    kind = "obtain"
    announced = False
    can_kill = False

    @noting_trouble()
    def do(self, world: World, ledger: Ledger) -> Done:
        if world.store.sealed(world.name, self.generation):  # a crash came before the record of it
            _, chain = world.store.read(world.name, self.generation)
            return Done(_issued(chain))
        pem = staged_key(world, self.generation, "the order is placed", "go on")
        refuse_superseded(pem, world, "certrotd gives the order up")
        if self.kept_key:  # it may have become known to others while this rotation waited
            with keeping("the order is placed", "go on"):
                refuse_compromised(pem, world)
        chain, missed = self._fetch(_csr(pem, self.names), world, ledger)
        facts = _issued(chain)
        world.chain = chain
        if sealing_at_once(world.store) is None:
            with keeping("the certificate is issued", "keep it"):
                world.store.stage_chain(world.name, self.generation, chain)
        return Done({**facts, "missed": missed.to_json()} if missed else facts)

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # the staging goes as a whole, with its key

    def observe(self, world: World, ledger: Ledger) -> Observed:
        # what a crash cut off is not known: the CA is asked for the order's certificate again
        known = ledger.facts.get("chain")
        if known and world.store.sealed(world.name, self.generation):
            return Observed.DONE
        chain = world.store.staged_chain(world.name, self.generation)
        whole = chain is not None and _digest(chain) == known
        return Observed.DONE if whole else Observed.NOT_DONE

    def _fetch(self, csr: bytes, world: World, ledger: Ledger) -> tuple[bytes, Missed | None]:
        world.issuer(self.issuer)  # raises if the configuration has it no more: nobody to ask
        try:
            order = order_at_hand(self.issuer, self.names, world, ledger)
            if order.challenges():
                raise OrderGone(
                    "the order ended before it was finalized; a new one needs new authorizations"
                )
            world.fence()
            chain = order.finalize(csr)
            return chain, order.missed if isinstance(order, Choosing) else None
        except (Stopped, JournalBroken, OrderGone, ValidationFailed, IssuanceRefused):
            raise
        except (Failure, OSError) as error:
            trouble = as_failure(error, "fetch the certificate")
            raise self._keeping(trouble, world, ledger) from error

    def _keeping(self, trouble: Failure, world: World, ledger: Ledger) -> Failure:
        """What to raise: the CA may have issued, and another order would cost that certificate.

        Whether only time is needed or somebody who mends something, the order is kept, but not
        for ever: what is wrong may be wrong with this order alone.
        """
        url, now = str(ledger.facts.get("order") or ""), world.clock.now()
        if not url:
            return trouble  # an issuer without orders has nothing that could be fetched later
        since = _unfetched_since(url, now, ledger)
        served = moment(self.served_until) if self.served_until else None
        what = f"the certificate could not be fetched: {trouble.message}"
        left = since + patience(since, served) - now
        if not world.wants(self.issuer, self.names):
            return Failure(
                f"{what}; the configuration changed, so certrotd gives the order up",
                hint="the next run orders what it asks for now",
            )
        if left <= timedelta(0):
            return Failure(
                f"{what}; since {since:%Y-%m-%d %H:%M}Z, so certrotd gives the order up",
                hint=trouble.hint,
            )
        end = now + left
        again = f"the next run asks for it again; the order is kept until {end:%Y-%m-%d %H:%M}Z"
        wait = trouble.retry_after if isinstance(trouble, Transient) else None
        longest = longest_wait(served - now if served and served > now else None)
        return Later(
            what,
            hint=f"{trouble.hint}; {again}" if trouble.hint else again,
            retry_after=min(wait, left, longest) if wait else None,
        )


def _unfetched_since(url: str, now: datetime, ledger: Ledger) -> datetime:
    """Since when the order's certificate could not be fetched: now, if it is the first time.

    Or if what was noted is yet to come: the clock was ahead then.
    """
    known = ledger.facts.get("unfetched")
    if isinstance(known, dict) and url in known and (since := moment(known[url])) <= now:
        return since
    ledger.note(unfetched={url: now.isoformat()})
    return now


def patience(since: datetime, served_until: datetime | None) -> timedelta:
    """How long to keep an order whose certificate cannot be fetched ``since`` then.

    A week, which is about as long as CAs keep orders, but no more than half of what was left of
    the certificate that is served: then there is time for another order. A day where none is.
    """
    if served_until is None or served_until <= since:
        return KEPT_UNSERVED
    return min(KEPT, (served_until - since) / 2)


@dataclass(frozen=True)
class Seal(Journaled):
    """Verified as a pair for these names, and made an immutable generation.

    ``outdo`` are the dates (ISO 8601) of a live certificate than which it must not be worse;
    ``kept_key`` as of Obtain.
    """

    generation: int
    names: tuple[str, ...]
    issuer: str
    authority: str
    draw: float
    terms: str = ""
    outdo: tuple[str, str] | None = None
    kept_key: bool = False
    kind = "verify and seal"
    announced = False
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:
        from certrotd.pki.facts import facts_of, parse_certificates
        from certrotd.pki.path import doubts
        from certrotd.pki.verify import NotYetValid, verify

        now = world.clock.now()
        key = staged_key(world, self.generation, "the certificate is issued", "seal it")
        with keeping("the certificate is issued", "seal it"):
            pem = world.chain or world.store.staged_chain(world.name, self.generation)
        if pem is None:
            raise Failure(f"the staged chain of generation {self.generation} is missing")
        refuse_superseded(key, world, "certrotd gives the order up")
        if self.kept_key:
            with keeping("the certificate is issued", "seal it"):
                refuse_compromised(key, world)
        chain = parse_certificates(pem, what="the CA's answer")
        try:
            verify(holder_of(key), chain, self.names, now=now)
        except NotYetValid as early:
            if early.at - now > EARLY:
                raise
            # the clock is behind, more likely than the CA ahead; both pass
            with suppress(Failure, OSError):  # else it is fetched again
                world.store.stage_chain(world.name, self.generation, pem)
            why = f"the certificate is issued, but {early.message}"
            raise Later(why, hint=early.hint, retry_after=early.at - now) from early
        if doubt := doubts(chain, now=now):
            world.remark(f"{world.name}: {doubt}")
        new = facts_of(chain[0])
        self._compare(new, world)
        meta = Meta(
            created=now,
            origin="issued",
            issuer=self.issuer,
            authority=self.authority,
            draw=self.draw,
            order=str(ledger.facts.get("order") or ""),
            asked=self.names,
            terms=self.terms,
            missed=Missed.from_json(ledger.facts.get("missed")),
            instead=str(ledger.facts.get(INSTEAD) or ""),
            request=digest(key) if is_request(key) else "",
        )
        lapsing = _lapsing(ledger.facts.get(ENDING), new, now=now)
        for words in (meta.missed, lapsing):
            if words:
                world.remark(f"{world.name}: {words}")
        with keeping("the certificate is issued and verified", "seal it"):
            if (store := sealing_at_once(world.store)) is not None:
                store.seal_with(world.name, self.generation, meta, pem)
            else:
                world.store.seal(world.name, self.generation, meta)
        return Done({LAPSING: lapsing} if lapsing else {})

    def _compare(self, new: CertificateFacts, world: World) -> None:
        if self.outdo is None:
            return
        if reason := worse(new, *map(moment, self.outdo), now=world.clock.now()):
            raise WorseThanLive(
                f"the new certificate is refused: {reason}",
                hint="the live one stays, and certrotd orders another later; "
                f"`certrotd rotate {world.name} --force` accepts what the CA issues",
            )

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # unsealed, the staging goes with its key; sealed, this step is done

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        if world.store.sealed(world.name, self.generation):
            return Observed.DONE
        return Observed.NOT_DONE


def _lapsing(ending: object, new: CertificateFacts, *, now: datetime) -> str | None:
    match ending:
        case [str(name), str(end)]:
            return lapsing(name, moment(end), new.not_after, now=now)
    return None


def order_at_hand(issuer: str, names: tuple[str, ...], world: World, ledger: Ledger) -> Order:
    """The order at hand, else the journaled one, else — if that is gone — a new one."""
    if world.order is not None:
        return world.order
    deadline = Deadline(world.clock, world.order_time)
    url = str(ledger.facts.get("order") or "")
    if url:
        try:
            world.order = world.issuer(issuer).resume(url, deadline=deadline)
            return world.order
        except OrderGone:
            pass  # expired while nobody ran, or the CA forgot it: another one is needed
    world.fence()
    replaces = str(ledger.facts.get(REPLACES) or "")
    world.order = world.issuer(issuer).order(names, deadline=deadline, replaces=replaces)
    # at once: orders are counted by the CA, and this is the only way back to this one
    ledger.note(order=world.order.url)
    return world.order


def _csr(pem: bytes, names: tuple[str, ...]) -> bytes:
    """What is sent to be certified, in DER: ours, or the request that stands for the key."""
    holder = holder_of(pem)
    if isinstance(holder, PrivateKey):
        return signing_request(holder, names)
    return holder.public_bytes(Encoding.DER)


def _issued(chain: bytes) -> dict[str, Any]:
    """What is remembered of a chain that a CA has issued."""
    from certrotd.pki.facts import facts_of, parse_certificates

    leaf = facts_of(parse_certificates(chain, what="the CA's answer")[0])
    end = leaf.not_after.isoformat()
    return {"chain": _digest(chain), "fingerprint": leaf.fingerprint, "not_after": end}


def _digest(chain: bytes) -> str:
    return hashlib.sha256(chain).hexdigest()
