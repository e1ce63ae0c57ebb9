"""The built-in authoritative server: challenge records without any DNS credentials on the host.

``_acme-challenge.example.com`` (or a zone its CNAME leads to) is delegated to this machine by one
NS record, and certrotd answers for that zone itself. Records are files, shared by a daemon and
one-shot commands of the same user on the same host: whichever could bind the address answers for
all of them, and the others take over when it ends.
"""

from __future__ import annotations

import errno
import ipaddress
import secrets
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dns.flags
import dns.rcode
from dns.message import Message

from certrotd.address import Address
from certrotd.clock import Clock, Deadline
from certrotd.config.context import Context
from certrotd.config.solvers import ResponderEntry
from certrotd.dns.answers import Authority, failed, respond
from certrotd.dns.names import fqdn, longest_zone
from certrotd.dns.recordfiles import RecordFiles
from certrotd.dns.records import TxtRecord
from certrotd.dns.serve import DnsServer, is_wildcard
from certrotd.dns.txt import txt_values
from certrotd.dns.wire import Silence, code, exchange, question
from certrotd.errors import Failure, NeedsOperator, of_the_machine
from certrotd.files.writable import check_directory

_CONFIRM_SECONDS = 2.0
_CONFIRM_ONE = 0.5
_CONFIRM_PAUSE = 0.1


class Responder:
    """A solver that answers for ``zones`` on ``listen`` from the files in ``directory``.

    ``nameserver`` is the host name in the zones' NS record; ``addresses`` are its own and must be
    given where that name is inside one of the zones (nobody else could resolve it).
    ``hostmaster`` is a mail address. Serving begins with :meth:`start` or the first ``present``
    or ``preflight``, in a thread of its own, and ends with :meth:`close`.
    """

    def __init__(
        self,
        *,
        listen: tuple[Address, ...],
        zones: tuple[str, ...],
        nameserver: str,
        hostmaster: str,
        directory: Path,
        clock: Clock,
        addresses: tuple[str, ...] = (),
    ) -> None:
        self._authority = Authority(
            tuple(fqdn(zone) for zone in zones),
            fqdn(nameserver),
            fqdn(hostmaster.replace("@", ".", 1)),
            tuple(str(ipaddress.ip_address(address)) for address in addresses),
        )
        self._listen = listen
        self._files = RecordFiles(directory)
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._server: DnsServer | None = None

    def start(self) -> None:
        """Begin to answer, unless that has happened.

        Raises NeedsOperator for an address that is not this machine's or needs privileges. One
        that is in use is not an error here: it may be another certrotd's, and is waited for.
        """
        with self._lock:
            if self._server is not None:
                return
            server = DnsServer(self._listen, self._answer, self._clock)
            try:
                server.start()
            except OSError as error:
                server.close()
                raise self._cannot_listen(error) from error
            self._server = server

    def close(self) -> None:
        """Stop answering and free the addresses; the records stay until they are withdrawn."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:
        """Start, and prove with a record of its own that whoever has the addresses shares them.

        Leaves the server running: resolvers ask it while CNAMEs are followed. Raises as
        :meth:`present` does. A ``dry`` run writes no record: it is enough that whoever has the
        addresses answers for the zone.
        """
        zone = self._authority.zones[0]
        if dry:
            check_directory(self._directory)
            self.start()
            for address in self._waiting():
                self._confirm(address, zone, _unlike_ours, deadline.within(_CONFIRM_SECONDS))
            return
        record = TxtRecord(f"_certrotd-preflight.{zone}", secrets.token_urlsafe(32))
        try:
            self.present(record, deadline=deadline)
        finally:
            self.withdraw(record, deadline=deadline)

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """As Coverage.covers."""
        if longest_zone(name, self._authority.zones) is None:
            raise NeedsOperator(
                f"{name} is in none of the responder's zones ({', '.join(self._authority.zones)})",
                hint="delegate its zone to this responder and add it there, or use another solver",
            )

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Write the record, and see that this process or another one answers with it.

        Raises NeedsOperator if the name is in none of the zones, the directory cannot be written,
        or an address is held by something that does not answer from these files.
        """
        self.covers(record.name, deadline=deadline)
        self._files.add(record)
        self.start()
        wrong = partial(_without, record)
        for address in self._waiting():
            self._confirm(address, record.name, wrong, deadline.within(_CONFIRM_SECONDS))

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:  # noqa: ARG002
        """Delete the record's file; works without a running server, as a sweep does."""
        self._files.remove(record)

    def _answer(self, packet: bytes, udp: bool) -> bytes | None:
        try:
            values = self._files.read()
        except OSError:
            # Seen by whoever asks, the propagation check included, as SERVFAIL.
            return failed(packet)
        serial = int(self._clock.now().timestamp()) & 0xFFFFFFFF
        return respond(packet, self._authority, values, udp=udp, serial=serial)

    def _waiting(self) -> tuple[Address, ...]:
        server = self._server
        return () if server is None else server.waiting

    def _confirm(
        self, address: Address, name: str, wrong: Callable[[Message], str], deadline: Deadline
    ) -> None:
        """Ask whoever holds ``address`` for TXT at ``name``, until we hold it or nothing is wrong.

        ``wrong`` says what is wrong with an answer, "" if nothing.
        """
        said = ""
        while address in self._waiting():
            if deadline.passed:
                raise NeedsOperator(
                    f"DNS address {address} is in use by a program that does not answer from"
                    f" {self._directory}: {said or 'not asked: no time left'}",
                    hint="stop it, listen on another address, or run both certrotd as one user"
                    " with one state directory",
                )
            query = question(name, "TXT", recursion=False, edns=False)
            limit = deadline.within(_CONFIRM_ONE)
            answer = exchange(query, _asked_at(address), deadline=limit)
            if isinstance(answer, Silence):
                # a question that the end of time cut short says less than the answer before it
                if not (said and deadline.passed):
                    said = answer.why
            elif not (said := wrong(answer)):
                return
            deadline.pause(_CONFIRM_PAUSE)

    def _cannot_listen(self, error: OSError) -> Failure:
        where = ", ".join(str(address) for address in self._listen)
        hints = {
            errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE",
            errno.EPERM: "ports below 1024 need CAP_NET_BIND_SERVICE",
            errno.EADDRNOTAVAIL: "listen on an address of this machine",
            errno.EAFNOSUPPORT: "this machine has no IPv6: listen on an IPv4 address",
        }
        return NeedsOperator(
            f"the DNS responder cannot listen on {where}: {error.strerror}",
            hint=of_the_machine(error)
            or hints.get(error.errno or 0, "see the listen addresses of the responder"),
        )


def _without(record: TxtRecord, answer: Message) -> str:
    """What ``answer`` has instead of ``record``; "" if it has it."""
    shown = txt_values(answer, record.name)
    return "" if record.value in shown.values else shown.otherwise or "other values"


def _unlike_ours(answer: Message) -> str:
    """What ``answer`` is instead of one from the zone's own server."""
    if answer.rcode() != dns.rcode.NOERROR:
        return code(answer)
    return "" if answer.flags & dns.flags.AA else "not authoritative for it"


def _asked_at(address: Address) -> Address:
    """Where a client on this machine reaches what listens at ``address``."""
    if not is_wildcard(address):
        return address
    return Address("::1" if ":" in address.host else "127.0.0.1", address.port)


def build(entry: ResponderEntry, context: Context) -> Responder:
    """The solver of a configuration entry; it serves when first used."""
    return Responder(
        listen=entry.listen,
        zones=entry.zones,
        nameserver=entry.nameserver,
        hostmaster=entry.hostmaster or f"hostmaster.{entry.zones[0]}",
        directory=context.state_dir / "responder" / context.name,
        clock=context.clock,
        addresses=entry.addresses,
    )
