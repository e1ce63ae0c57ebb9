"""What the DNS is asked is what the configuration says, for the solver whose record it is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dns.rcode import NXDOMAIN

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.config.hostfile import DnsEntry
from certrotd.config.solver import SolverPropagationEntry
from certrotd.config.solvers import ExecEntry
from certrotd.daemon.wiring import open_site
from certrotd.dns.client import DnsClient
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator, Transient
from tests.builders import soon
from tests.fakes.subjects import certificates_of
from tests.unit.dns.scripted import ScriptedDns, answer

NAME = "_acme-challenge.example.com"
RECORD = TxtRecord(NAME, "value")


class NoSolvers:
    """None of them is a server itself."""

    def all(self) -> tuple[object, ...]:
        return ()


def test_a_solver_has_its_own_servers_time_and_quorum() -> None:
    """A hidden primary for one zone, a slow provider for another."""
    shows = ScriptedDns(lambda query, udp: answer(query, f"{NAME} TXT value"))
    lacks = ScriptedDns(lambda query, udp: answer(query))
    mute = ScriptedDns(lambda query, udp: None)
    with shows, lacks, mute:
        entry = DnsEntry.model_validate(
            {"propagation": {"servers": [str(lacks.address)], "timeout": "1s"}}
        )
        own = {
            "plain": SolverPropagationEntry(),
            "own": SolverPropagationEntry(servers=(shows.address,)),
            "two": SolverPropagationEntry(servers=(shows.address, mute.address), quorum=1),
        }
        dns = DnsClient(entry, NoSolvers(), own)
        with pytest.raises(Transient, match="no TXT records"):
            dns.wait([RECORD], solver="plain", deadline=soon())
        assert dns.wait([RECORD], solver="own", deadline=soon()) == ""
        said = dns.wait([RECORD], solver="two", deadline=soon())
        assert f"{mute.address}: " in said
        assert dns.absent(RECORD, solver="plain", deadline=soon())
        assert not dns.absent(RECORD, solver="own", deadline=soon())


def test_a_skipped_wait_knows_no_record_to_be_absent() -> None:
    """A record is then never forgotten for what the DNS says."""
    dns = DnsClient(DnsEntry.model_validate({"propagation": {"skip": True}}), NoSolvers(), {})
    assert dns.wait([RECORD], solver="any", deadline=soon()) == ""
    assert not dns.absent(RECORD, solver="any", deadline=soon())


def test_a_cname_is_looked_up_once_for_preflight_and_order() -> None:
    """And again later: somebody may have changed it."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    with ScriptedDns(lambda query, udp: answer(query)) as server:
        dns = DnsClient(
            DnsEntry.model_validate({"resolvers": [str(server.address)]}), NoSolvers(), {}
        )
        for _ in range(2):
            assert dns.locate(NAME, deadline=Deadline(clock, 60)) == NAME
        assert len(server.questions) == 1
        clock.advance(timedelta(minutes=1))
        dns.locate(NAME, deadline=Deadline(clock, 60))
        assert len(server.questions) == 2


CONFIG = """
state_dir: {state}
issuers: {{ca: {{type: internal}}}}
solvers:
  own: {{type: exec, command: [/bin/true], zones: [example.com], follow_cname: false}}
  rest: {{type: exec, command: [/bin/true], propagation: {{timeout: 20m}}}}
certificates: [{{name: web, names: [example.com]}}]
"""


def test_a_solver_may_follow_no_cname(tmp_path: Path) -> None:
    """It publishes at the name itself; the others go where the CNAME leads."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(state=tmp_path / "state"))
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    with open_site(path, clock=clock, command="test") as site:
        world = certificates_of(site)[0].managed.world()
    assert world.follows(NAME, None) is False
    assert world.follows("_acme-challenge.example.net", None) is True
    assert world.follows(NAME, "rest") is True
    assert world.follows(NAME, "gone") is True
    assert world.wait_time == 20 * 60
    assert ExecEntry(type="exec", command=("/bin/true",)).follow_cname is True


UNKNOWN = """
state_dir: {state}
issuers: {{ca: {{type: acme, directory: "https://127.0.0.1:1/dir"}}}}
dns: {{resolvers: ["{resolver}"]}}
solvers:
  hook: {{type: exec, command: [/bin/true]}}
  alone: {{type: exec, command: [/bin/true], zones: [example.net], follow_cname: false}}
  told: {{type: exec, command: [/bin/true], propagation: {{servers: [192.0.2.1]}}}}
certificates: [{{name: web, names: [example.com], solver: hook}}]
"""


@pytest.mark.parametrize(
    ("solver", "complains"), [("hook", True), ("alone", True), ("told", False)]
)
def test_a_zone_that_the_resolvers_do_not_know_is_reported_before_an_order(
    tmp_path: Path, solver: str, complains: bool
) -> None:
    """The wait for the records would find it out when the order is spent; told who, it need not."""
    path = tmp_path / "config.yaml"
    nothing = ScriptedDns(lambda query, udp: answer(query, rcode=NXDOMAIN))
    with nothing as server:
        path.write_text(UNKNOWN.format(state=tmp_path / "state", resolver=server.address))
        with open_site(path, clock=SystemClock(), command="test", dry=True) as site:
            world = certificates_of(site)[0].managed.world()
            found = [str(each) for each in world.unready("ca", ["example.com"], solver, ask=True)]
    assert (f"no DNS zone holds {NAME}" in " ".join(found)) is complains


def test_a_zone_that_was_sought_ahead_is_not_asked_for_again() -> None:
    """Preflight costs the order no question more."""
    soa = "example.com SOA ns.example.com. mail.example.com. 1 2 3 4 5"
    with ScriptedDns(lambda query, udp: answer(query, authority=[soa])) as server:
        entry = DnsEntry.model_validate({"resolvers": [str(server.address)]})
        dns = DnsClient(entry, NoSolvers(), {"plain": SolverPropagationEntry()})
        for _ in range(2):
            dns.seek(NAME, solver="plain", deadline=soon())
        with pytest.raises(Transient, match=r"example\.com has no NS records"):
            dns.wait([RECORD], solver="plain", deadline=soon())
    assert [kind for _, kind, _ in server.questions] == ["SOA", "NS"]


def test_a_skipped_wait_looks_up_no_zone() -> None:
    """Whoever publishes where the resolvers cannot see says so."""
    dns = DnsClient(DnsEntry.model_validate({"propagation": {"skip": True}}), NoSolvers(), {})
    dns.seek(NAME, solver="any", deadline=soon())


def test_the_zone_of_a_name_is_what_its_soa_says() -> None:
    """Not what its labels look like: a zone may be cut anywhere, and the rest be one zone."""
    soa = "co.uk.example.com SOA ns.example.com. hostmaster.example.com. 1 1 1 1 1"
    with ScriptedDns(lambda query, udp: answer(query, authority=[soa])) as there:
        entry = DnsEntry.model_validate({"resolvers": [str(there.address)]})
        dns = DnsClient(entry, NoSolvers(), {})
        name = "_acme-challenge.deep.below.co.uk.example.com"
        assert dns.zone_of(name, soon()) == "co.uk.example.com"
        with pytest.raises(NeedsOperator, match="no DNS zone holds"):
            dns.zone_of("elsewhere.test", soon())
