"""Publishing through dynamic updates to an authoritative server (RFC 2136), signed with TSIG.

Adding a record that is there and deleting one that is not are successes for the server (RFC 2136
§3.4.2), so both acts may be sent again: after a lost packet as after a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.message import Message
from dns.rdtypes.ANY.TXT import TXT

from certrotd.address import Address
from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.secrets import Secret
from certrotd.config.solvers import Rfc2136Entry, TsigEntry, tsig_key
from certrotd.dns.address import resolved
from certrotd.dns.names import fqdn, upward, within
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.dns.resolve import alias_of, soa_owner
from certrotd.dns.wire import TSIG_ERRORS, Silence, code, exchange, question
from certrotd.errors import Failure, NeedsOperator, Transient

_ATTEMPTS = 3
_KNOWN_SECONDS = 60.0
_MAX_KNOWN = 1024


@dataclass(frozen=True)
class TsigKey:
    """The shared key of updates (RFC 8945), kept out of every repr and message."""

    name: str
    algorithm: str
    secret: Secret

    @classmethod
    def of(cls, entry: TsigEntry) -> TsigKey:
        """The key of a configuration entry; NeedsOperator where its secret is none."""
        octets = tsig_key(entry.secret.resolve().reveal(), f"TSIG key {entry.name}")
        return cls(entry.name, entry.algorithm, Secret(octets))


class Rfc2136:
    """A solver that updates ``zone`` on ``server``.

    Without ``zone`` the server is asked which of its zones holds each name. ``ttl`` and
    ``timeout`` (of one exchange, shared by three attempts) are in seconds. An unsigned update
    (``tsig`` None) only makes sense where the server trusts the address it comes from.
    """

    def __init__(
        self,
        server: Address,
        *,
        zone: str | None = None,
        tsig: TsigKey | None = None,
        ttl: int = 60,
        protocol: Literal["udp", "tcp"] = "udp",
        timeout: float = 10.0,
    ) -> None:
        self._server = server
        self._zone = None if zone is None else fqdn(zone)
        self._tsig = tsig
        self._ttl = ttl
        self._tcp = protocol == "tcp"
        self._timeout = timeout
        # what is asked before an order need not be asked again right behind it
        self._known: dict[str, tuple[float, str]] = {}

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Add the value to the TXT records at its name.

        Raises Unpublished where the server refuses the update or the key, Transient where it
        fails or does not answer.
        """
        try:
            zone = self._zone_for(record.name, deadline)

            def update() -> Message:
                message = self._update(zone)
                message.add(f"{record.name}.", self._ttl, _txt(record))
                return message

            self._apply(f"adding a TXT record to {record.name}", zone, update, deadline)
        except NeedsOperator as refused:
            raise Unpublished(refused.message, hint=refused.hint) from refused

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Delete this value and no other (RFC 2136 §2.5.4).

        Raises NeedsOperator where the server refuses, else as :meth:`present` does.
        """
        zone = self._zone_for(record.name, deadline)

        def update() -> Message:
            message = self._update(zone)
            message.delete(f"{record.name}.", _txt(record))
            return message

        self._apply(f"deleting a TXT record from {record.name}", zone, update, deadline)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Ask for the zone's SOA, signed: server, zone and key are right, or it raises.

        Without a configured zone, any answer to a signed question will do.
        """
        zone = self._zone
        asked = zone or (self._tsig.name if self._tsig else "localhost")
        answer = self._converse(
            f"SOA of {asked}",
            lambda: self._signed(question(asked, "SOA", recursion=False)),
            deadline,
        )
        if zone is not None and (
            answer.rcode() != dns.rcode.NOERROR or soa_owner(answer, zone) != zone
        ):
            raise _no_zone(self._server, zone, answer)

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """As Coverage.covers; raises as :meth:`withdraw` does."""
        self._zone_for(name, deadline)

    def _zone_for(self, name: str, deadline: Deadline) -> str:
        """The configured zone, or the one the server's SOA answer names (RFC 2308 §3)."""
        if self._zone is not None:
            if not within(name, self._zone):
                raise NeedsOperator(
                    f"{name} is not in the zone {self._zone} that {self._server} updates",
                    hint="configure a DNS solver for that name's zone",
                )
            return self._zone
        now = deadline.clock.monotonic()
        until, zone = self._known.get(name, (now, ""))
        if until <= now:
            zone = self._ask_zone(name, deadline)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[name] = now + _KNOWN_SECONDS, zone
        return zone

    def _ask_zone(self, name: str, deadline: Deadline) -> str:
        for asked in upward(name):
            answer = self._converse(
                f"SOA of {asked}",
                lambda asked=asked: question(asked, "SOA", recursion=False),  # type: ignore[misc]
                deadline,
            )
            if answer.rcode() == dns.rcode.SERVFAIL:
                raise Transient(f"DNS server {self._server}: SERVFAIL for SOA of {asked}")
            zone = soa_owner(answer, asked)
            if zone is not None:
                return zone
            if alias_of(answer, asked) is None:
                break  # where a wildcard made an alias, the zone is found above it
        raise _no_zone(self._server, name, answer)

    def _apply(
        self, what: str, zone: str, update: Callable[[], Message], deadline: Deadline
    ) -> None:
        answer = self._converse(what, lambda: self._signed(update()), deadline)
        failure = _refusal(answer, f"DNS server {self._server}: {what}", zone, self._tsig)
        if failure is not None:
            raise failure

    def _converse(self, what: str, message: Callable[[], Message], deadline: Deadline) -> Message:
        """Send what ``message`` makes until an answer comes; each attempt is signed anew."""
        silences: list[str] = []
        limit = deadline.within(self._timeout)
        for _ in range(_ATTEMPTS):
            for address in resolved(self._server, deadline=limit):
                try:
                    answer = exchange(
                        message(),
                        address,
                        deadline=limit.within(self._timeout / _ATTEMPTS),
                        tcp=self._tcp,
                    )
                except TSIG_ERRORS as error:
                    raise _key_refused(self._server, self._tsig, error) from error
                if not isinstance(answer, Silence):
                    return answer
                silences.append(f"{address}: {answer.why}")
            if limit.passed:
                break
        raise Transient(
            f"DNS server {self._server}: {what}: {'; '.join(dict.fromkeys(silences))}",
            hint="check that the server is reachable and that no firewall drops DNS packets",
        )

    def _update(self, zone: str) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(f"{zone}.")

    def _signed(self, message: Message) -> Message:
        if self._tsig is not None:
            # Made for one message and dropped: dnspython's Key shows its secret in its repr.
            key = dns.tsig.Key(
                f"{self._tsig.name}.", self._tsig.secret.reveal(), f"{self._tsig.algorithm}."
            )
            message.use_tsig(key)
        return message


def _txt(record: TxtRecord) -> TXT:
    return TXT(dns.rdataclass.IN, dns.rdatatype.TXT, (record.value.encode("ascii"),))


def _refusal(answer: Message, what: str, zone: str, tsig: TsigKey | None) -> Failure | None:
    """What an UPDATE's RCODE means (RFC 2136 §3.4.1.4 and §2.2), or None for success."""
    rcode = answer.rcode()
    if rcode == dns.rcode.NOERROR:
        return None
    said = f"{what}: {code(answer)}"
    if rcode == dns.rcode.SERVFAIL:
        return Transient(
            said, hint="see the server's log; the cause is often a read-only journal file"
        )
    hints = {
        dns.rcode.REFUSED: (
            f"let {f'key {tsig.name}' if tsig else 'this address'} update TXT records there"
            f" (BIND: update-policy or allow-update of zone {zone})"
        ),
        dns.rcode.NOTAUTH: f"the server is not authoritative for {zone}, or wants a signed update",
        dns.rcode.NOTZONE: f"the name is not in {zone}, or it is in a zone delegated from it",
        dns.rcode.NOTIMP: "the server does not take dynamic updates",
        dns.rcode.FORMERR: "the server does not understand the update",
    }
    return NeedsOperator(said, hint=hints.get(rcode, f"see the log of the server for {zone}"))


def _no_zone(server: Address, name: str, answer: Message) -> NeedsOperator:
    return NeedsOperator(
        f"DNS server {server} has no zone for {name} ({code(answer)})",
        hint="configure the zone, or the server that is authoritative for it",
    )


def _key_refused(
    server: Address, tsig: TsigKey | None, error: dns.exception.DNSException
) -> NeedsOperator:
    """Which part of the key is wrong, as far as RFC 8945 §5.2 lets the server say."""
    key = f"{tsig.name} ({tsig.algorithm})" if tsig else "(none)"
    if isinstance(error, dns.tsig.PeerBadTime | dns.tsig.BadTime):
        return NeedsOperator(
            f"DNS server {server}: BADTIME for TSIG key {key}",
            hint="the clocks of this machine and the server differ by more than five minutes",
        )
    said: dict[type[dns.exception.DNSException], tuple[str, str]] = {
        dns.tsig.PeerBadKey: ("BADKEY", "the server has no key of that name and algorithm"),
        dns.tsig.PeerBadSignature: ("BADSIG", "the server has another secret for that name"),
        dns.tsig.PeerBadTruncation: ("BADTRUNC", "the server wants a longer MAC"),
    }
    what, hint = said.get(
        type(error), ("the answer is not signed with it", "the server signs with another key")
    )
    return NeedsOperator(
        f"DNS server {server}: {what} for TSIG key {key}",
        hint=f"{hint}; correct name, algorithm or secret of the key",
    )


def build(entry: Rfc2136Entry, context: Context) -> Rfc2136:  # noqa: ARG001
    """The solver of a configuration entry; the TSIG secret is read here, when it is first used."""
    return Rfc2136(
        entry.server,
        zone=entry.zone,
        tsig=TsigKey.of(entry.tsig) if entry.tsig else None,
        ttl=entry.ttl,
        protocol=entry.protocol,
        timeout=entry.timeout.total_seconds(),
    )
