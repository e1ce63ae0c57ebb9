"""Waiting until every authoritative server shows the challenge records, instead of sleeping.

The CA may ask any of them (RFC 8555 §10.2 suggests from several places), so one that lags or is
broken fails the challenge some of the time. Each is asked directly, without recursion, so that no
cache learns that the record is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from certrotd.address import Address
from certrotd.clock import Deadline
from certrotd.dns.records import TxtRecord
from certrotd.dns.resolve import Resolver
from certrotd.dns.txt import NOTHING, TxtValues, txt_values
from certrotd.dns.wire import Silence, exchange, question
from certrotd.dns.words import seconds
from certrotd.errors import Transient

_FIRST_PAUSE = 0.1
_GROWTH = 1.6
_MAX_THREADS = 8
_MAX_SAID = 8
_MEMORY = 60.0


@dataclass(frozen=True, order=True)
class Seat:
    """One address of one authoritative server."""

    nameserver: str
    address: Address

    def __str__(self) -> str:
        own_name = self.nameserver == str(self.address)
        return self.nameserver if own_name else f"{self.nameserver} ({self.address})"


Reply = TxtValues | Silence
Ask = tuple[Seat, str]
"""A server and the name it is asked for."""


@dataclass(frozen=True)
class Lack:
    """A server that does not show everything at a name yet, and what it answered instead."""

    ask: Ask
    instead: str


def judge(wanted: Mapping[Ask, frozenset[str]], replies: Mapping[Ask, Reply]) -> list[Lack]:
    """The servers that do not show all the values wanted of them, given their last replies.

    An address this machine has no route to (no IPv6, mostly) is left out, as long as another
    address of the same nameserver was reachable.
    """
    reachable = {
        (seat.nameserver, name) for (seat, name), reply in replies.items() if _routable(reply)
    }
    lacking: list[Lack] = []
    for ask, values in wanted.items():
        seat, name = ask
        reply = replies.get(ask, Silence("not asked yet"))
        if isinstance(reply, TxtValues):
            if not values <= reply.values:
                lacking.append(Lack(ask, _instead(reply, values)))
        elif reply.routable or (seat.nameserver, name) not in reachable:
            lacking.append(Lack(ask, reply.why))
    return lacking


def unheard(
    wanted: Mapping[Ask, frozenset[str]], replies: Mapping[Ask, Reply], quorum: int | None
) -> list[Lack] | None:
    """Who is silent, where enough others show everything; None where that is not enough.

    A server that answers anything else is never passed over: the CA may believe it. ``quorum`` is
    how many servers are enough for each name; None: all but one, at least two or all there are.
    """
    lacking = judge(wanted, replies)
    if any(isinstance(replies.get(lack.ask), TxtValues) for lack in lacking):
        return None
    showing = {ask for ask in wanted if isinstance(replies.get(ask), TxtValues)}
    for name in {name for _, name in wanted}:
        servers = {seat.nameserver for seat, asked in wanted if asked == name}
        heard = {seat.nameserver for seat, asked in showing if asked == name}
        count = len(servers)
        enough = max(count - 1, min(2, count)) if quorum is None else min(quorum, count)
        if len(heard) < enough:
            return None
    return lacking


def absent(wanted: Mapping[Ask, frozenset[str]], replies: Mapping[Ask, Reply]) -> bool:
    """Whether every server has said that it has none of the values."""
    said = {ask: reply for ask, reply in replies.items() if isinstance(reply, TxtValues)}
    servers = {(seat.nameserver, name) for seat, name in wanted}
    heard = {(seat.nameserver, name) for seat, name in said}
    return (
        bool(servers)
        and heard == servers
        and not any(
            reply.values & wanted[ask] or reply.otherwise not in NOTHING
            for ask, reply in said.items()
        )
    )


class Propagation:
    """Polls the authoritative servers until all show the records.

    ``servers`` replaces the look-up of the zone's own (split horizon, hidden primaries);
    ``timeout`` bounds one wait in seconds; the pause between polls grows from 0.1 s to
    ``interval``. One query waits as long as the resolver's. ``quorum`` is that of :func:`unheard`.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        servers: tuple[Address, ...] | None = None,
        timeout: float = 120.0,
        interval: float = 5.0,
        quorum: int | None = None,
    ) -> None:
        self._resolver = resolver
        self._servers = servers
        self._timeout = timeout
        self._interval = interval
        self._quorum = quorum
        # Many certificates of one zone are renewed together; a CA's resolver remembers longer.
        self._remembered: dict[str, tuple[float, tuple[Seat, ...]]] = {}

    def wait(self, records: Sequence[TxtRecord], *, deadline: Deadline) -> str:
        """Return once every authoritative server shows every record.

        Or when ``timeout`` or ``deadline`` passes and enough do: then who is silent, in words.
        Else raises Transient, naming each server and what it answered instead, and what the
        look-ups of the resolver raise.
        """
        limit = deadline.within(self._timeout)
        allowed = limit.remaining
        wanted = self._wanted(records, limit)
        replies: dict[Ask, Reply] = {}
        lacking = judge(wanted, replies)
        for pause in _pauses(self._interval):
            fresh = self._poll([lack.ask for lack in lacking], limit)
            for ask, reply in fresh.items():
                # A question that the end of time cut short says less than the answer before it.
                if isinstance(reply, TxtValues) or not (limit.passed and ask in replies):
                    replies[ask] = reply
            lacking = judge(wanted, replies)
            if not lacking:
                return ""
            limit.pause(pause)
            if limit.passed:
                self._remembered.clear()  # who does not show it may not serve the zone any more
                silent = unheard(wanted, replies, self._quorum)
                if silent is None:
                    raise _not_seen(lacking, allowed)
                return _silent(silent, allowed)
        raise AssertionError("the pauses never end")  # pragma: no cover

    def texts(self, name: str, *, deadline: Deadline) -> dict[str, frozenset[str]]:
        """The TXT values at ``name`` that each authoritative server shows.

        Raises Transient where too few answer, or one with anything else than values or their
        absence; and what the look-ups of the resolver raise.
        """
        limit = deadline.within(self._timeout)
        wanted = {(seat, name): frozenset[str]() for seat in self._seats(name, limit)}
        replies = self._poll(list(wanted), limit)
        said = {ask: reply for ask, reply in replies.items() if isinstance(reply, TxtValues)}
        odd = [Lack(a, r.otherwise) for a, r in said.items() if r.otherwise not in NOTHING]
        silent = unheard(wanted, replies, self._quorum)
        if odd or silent is None or not said:
            lacking = [*odd, *(judge(wanted, replies) if silent is None else silent)]
            which = "; ".join(f"{each.ask[0]}: {each.instead}" for each in lacking[:_MAX_SAID])
            raise Transient(f"the name servers do not say what is at {name}: {which}")
        return {str(seat): reply.values for (seat, _), reply in said.items()}

    def absent(self, record: TxtRecord, *, deadline: Deadline) -> bool:
        """Whether no authoritative server has the record, and each has said so."""
        limit = deadline.within(self._timeout)
        wanted = self._wanted([record], limit)
        return absent(wanted, self._poll(list(wanted), limit))

    def _wanted(
        self, records: Sequence[TxtRecord], deadline: Deadline
    ) -> dict[Ask, frozenset[str]]:
        values: dict[str, set[str]] = defaultdict(set)
        for record in records:
            values[record.name].add(record.value)
        wanted: dict[Ask, frozenset[str]] = {}
        for name, needed in values.items():
            for seat in self._seats(name, deadline):
                wanted[seat, name] = frozenset(needed)
        return wanted

    def _seats(self, name: str, deadline: Deadline) -> tuple[Seat, ...]:
        """The servers to ask for ``name``, remembered by zone for a minute."""
        if self._servers is not None:
            return tuple(Seat(str(address), address) for address in self._servers)
        zone = self._resolver.zone_of(name, deadline=deadline)
        now = deadline.clock.monotonic()
        until, seats = self._remembered.get(zone, (now, ()))
        if until <= now:
            seats = tuple(
                Seat(server.name, address)
                for server in self._resolver.authoritative(zone, deadline=deadline)
                for address in server.addresses
            )
            self._remembered[zone] = now + _MEMORY, seats
        return seats

    def _poll(self, asks: Sequence[Ask], deadline: Deadline) -> dict[Ask, Reply]:
        """One reply for each of ``asks``; servers are asked side by side, so none delays others."""
        by_address: dict[Address, list[Ask]] = defaultdict(list)
        for ask in asks:
            by_address[ask[0].address].append(ask)
        batches = list(by_address.values())
        if len(batches) <= 1:
            return self._ask_one_server(batches[0], deadline) if batches else {}
        replies: dict[Ask, Reply] = {}
        with ThreadPoolExecutor(min(len(batches), _MAX_THREADS)) as pool:
            for part in pool.map(lambda batch: self._ask_one_server(batch, deadline), batches):
                replies |= part
        return replies

    def _ask_one_server(self, asks: Sequence[Ask], deadline: Deadline) -> dict[Ask, Reply]:
        replies: dict[Ask, Reply] = {}
        silence: Silence | None = None
        for ask in asks:
            # Silent for one name, silent for all: a dead server costs one timeout per round.
            if silence is None:
                seat, name = ask
                query = question(name, "TXT", recursion=False, edns=False)
                limit = deadline.within(self._resolver.timeout)
                answer = exchange(query, seat.address, deadline=limit)
                if isinstance(answer, Silence):
                    silence = answer
                else:
                    replies[ask] = txt_values(answer, name)
                    continue
            replies[ask] = silence
        return replies


def _pauses(longest: float) -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield min(pause, longest)
        pause = min(pause * _GROWTH, longest)


def _routable(reply: Reply) -> bool:
    return isinstance(reply, TxtValues) or reply.routable


def _instead(reply: TxtValues, values: frozenset[str]) -> str:
    others = len(reply.values - values)
    if others:
        return f"{others} other value{'s' if others > 1 else ''}"
    return reply.otherwise or f"{len(reply.values)} of {len(values)} values"


def _not_seen(lacking: Sequence[Lack], allowed: float) -> Transient:
    said = [f"{lack.ask[0]}: {lack.instead}" for lack in lacking[:_MAX_SAID]]
    if len(lacking) > _MAX_SAID:
        said.append(f"and {len(lacking) - _MAX_SAID} more")
    names = sorted({lack.ask[1] for lack in lacking})
    which = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more names"
    return Transient(
        f"TXT records of {which} are not on every authoritative server after {seconds(allowed)}: "
        + "; ".join(said),
        hint="check that the DNS provider publishes to these servers, or configure which to ask, "
        "and how many are enough (servers and quorum under propagation)",
    )


def _silent(lacking: Sequence[Lack], allowed: float) -> str:
    said = dict.fromkeys(f"{lack.ask[0]}: {lack.instead}" for lack in lacking[:_MAX_SAID])
    return (
        f"continued without servers that stayed silent for {seconds(allowed)}, as all others show "
        f"the TXT records: {'; '.join(said)}"
    )
