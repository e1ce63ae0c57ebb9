"""Solvers for providers against real servers: PowerDNS, moto's Route 53, BIND behind acme-dns."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import AcmeDnsEntry, PowerdnsEntry
from certrotd.daemon.stopping import Stopping
from certrotd.dns import acmedns, powerdns
from certrotd.dns.api import Reach
from certrotd.dns.lexicon import Lexicon
from certrotd.dns.powerdns import PowerDns
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.dns.route53 import Route53
from certrotd.errors import NeedsOperator, Transient
from certrotd.rotation.outcome import Stopped
from tests.builders import soon, state_folder
from tests.contract.test_solvers import ZONE, Rig, SolverClaims
from tests.fakes.acme_dns import AcmeDnsServer
from tests.fakes.provider_api import Asked, Reply, played
from tests.parts import Bind, Parts, Pebble, Resolver, locate
from tests.parts.bind import Zone
from tests.parts.key_services import Moto
from tests.parts.pdns import PowerDnsServer
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site, why_failed
from tests.unit.notify.made import secret

NAME = f"_acme-challenge.www.{ZONE}"
ONE, TWO = TxtRecord(NAME, "one-ONE_1"), TxtRecord(NAME, "two-TWO_2")


def in_zone(_name: str, _deadline: Deadline) -> str:
    """Every name is in the zone of the contract."""
    return ZONE


def nowhere(_name: str, _deadline: Deadline) -> str:
    """A zone that no provider of the tests has."""
    return "elsewhere.test"


@pytest.fixture(scope="module")
def pdns(module_parts: Parts) -> PowerDnsServer:
    """A PowerDNS with the zone of the contract."""
    locate.require("pdns_server")
    return module_parts.start(PowerDnsServer, zones=(ZONE,))


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test finds another's records on the shared PowerDNS."""
    yield
    if "pdns" in request.fixturenames:
        there = request.getfixturevalue("pdns")
        for name in (NAME, f"_acme-challenge.{ZONE}"):
            there.set_txt(name)


def pdns_solver(there: PowerDnsServer, directory: Path, **changes: Any) -> PowerDns:
    """A solver of that server."""
    key = secret(directory / "api-key", changes.pop("key", there.key))
    settings = {"zone_of": in_zone, **changes}
    return PowerDns(Reach("the PowerDNS server"), there.url, key=key, **settings)


class TestPowerDns(SolverClaims):
    """The HTTP API of a real PowerDNS, asked by DNS."""

    @pytest.fixture
    def rig(self, pdns: PowerDnsServer, tmp_path: Path) -> Rig:
        return Rig(pdns_solver(pdns, tmp_path), pdns.txt)


def test_powerdns_keeps_records_that_others_made(pdns: PowerDnsServer, tmp_path: Path) -> None:
    """Its API replaces all at once; a value that is disabled stays so, and ours does not."""
    pdns.set_txt(NAME, '"of somebody else"', '"in" "two parts"', disabled=(f'"{ONE.value}"',))
    solver = pdns_solver(pdns, tmp_path)
    assert ONE.value not in pdns.txt(NAME)
    solver.present(ONE, deadline=soon())
    assert pdns.txt(NAME) == {"of somebody else", "intwo parts", ONE.value}
    solver.withdraw(ONE, deadline=soon())
    assert pdns.txt(NAME) == {"of somebody else", "intwo parts"}


def test_orders_at_once_do_not_lose_each_other_s_values(
    pdns: PowerDnsServer, tmp_path: Path
) -> None:
    """Read, then replaced: without turns, one of two at a time is lost."""
    folder = state_folder(tmp_path / "state", "solvers/own", SystemClock().now)
    context = SolverContext(
        "own", tmp_path / "state", SystemClock(), zone_of=in_zone, folder=folder
    )
    entry = PowerdnsEntry(
        type="powerdns", url=pdns.url, api_key=secret(tmp_path / "api-key", pdns.key)
    )
    records = [TxtRecord(NAME, f"value-{n}") for n in range(6)]
    solvers = [powerdns.build(entry, context) for _ in records]
    threads = [
        threading.Thread(target=solver.present, args=(record,), kwargs={"deadline": soon()})
        for solver, record in zip(solvers, records, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert pdns.txt(NAME) == {record.value for record in records}


def test_powerdns_says_what_is_wrong(pdns: PowerDnsServer, tmp_path: Path) -> None:
    """Preflight finds a wrong key or server, covers() a zone that is not there."""
    wrong = pdns_solver(pdns, tmp_path, key="another-key")
    with pytest.raises(Unpublished, match="refuses the credentials"):
        wrong.preflight(deadline=soon())
    other = pdns_solver(pdns, tmp_path, server_id="other")
    with pytest.raises(NeedsOperator):
        other.preflight(deadline=soon())
    elsewhere = pdns_solver(pdns, tmp_path, zone_of=nowhere)
    with pytest.raises(Unpublished, match="has no zone elsewhere"):
        elsewhere.covers("x.elsewhere.test", deadline=soon())
    with pytest.raises(Unpublished, match="has no zone elsewhere"):
        elsewhere.present(TxtRecord("x.elsewhere.test", "v"), deadline=soon())
    pdns_solver(pdns, tmp_path).preflight(deadline=soon(), dry=True)


def lexicon_solver(there: PowerDnsServer, directory: Path, **changes: Any) -> Lexicon:
    """PowerDNS by way of Lexicon."""
    options: Any = {
        "pdns_server": changes.pop("url", there.url),
        "auth_token": secret(directory / "token", changes.pop("key", there.key)),
    }
    settings = {"zone_of": in_zone, **changes}
    return Lexicon("Lexicon", "powerdns", options, **settings)


class TestLexicon(SolverClaims):
    """The provider "powerdns" of dns-lexicon, in its process, against a real PowerDNS."""

    @pytest.fixture
    def rig(self, pdns: PowerDnsServer, tmp_path: Path) -> Rig:
        return Rig(lexicon_solver(pdns, tmp_path), pdns.txt)


def test_lexicon_s_failures_are_told_apart(pdns: PowerDnsServer, tmp_path: Path) -> None:
    """What its providers raise says whether somebody has to do something."""
    cases: list[tuple[Callable[[Asked], Reply], type[Exception]]] = [
        (lambda _: Reply(401, b"Unauthorized"), Unpublished),
        (lambda _: Reply(429, b"later", {"Retry-After": "7"}), Transient),
        (lambda _: Reply(500, b"<html>oops"), Transient),
        (lambda _: Reply(200, b"<html>log in"), Transient),
        (lambda _: Reply(422, {"error": "\x1b[2Jno"}), NeedsOperator),
    ]
    with played(cases[0][0]) as api:
        solver = lexicon_solver(pdns, tmp_path, url=api.url, key="a-secret-key")
        for answer, kind in cases:
            api.answer = answer
            with pytest.raises(kind) as caught:
                solver.present(ONE, deadline=soon())
            said = str(caught.value)
            assert "a-secret-key" not in said
            assert said.isprintable()
            if "429" in said:
                assert isinstance(caught.value, Transient)
                assert caught.value.retry_after is not None
    with pytest.raises(Unpublished):
        lexicon_solver(pdns, tmp_path, key="another-key").covers(NAME, deadline=soon())
    with pytest.raises(NeedsOperator):
        Lexicon("Lexicon", "nosuchprovider", {}, zone_of=in_zone).preflight(deadline=soon())
    lexicon_solver(pdns, tmp_path).preflight(deadline=soon(), dry=True)


def test_lexicon_has_its_secrets_from_the_configuration_alone(
    pdns: PowerDnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from ~/.netrc, nor by a proxy; and an answer without an end does not fill memory."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password of-the-netrc\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with played(lambda _: Reply(200, b"x" * 2**20, endless=True)) as api:
        solver = lexicon_solver(pdns, tmp_path, url=api.url)
        with pytest.raises(NeedsOperator, match="MemoryError"):
            solver.present(ONE, deadline=soon(300))
        assert "authorization" not in api.asked[0].headers
    proxied = lexicon_solver(pdns, tmp_path, proxy=True)  # the control
    with pytest.raises(Transient, match=r"[Pp]roxy"):
        proxied.present(ONE, deadline=soon())


def test_a_lexicon_that_hangs_is_killed(pdns: PowerDnsServer, tmp_path: Path) -> None:
    """Few of its providers have a timeout; the child must not outlive the deadline, nor the stop.

    Its secrets are not among its arguments, which everybody on the machine can read.
    """
    with played(lambda _: Reply(200, b" " * 10_000, drip=0.2)) as api:
        slow = lexicon_solver(pdns, tmp_path, url=api.url, key="a-secret-key", timeout=4.0)
        with pytest.raises(Transient, match="killed"):
            slow.present(ONE, deadline=soon())
        assert not _children()

        stopping, ended = Stopping(), list[BaseException]()
        patient = lexicon_solver(pdns, tmp_path, url=api.url, key="a-secret-key", timeout=300)
        asked = len(api.asked)

        def run() -> None:
            try:
                patient.present(ONE, deadline=Deadline(stopping.clock, 300))
            except Stopped as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: len(api.asked) > asked)
        [child] = _children()
        assert b"a-secret-key" not in Path(f"/proc/{child}/cmdline").read_bytes()
        stopping.stop()
        thread.join(60)
        assert ended
        assert not _children()


def _children() -> list[int]:
    """The processes of Lexicon that this one has started."""
    found = []
    for each in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in map(int, each.read_text().split()):
            if b"lexicon_child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.fixture(scope="module")
def moto(module_parts: Parts) -> Moto:
    """AWS as moto plays it."""
    return module_parts.start(Moto)


class Hosted:
    """Hosted zones of a moto; each test has a name of its own."""

    def __init__(self, moto: Moto) -> None:
        self.moto = moto

    def make(self, name: str, *, private: bool = False) -> str:
        """A zone; its id."""
        more: dict[str, Any] = {}
        if private:
            more = {
                "HostedZoneConfig": {"PrivateZone": True},
                "VPC": {"VPCRegion": "eu-central-1", "VPCId": "vpc-1"},
            }
        made = self.ask("create_hosted_zone", Name=name, CallerReference=f"{time.time()}", **more)
        return str(made["HostedZone"]["Id"]).rpartition("/")[2]

    def ask(self, operation: str, **given: Any) -> dict[str, Any]:
        """What Route 53 answers."""
        return self.moto.ask(operation, service="route53", **given)

    def txt(self, zone: str, name: str) -> set[str]:
        """The values at a name."""
        found = self.ask("list_resource_record_sets", HostedZoneId=zone)["ResourceRecordSets"]
        return {
            record["Value"].strip('"')
            for each in found
            if (each["Name"], each["Type"]) == (f"{name}.", "TXT")
            for record in each["ResourceRecords"]
        }

    def solver(self, directory: Path, url: str = "", **changes: Any) -> Route53:
        """A solver of it."""
        keys = secret(directory / "id", "testing"), secret(directory / "key", "testing"), None
        settings = {"zone_of": in_zone, "pause": 0.05, **changes}
        return Route53(
            Reach("Route 53"), credentials=keys, endpoint=url or self.moto.url, **settings
        )


def forwarded(url: str, asked: Asked) -> Reply:
    """What the server at a URL answers to the same request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        target = f"{asked.path}?{urlencode(asked.query)}" if asked.query else asked.path
        connection.request(asked.method, target, asked.body or None, dict(asked.headers))
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), {"Content-Type": "text/xml"})
    finally:
        connection.close()


@pytest.fixture
def hosted(moto: Moto) -> Hosted:
    return Hosted(moto)


class TestRoute53(SolverClaims):
    """Route 53 as moto plays it, in a zone of that test."""

    @pytest.fixture
    def rig(self, hosted: Hosted, tmp_path: Path) -> Rig:
        zone = hosted.make(ZONE)
        solver = hosted.solver(tmp_path, zone_id=zone)
        return Rig(solver, lambda name: hosted.txt(zone, name))


def test_route53_finds_the_public_zone_among_hundreds(hosted: Hosted, tmp_path: Path) -> None:
    """A page has a hundred; a private zone of that name answers only inside its network."""
    for n in range(101):
        hosted.make(f"zone{n:03}.many.test")
    private = hosted.make("zone100.many.test", private=True)
    public = hosted.ask("list_hosted_zones_by_name", DNSName="zone100.many.test.")["HostedZones"]
    [wanted] = [each["Id"] for each in public if not each["Config"]["PrivateZone"]]
    record = TxtRecord("_acme-challenge.zone100.many.test", "value")
    solver = hosted.solver(tmp_path, zone_of=lambda _n, _d: "zone100.many.test")
    solver.covers(record.name, deadline=soon())
    solver.present(record, deadline=soon())
    assert hosted.txt(wanted, record.name) == {"value"}
    assert hosted.txt(private, record.name) == set()
    solver.withdraw(record, deadline=soon())


def test_route53_refuses_a_name_outside_of_the_zone_of_zone_id(
    hosted: Hosted, tmp_path: Path
) -> None:
    """Before an order is spent; its first records have the zone's name."""
    zone = hosted.make("only.test")
    hosted.solver(tmp_path, zone_id=zone).present(
        TxtRecord("_acme-challenge.a.only.test", "value"), deadline=soon()
    )
    solver = hosted.solver(tmp_path, zone_id=zone)
    solver.covers("_acme-challenge.www.only.test", deadline=soon())
    for name in ("_acme-challenge.notonly.test", "_acme-challenge.test"):
        with pytest.raises(Unpublished, match=r"is not in the zone only\.test of Route 53"):
            solver.covers(name, deadline=soon())
        with pytest.raises(Unpublished, match=r"is not in the zone only\.test of Route 53"):
            solver.present(TxtRecord(name, "value"), deadline=soon())


def test_route53_asks_which_of_two_public_zones(hosted: Hosted, tmp_path: Path) -> None:
    """Only one of them is what the domain is delegated to, and both look alike."""
    ids = {hosted.make("twice.test"), hosted.make("twice.test")}
    solver = hosted.solver(tmp_path, zone_of=lambda _n, _d: "twice.test")
    with pytest.raises(Unpublished, match="2 public zones") as caught:
        solver.covers("_acme-challenge.twice.test", deadline=soon())
    assert all(each in caught.value.message for each in ids)
    assert "zone_id" in caught.value.hint
    with pytest.raises(Unpublished, match=r"no zone elsewhere\.test") as caught:
        hosted.solver(tmp_path, zone_of=nowhere).present(ONE, deadline=soon())
    assert "another account" in caught.value.hint


def test_route53_waits_until_all_of_its_servers_have_the_record(
    hosted: Hosted, tmp_path: Path
) -> None:
    """Eventual consistency: moto is in sync at once, so a relay makes it pending for a while."""
    zone = hosted.make("pending.test")
    record = TxtRecord("_acme-challenge.pending.test", "value")
    pending = 3

    def relayed(asked: Asked) -> Reply:
        nonlocal pending
        reply = forwarded(hosted.moto.url, asked)
        if "/change/" in asked.path and pending:
            pending -= 1
            return Reply(reply.status, reply.body.replace(b"INSYNC", b"PENDING"), reply.headers)
        return reply

    with played(relayed) as api:
        hosted.solver(tmp_path, api.url, zone_id=zone).present(record, deadline=soon())
        assert pending == 0
        assert sum("/change/" in each.path for each in api.asked) == 4
        pending = 10**6
        solver = hosted.solver(tmp_path, api.url, zone_id=zone)
        with pytest.raises(Transient):
            solver.present(TxtRecord(record.name, "other"), deadline=soon(2))
    assert hosted.txt(zone, record.name) == {"value", "other"}  # it may be there: it is withdrawn


@pytest.fixture
def acme_dns(parts: Parts) -> Iterator[tuple[AcmeDnsServer, Bind, str]]:
    """acme-dns in front of a zone of a real BIND, and the URL of its API."""
    locate.require("named")
    bind = parts.start(Bind, zones=[Zone("example.test"), Zone("auth.test")])

    def publish(name: str, values: tuple[str, ...]) -> None:
        bind.delete_txt(name)
        for value in values:
            bind.add_txt(name, value)

    there = AcmeDnsServer("auth.test", publish)
    with played(there.answer) as api:
        yield there, bind, api.url


def test_acmedns_registers_once_and_says_which_cname_to_make(
    acme_dns: tuple[AcmeDnsServer, Bind, str], tmp_path: Path
) -> None:
    """The account is kept in the state, for its owner alone; a dry run registers nothing."""
    there, bind, url = acme_dns
    folder = state_folder(tmp_path / "state", "solvers/own", SystemClock().now)
    context = SolverContext(
        "own", tmp_path / "state", SystemClock(), zone_of=in_zone, folder=folder
    )
    entry = AcmeDnsEntry(type="acmedns", url=url, allow_from=("127.0.0.0/8",))
    solver = acmedns.build(entry, context)
    challenge = "_acme-challenge.example.test"
    solver.preflight(deadline=soon(), dry=True)
    with pytest.raises(NeedsOperator, match="is not delegated") as caught:
        solver.covers(challenge, deadline=soon(), dry=True)
    assert not there.accounts
    for _ in range(2):
        with pytest.raises(NeedsOperator, match="is not delegated") as caught:
            solver.covers(challenge, deadline=soon())
    [account] = there.accounts.values()
    assert f"{challenge}. CNAME {account['fulldomain']}." in caught.value.hint
    assert account["allowfrom"] == ["127.0.0.0/8"]
    kept = list((tmp_path / "state/solvers/own").glob("account-*"))
    assert [each.stat().st_mode & 0o777 for each in kept] == [0o600]
    assert account["password"] not in repr(solver)

    record = TxtRecord(str(account["fulldomain"]), "v" * 43)
    again = acmedns.build(entry, context)  # another process, by what is kept
    again.covers(record.name, deadline=soon())
    again.present(record, deadline=soon())
    assert record.value in bind.txt(record.name)
    solver.withdraw(record, deadline=soon())
    assert record.value not in bind.txt(record.name)
    with pytest.raises(NeedsOperator, match="is not the subdomain of an account"):
        solver.covers("other.auth.test", deadline=soon())
    with pytest.raises(Unpublished):
        solver.present(TxtRecord(challenge, "v" * 43), deadline=soon())


def test_a_certificate_is_proven_through_powerdns(
    parts: Parts, site: Site, pdns: PowerDnsServer
) -> None:
    """End to end: wildcard and apex at one name, the zone found by its SOA, nothing left behind."""
    locate.require("pebble")
    site.acme(parts.start(Pebble, dns=pdns.server))
    site.config["solvers"]["pdns"] = {
        "type": "powerdns",
        "url": pdns.url,
        "api_key": {"file": str(secret(site.directory / "api-key", pdns.key).file)},
    }
    site.dns(pdns, port=pdns.port)
    site.certificate("web", ZONE, f"*.{ZONE}", f"deep.below.{ZONE}")
    site.rotate()
    assert site.leaf("web")
    for name in (f"_acme-challenge.{ZONE}", f"_acme-challenge.deep.below.{ZONE}"):
        assert pdns.txt(name) == set()


def test_a_certificate_is_proven_through_acme_dns(
    parts: Parts, site: Site, acme_dns: tuple[AcmeDnsServer, Bind, str]
) -> None:
    """End to end: the first run says which CNAME to make, the next one gets the certificate."""
    locate.require("pebble")
    there, bind, url = acme_dns
    # the CA and the second run have their own, which have not heard that there is no such name
    resolver, of_the_ca, later = (parts.start(Resolver, authoritative=[bind]) for _ in range(3))
    site.acme(parts.start(Pebble, dns=of_the_ca.server))
    site.config["solvers"]["acme-dns"] = {"type": "acmedns", "url": url}
    site.dns(resolver, port=bind.port)
    site.certificate("web", "example.test", "*.example.test")
    run = site.rotate(expect=1)
    said = why_failed(run, "web") + run.stderr
    [account] = there.accounts.values()
    assert f"_acme-challenge.example.test. CNAME {account['fulldomain']}." in said
    bind.add_cname("_acme-challenge.example.test", str(account["fulldomain"]))
    site.dns(later, port=bind.port)
    site.rotate()
    assert site.leaf("web")
    assert len(there.accounts) == 1
    assert there.txt(str(account["fulldomain"])) == set()
