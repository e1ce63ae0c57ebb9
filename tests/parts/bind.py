"""BIND: authoritative servers that take RFC 2136 updates, and a recursive one in front of them."""

import base64
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.tsigkeyring
import dns.update

from tests.parts import locate
from tests.parts.process import Server, free_port, wait_until
from tests.parts.relay import Relay

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class TsigKey:
    """A shared secret as BIND and RFC 2136 clients name it; the secret is base64."""

    name: str = "certrotd-test"
    algorithm: str = "hmac-sha256"
    secret: str = field(
        default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode(), repr=False
    )

    @property
    def keyring(self) -> Mapping[dns.name.Name, dns.tsig.Key]:
        """The key as dnspython takes it."""
        name = dns.name.from_text(self.name)
        return {name: dns.tsig.Key(name, self.secret, self.algorithm)}


@dataclass(frozen=True)
class Zone:
    """A zone and who may change it.

    challenges_for: hosts whose `_acme-challenge` TXT alone may be changed; none: everything may.
    nameservers: address per label of an NS name. records: further lines of the zone file.
    """

    name: str
    challenges_for: Sequence[str] = ()
    nameservers: Mapping[str, str] = field(default_factory=lambda: {"ns1": "127.0.0.1"})
    records: Sequence[str] = ()
    negative_ttl: int = 1

    def file(self) -> str:
        """The initial zone file."""
        first = next(iter(self.nameservers))
        lines = [
            f"$ORIGIN {self.name}.",
            "$TTL 60",
            f"@ SOA {first} hostmaster 1 3600 600 86400 {self.negative_ttl}",
            *(f"@ NS {label}" for label in self.nameservers),
            *(f"{label} A {address}" for label, address in self.nameservers.items()),
            *self.records,
        ]
        return "\n".join(lines) + "\n"

    def policy(self, key: TsigKey) -> str:
        """The zone's update-policy."""
        if not self.challenges_for:
            return f'grant "{key.name}" zonesub ANY;'
        return " ".join(
            f'grant "{key.name}" name _acme-challenge.{host}. TXT;' for host in self.challenges_for
        )


# What most tests need: an open zone, one that grants challenges alone, and one to delegate to.
ZONES = (
    Zone("example.test", records=["_acme-challenge.alias CNAME alias.challenges.test."]),
    Zone("restricted.test", challenges_for=("restricted.test", "www.restricted.test")),
    Zone("challenges.test"),
)


class _Named(Server):
    """A named of its own, whatever its configuration says; `server` is where to ask it."""

    def __init__(self, directory: Path, address: str, port: int | None) -> None:
        super().__init__(directory)
        self.address = address
        self.port = port or free_port("both", address)
        self.server = f"{address}:{self.port}"
        # Where named itself listens: always 127.0.0.1, with a relay in front for other addresses.
        self.own_port = self.port if address == _LOOPBACK else free_port("both")
        self._relay: Relay | None = None
        self._config = directory / "named.conf"
        self._binary = _unconfined(locate.require("named"), directory)

    def _options(self, *more: str) -> str:
        lines = [
            f'directory "{self.directory}";',
            f'pid-file "{self.directory}/named.pid";',
            f'session-keyfile "{self.directory}/session.key";',
            "lock-file none;",
            f"listen-on port {self.own_port} {{ {_LOOPBACK}; }};",
            "listen-on-v6 { none; };",
            "dnssec-validation no;",
            "notify no;",
            *more,
        ]
        return "\n".join(["options {", *(f"  {line}" for line in lines), "};", "controls { };"])

    def command(self) -> Sequence[str | Path]:
        return [self._binary, "-g", "-4", "-n", "1", "-c", self._config]

    def start(self) -> Self:
        if self.address != _LOOPBACK:
            self._relay = Relay((self.address, self.port), (_LOOPBACK, self.own_port)).start()
        return super().start()

    def stop(self) -> None:
        self._stop_relay()
        super().stop()

    def kill(self) -> None:
        self._stop_relay()
        super().kill()

    def _stop_relay(self) -> None:
        relay, self._relay = self._relay, None
        if relay:
            relay.stop()

    def query(self, name: str, rdtype: str) -> dns.message.Message:
        """What it answers by TCP to one query, with recursion desired."""
        query = dns.message.make_query(name, rdtype)
        return dns.query.tcp(query, _LOOPBACK, port=self.own_port, timeout=20)

    def is_ready(self) -> bool:
        try:
            return self._is_serving()
        except (dns.exception.Timeout, EOFError):
            return False

    def _is_serving(self) -> bool:
        return self.query("version.bind", "TXT").rcode() is not None


class Bind(_Named):
    """An authoritative server on 127.0.0.1 or, for a second one, on 127.0.0.2 and the same port.

    With `primary` it is that server's secondary, and it lags: it has what the primary had when
    it was started, until `catch_up`. Without, two instances are independent primaries.
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        zones: Sequence[Zone] = ZONES,
        key: TsigKey | None = None,
        primary: "Bind | None" = None,
    ) -> None:
        super().__init__(directory, address, port)
        self.zones: tuple[Zone, ...] = primary.zones if primary else tuple(zones)
        self.key: TsigKey = key or (primary.key if primary else TsigKey())
        self._primary = primary
        declared = [
            self._options("recursion no;", f'allow-transfer {{ key "{self.key.name}"; }};'),
            f'key "{self.key.name}" {{ algorithm {self.key.algorithm}; '
            f'secret "{self.key.secret}"; }};',
            *(self._zone(zone) for zone in self.zones),
        ]
        self._config.touch(mode=0o600)
        self._config.write_text("\n".join(declared) + "\n")

    def _zone(self, zone: Zone) -> str:
        file = self.directory / f"{zone.name}.zone"
        if self._primary:
            source = f'{_LOOPBACK} port {self._primary.own_port} key "{self.key.name}"'
            kind = f"type secondary; primaries {{ {source}; }};"
        else:
            file.write_text(zone.file())
            kind = f"type primary; update-policy {{ {zone.policy(self.key)} }};"
        return f'zone "{zone.name}" {{ file "{file}"; {kind} }};'

    def _is_serving(self) -> bool:
        return all(self._serial(zone.name) for zone in self.zones)

    def txt(self, name: str) -> set[str]:
        """The TXT values the server has under exactly that name."""
        answer = self.query(name, "TXT")
        owner = dns.name.from_text(name)
        return {
            b"".join(record.strings).decode()
            for rrset in answer.answer
            if rrset.name == owner
            for record in rrset
            if isinstance(record, dns.rdtypes.ANY.TXT.TXT)
        }

    def add_txt(self, name: str, value: str, *, key: TsigKey | None = None) -> dns.rcode.Rcode:
        """Adds a TXT value by a signed update and returns the answer's code.

        Raises dns.tsig.PeerError where the server does not take the key.
        """
        update = self._update(name, key)
        update.add(dns.name.from_text(name), 60, "TXT", f'"{value}"')
        return self.send(update)

    def add_cname(self, name: str, target: str) -> None:
        """Makes a name an alias by a signed update."""
        update = self._update(name, None)
        update.add(dns.name.from_text(name), 60, "CNAME", f"{target}.")
        assert self.send(update) == dns.rcode.NOERROR

    def delete_txt(self, name: str, *, key: TsigKey | None = None) -> dns.rcode.Rcode:
        """Deletes every TXT value of a name by a signed update and returns the answer's code."""
        update = self._update(name, key)
        update.delete(dns.name.from_text(name), "TXT")
        return self.send(update)

    def send(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Sends an update and returns the answer's code."""
        return dns.query.tcp(update, _LOOPBACK, port=self.own_port, timeout=20).rcode()

    def _update(self, name: str, key: TsigKey | None) -> dns.update.UpdateMessage:
        zone = max(
            (zone.name for zone in self.zones if f".{name}".endswith(f".{zone.name}")), key=len
        )
        return dns.update.UpdateMessage(zone, keyring=dict((key or self.key).keyring))

    def catch_up(self) -> None:
        """Makes a lagging secondary take over what its primary has now."""
        if self._primary is None:
            raise ValueError("only a secondary can catch up")
        for zone in self.zones:
            notify = dns.message.make_query(zone.name, "SOA")
            notify.set_opcode(dns.opcode.NOTIFY)
            notify.flags = (notify.flags | dns.flags.AA) & ~dns.flags.RD
            # BIND heeds a NOTIFY from the address it transfers from.
            dns.query.udp(notify, _LOOPBACK, port=self.own_port, timeout=20, source=_LOOPBACK)
        wait_until(
            lambda: all(
                self._serial(zone.name) == self._primary_serial(zone.name) for zone in self.zones
            ),
            what="the secondary has the primary's serials",
        )

    def _primary_serial(self, zone: str) -> int:
        assert self._primary is not None
        return self._primary._serial(zone)

    def _serial(self, zone: str) -> int:
        """The zone's serial, 0 where the server has not loaded it."""
        for rrset in self.query(zone, "SOA").answer:
            for record in rrset:
                if isinstance(record, dns.rdtypes.ANY.SOA.SOA):
                    return record.serial
        return 0


class Resolver(_Named):
    """A recursive, caching server that knows the test zones' servers and nobody else's."""

    def __init__(
        self,
        directory: Path,
        *,
        authoritative: Sequence[Bind],
        address: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        super().__init__(directory, address, port)
        forwarders: dict[str, str] = {}
        for one in authoritative:
            for zone in one.zones:
                before = forwarders.get(zone.name, "")
                forwarders[zone.name] = f"{before}{_LOOPBACK} port {one.own_port}; "
        hints = directory / "hints"
        # A root server that is not there: questions about other zones fail at once and stay here.
        hints.write_text(". 3600 NS nowhere.invalid.\nnowhere.invalid. 3600 A 127.255.255.254\n")
        declared = [
            self._options("recursion yes;", "empty-zones-enable no;"),
            f'zone "." {{ type hint; file "{hints}"; }};',
            *(
                f'zone "{name}" {{ type forward; forward only; forwarders {{ {servers}}}; }};'
                for name, servers in forwarders.items()
            ),
        ]
        self._config.write_text("\n".join(declared) + "\n")


def _unconfined(binary: Path, directory: Path) -> Path:
    """The binary, or a copy of it where AppArmor would keep it to the system's directories."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if enabled.exists() and enabled.read_text().strip() == "Y":
        return Path(shutil.copy(binary, directory / "named"))
    return binary
