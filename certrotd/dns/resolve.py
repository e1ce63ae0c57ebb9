"""Look-ups through recursive resolvers: CNAMEs, the zone of a name, its authoritative servers.

Every answer is hostile: only records for the name that was asked count, and all counts are bounded.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.message import Message
from dns.rdatatype import RdataType

from certrotd.address import Address, parse
from certrotd.clock import Deadline
from certrotd.dns.address import DNS_PORT
from certrotd.dns.names import fqdn, upward, within
from certrotd.dns.wire import Silence, code, exchange, question, records
from certrotd.errors import InvalidInput, NeedsOperator, Transient

MAX_HOPS = 8
MAX_NAMESERVERS = 64
MAX_ADDRESSES = 16

_ROUNDS = 2
_MAX_RESOLVERS = 8
_MAX_ZONES = 1024
_ZONE_SECONDS = 60.0
_RESOLV_CONF_LIMIT = 64 * 1024
_ADDRESS_TYPES = (RdataType.A, RdataType.AAAA)


@dataclass(frozen=True)
class Nameserver:
    """An authoritative server: the name in the NS record and every address behind it."""

    name: str
    addresses: tuple[Address, ...]


class Resolver:
    """Asks ``servers``, or those in /etc/resolv.conf, each for at most ``timeout`` seconds.

    resolv.conf is read at every look-up: it changes under a daemon. ``authoritative_port`` is
    where the servers found by :meth:`authoritative` listen. Which zone holds a name that was
    followed is known from that answer for a minute.
    """

    def __init__(
        self,
        servers: tuple[Address, ...] | None = None,
        *,
        timeout: float = 3.0,
        authoritative_port: int = DNS_PORT,
    ) -> None:
        self.timeout = timeout
        self._servers = servers
        self._port = authoritative_port
        self._zones: dict[str, tuple[float, str]] = {}

    def follow(self, name: str, *, deadline: Deadline) -> str:
        """The name at the end of the CNAME chain that starts at ``name``.

        A name that does not exist (yet) is returned as it is, and so is one that only a wildcard
        of its parent makes an alias (RFC 4592): that one is meant for something else, and a record
        of the name's own takes its place. Raises InvalidInput for loops,
        chains of more than 8 hops and targets that are no names; Transient without an answer.
        """
        # CNAME rather than TXT is asked: a resolver then need not reach the target, whose server
        # may be our own and not running yet.
        chain = [fqdn(name)]
        while True:
            asked = chain[-1]
            answer = self._ask(asked, RdataType.CNAME, deadline)
            while (target := alias_of(answer, chain[-1])) is not None:
                if len(chain) == 1 and self._wild(chain[0], target, deadline):
                    return chain[0]
                _extend(chain, target)
            # The code of an answer with a chain is that of its last name (RFC 6604 §3).
            if chain[-1] == asked or answer.rcode() == dns.rcode.NXDOMAIN:
                self._remember(chain[-1], answer, deadline)
                return chain[-1]

    def _wild(self, name: str, target: str, deadline: Deadline) -> bool:
        """Whether a sibling that nobody can have made leads to ``target``, too."""
        _, _, parent = name.partition(".")
        sibling = fqdn(f"_certrotd-{secrets.token_hex(8)}.{parent}")
        return alias_of(self._ask(sibling, RdataType.CNAME, deadline), sibling) == target

    def zone_of(self, name: str, *, deadline: Deadline, ahead: bool = False) -> str:
        """The zone that holds ``name``: the nearest SOA at or above it (RFC 1034 §4.2.1).

        The SOA is in the answer, or in the authority section of a negative answer (RFC 2308 §3).
        What is asked ``ahead`` of its use is known for that as well, within the minute.
        Raises NeedsOperator if no zone holds the name, Transient without an answer.
        """
        name = fqdn(name)
        until, known = self._zones.pop(name, (0.0, ""))
        if known and deadline.clock.monotonic() < until:
            if ahead:
                self._zones[name] = until, known
            return known
        for candidate in upward(name):
            answer = self._ask(candidate, RdataType.SOA, deadline)
            # what follows an alias is about where that leads
            zone = None if alias_of(answer, candidate) else soa_owner(answer, candidate)
            if zone is not None:
                if ahead:
                    self._keep(name, zone, deadline)
                return zone
        raise NeedsOperator(
            f"no DNS zone holds {name}", hint="check that the domain is registered and delegated"
        )

    def authoritative(self, zone: str, *, deadline: Deadline) -> tuple[Nameserver, ...]:
        """Every authoritative server of ``zone`` with its IPv4 and IPv6 addresses.

        Raises InvalidInput beyond 64 servers or 16 addresses each; Transient without an answer,
        without NS records, or where a server has no address.
        """
        zone = fqdn(zone)
        answer = self._ask(zone, RdataType.NS, deadline)
        names = sorted({fqdn(t) for t in _texts(answer, zone, RdataType.NS, limit=MAX_NAMESERVERS)})
        if not names:
            raise Transient(f"{zone} has no NS records ({code(answer)})")
        return tuple(self._nameserver(name, zone, deadline) for name in names)

    def _remember(self, name: str, answer: Message, deadline: Deadline) -> None:
        """The zone that a negative answer about ``name`` says to hold it (RFC 2308 §3)."""
        zone = soa_owner(answer, name)
        if zone is not None:
            self._keep(name, zone, deadline)

    def _keep(self, name: str, zone: str, deadline: Deadline) -> None:
        if len(self._zones) >= _MAX_ZONES:
            self._zones.clear()  # of orders that never came to ask
        self._zones[name] = deadline.clock.monotonic() + _ZONE_SECONDS, zone

    def _nameserver(self, name: str, zone: str, deadline: Deadline) -> Nameserver:
        hosts: list[str] = []
        for rdtype in _ADDRESS_TYPES:
            answer = self._ask(name, rdtype, deadline)
            hosts += _texts(answer, name, rdtype, limit=MAX_ADDRESSES)
        if not hosts:
            raise Transient(
                f"nameserver {name} of {zone} has no address",
                hint="correct the zone's NS records, or configure which servers to ask",
            )
        if len(hosts) > MAX_ADDRESSES:
            raise InvalidInput(f"nameserver {name} has more than {MAX_ADDRESSES} addresses")
        return Nameserver(name, tuple(Address(host, self._port) for host in hosts))

    def _ask(self, name: str, rdtype: RdataType, deadline: Deadline) -> Message:
        """The first NOERROR or NXDOMAIN any resolver gives; each is tried twice."""
        servers = system_resolvers() if self._servers is None else self._servers
        failures: dict[Address, str] = {}
        for server in servers * _ROUNDS:
            if deadline.passed:
                break
            query = question(name, rdtype.name, recursion=True)
            answer = exchange(query, server, deadline=deadline.within(self.timeout))
            if isinstance(answer, Silence):
                failures[server] = f"{server}: {answer.why}"
            elif answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return answer
            else:
                failures[server] = f"{server}: {code(answer)}"
        said = "; ".join(failures.values()) or "not asked: no time left"
        raise Transient(f"look-up of {rdtype.name} {name} failed: {said}")


def system_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[Address, ...]:
    """The resolvers in ``path``, at most 8; like libc, the one on this machine if it names none.

    Lines that are not ``nameserver ADDRESS`` are skipped, as libc does (resolv.conf(5)).
    """
    try:
        with path.open("rb") as file:
            text = file.read(_RESOLV_CONF_LIMIT).decode("ascii", "replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise NeedsOperator(f"cannot read {path}: {error.strerror}") from error
    found: list[Address] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                # The file has no ports: brackets make sure none is read into an IPv6 address.
                bracketed = f"[{words[1]}]" if ":" in words[1] else words[1]
                address = parse(bracketed, default_port=DNS_PORT)
            except InvalidInput:
                continue
            if address.is_ip:
                found.append(address)
    return tuple(found[:_MAX_RESOLVERS]) or (Address("127.0.0.1", DNS_PORT),)


def soa_owner(answer: Message, name: str) -> str | None:
    """The zone whose SOA an answer about ``name`` carries, if it is at or above ``name``."""
    for rrset in (*answer.answer, *answer.authority):
        if rrset.rdtype == RdataType.SOA and rrset.rdclass == dns.rdataclass.IN:
            owner = rrset.name.to_text(omit_final_dot=True).lower()
            if within(name, owner):
                return owner
    return None


def alias_of(answer: Message, name: str) -> str | None:
    """Where the CNAME at exactly ``name`` leads; None if the answer has none."""
    targets = _texts(answer, name, RdataType.CNAME, limit=1)
    return fqdn(targets[0]) if targets else None


def _extend(chain: list[str], target: str) -> None:
    if target in chain:
        raise InvalidInput(f"the CNAME chain of {chain[0]} loops at {target}")
    if len(chain) > MAX_HOPS:
        raise InvalidInput(f"the CNAME chain of {chain[0]} is longer than {MAX_HOPS} hops")
    chain.append(target)


def _texts(answer: Message, name: str, rdtype: RdataType, *, limit: int) -> list[str]:
    """The records of one type that the answer holds for exactly ``name``."""
    found = records(answer, name, rdtype) or ()
    if len(found) > limit:
        raise InvalidInput(f"{name} has more than {limit} {rdtype.name} records")
    return sorted(rdata.to_text() for rdata in found)
