"""What recursive resolvers say decides where a record goes, so none of it is trusted."""

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.rcode
import pytest
from dns.message import Message

from certrotd.address import Address
from certrotd.clock import Deadline, ManualClock
from certrotd.dns.resolve import Nameserver, Resolver, system_resolvers
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from tests.builders import soon
from tests.unit.dns.scripted import Reply, Script, ScriptedDns, answer, asked

START = "_acme-challenge.example.com"
SOA = "SOA ns1.example.com. hostmaster.example.com. 1 2 3 4 5"


def _resolver(*servers: ScriptedDns, timeout: float = 30.0) -> Resolver:
    return Resolver(
        tuple(server.address for server in servers), timeout=timeout, authoritative_port=5353
    )


def _aliases(chain: dict[str, str], *, whole: bool = False) -> Script:
    """A resolver that knows these CNAMEs, and gives them one by one or the whole chain."""

    def script(query: Message, udp: bool) -> Reply:
        name, _ = asked(query)
        lines: list[str] = []
        while name in chain and len(lines) < (50 if whole else 1):
            lines.append(f"{name} CNAME {chain[name]}.")
            name = chain[name]
        missing = dns.rcode.NXDOMAIN if name not in chain else dns.rcode.NOERROR
        return answer(query, *lines, rcode=missing if whole or not lines else dns.rcode.NOERROR)

    return script


def _chain(length: int) -> dict[str, str]:
    names = [START, *(f"hop{n}.example.net" for n in range(length))]
    return dict(itertools.pairwise(names))


def test_a_name_without_alias_is_itself() -> None:
    """NXDOMAIN is the normal case: the challenge does not exist yet."""
    with ScriptedDns(_aliases({})) as server:
        assert _resolver(server).follow(START, deadline=soon()) == START
        assert server.questions == [(START, "CNAME", True)]


def test_an_existing_name_without_alias_is_itself() -> None:
    """A leftover TXT record makes the name exist; that is no alias either."""
    with ScriptedDns(lambda query, udp: answer(query, f"{START} TXT old")) as server:
        assert _resolver(server).follow(START, deadline=soon()) == START


@pytest.mark.parametrize("whole", [True, False])
def test_a_delegated_challenge_is_followed(whole: bool) -> None:
    """certbot #6566: without this, delegation by CNAME does not work at all."""
    chain = {START: "a.challenges.test", "a.challenges.test": "b.acme.example.net"}
    with ScriptedDns(_aliases(chain, whole=whole)) as server:
        assert _resolver(server).follow(START, deadline=soon()) == "b.acme.example.net"
        # and one for a sibling, to know that no wildcard makes the first alias
        assert len(server.questions) == (2 if whole else 4)


@pytest.mark.parametrize("whole", [True, False])
def test_eight_hops_are_followed_and_nine_refused(whole: bool) -> None:
    """A bound that is never reached by honest zones and always by endless ones."""
    with ScriptedDns(_aliases(_chain(8), whole=whole)) as server:
        assert _resolver(server).follow(START, deadline=soon()) == "hop7.example.net"
    with (
        ScriptedDns(_aliases(_chain(9), whole=whole)) as server,
        pytest.raises(InvalidInput, match="longer than 8 hops"),
    ):
        _resolver(server).follow(START, deadline=soon())


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("loop", [1, 2, 5])
def test_a_loop_is_refused(loop: int, whole: bool) -> None:
    """A loop must end as an error that names it, not as a spinning daemon."""
    names = [START, *(f"hop{n}.example.net" for n in range(loop - 1)), START]
    chain = dict(itertools.pairwise(names))
    with (
        ScriptedDns(_aliases(chain, whole=whole)) as server,
        pytest.raises(InvalidInput, match=f"loops at {START}"),
    ):
        _resolver(server).follow(START, deadline=soon())


def test_a_huge_answer_is_refused_early() -> None:
    """Kilobytes of fresh aliases cost eight look-ups in a list."""

    def script(query: Message, udp: bool) -> Reply:
        names = [START, *(f"hop{n}.example.net" for n in range(300))]
        lines = [f"{a} CNAME {b}." for a, b in itertools.pairwise(names)]
        return answer(query, *lines)

    with (
        ScriptedDns(script) as server,
        pytest.raises(InvalidInput, match="longer than 8 hops"),
    ):
        _resolver(server).follow(START, deadline=soon())


@pytest.mark.parametrize(
    "target",
    ["a\\032b.example.", "\\046\\046\\047etc.example.", "$\\(id\\).example.", ".", "\\000.x."],
)
def test_an_alias_to_no_name_is_refused(target: str) -> None:
    """The target is used in updates, environments and file contents."""
    with (
        ScriptedDns(lambda query, udp: answer(query, f"{START} CNAME {target}")) as server,
        pytest.raises(InvalidInput),
    ):
        _resolver(server).follow(START, deadline=soon())


def test_an_alias_of_another_name_does_not_count() -> None:
    """An answer may only redirect the name that was asked."""
    with ScriptedDns(
        lambda query, udp: answer(query, "other.example.com CNAME evil.example.net.")
    ) as server:
        assert _resolver(server).follow(START, deadline=soon()) == START


def test_a_failing_resolver_is_passed_over() -> None:
    """One of several resolvers being ill is nobody's business."""
    with (
        ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.SERVFAIL)) as ill,
        ScriptedDns(_aliases({START: "a.challenges.test"})) as well,
    ):
        assert _resolver(ill, well).follow(START, deadline=soon()) == "a.challenges.test"


def test_when_all_fail_each_is_named_with_what_it_said() -> None:
    """The operator must see which resolver to look at, and what for."""
    with (
        ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.SERVFAIL)) as ill,
        ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.REFUSED)) as shut,
    ):
        with pytest.raises(Transient) as caught:
            _resolver(ill, shut).follow(START, deadline=soon())
        assert len(ill.questions) == len(shut.questions) == 2
    said = str(caught.value)
    assert f"CNAME {START}" in said
    assert f"{ill.address}: SERVFAIL" in said
    assert f"{shut.address}: REFUSED" in said


def test_resolvers_that_say_nothing_are_each_named_and_left_in_time() -> None:
    """A host name typed wrong in resolv.conf looks like that."""
    with (
        ScriptedDns(lambda query, udp: None) as one,
        ScriptedDns(lambda query, udp: None) as other,
    ):
        deadline = Deadline(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), 9.0)
        with pytest.raises(Transient) as caught:
            _resolver(one, other, timeout=0.1).follow(START, deadline=deadline)
    assert len(one.questions) == len(other.questions) == 2
    for mute in (one, other):
        assert f"{mute.address}: no answer within 0.1 s" in str(caught.value)


def test_no_time_left_is_reported() -> None:
    """An empty list of failures would be a riddle."""
    with (
        ScriptedDns(_aliases({})) as server,
        pytest.raises(Transient, match="no time left"),
    ):
        _resolver(server).follow(START, deadline=soon(0))


def test_the_zone_is_in_the_answer() -> None:
    """A challenge name delegated by NS is a zone of its own."""
    with ScriptedDns(lambda query, udp: answer(query, f"{START} {SOA}")) as server:
        assert _resolver(server).zone_of(START, deadline=soon()) == START


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_the_zone_is_in_the_authority_section(rcode: dns.rcode.Rcode) -> None:
    """RFC 2308 §3: a negative answer carries the SOA of the zone that says no."""
    with ScriptedDns(
        lambda query, udp: answer(query, authority=[f"Example.com {SOA}"], rcode=rcode)
    ) as server:
        assert _resolver(server).zone_of(START, deadline=soon()) == "example.com"
        assert len(server.questions) == 1


def test_the_zone_of_a_name_that_was_followed_is_known_once() -> None:
    """The answer that a challenge does not exist yet says who would know; later it is asked."""
    with ScriptedDns(
        lambda query, udp: answer(query, authority=[f"example.com {SOA}"], rcode=dns.rcode.NXDOMAIN)
    ) as server:
        resolver, deadline = _resolver(server), soon()
        resolver.follow(START, deadline=deadline)
        for questions in (1, 2):
            assert resolver.zone_of(START, deadline=deadline) == "example.com"
            assert len(server.questions) == questions


def test_a_zone_is_looked_up_again_after_a_minute() -> None:
    """A zone may be cut in between."""
    with ScriptedDns(
        lambda query, udp: answer(query, authority=[f"example.com {SOA}"], rcode=dns.rcode.NXDOMAIN)
    ) as server:
        resolver, clock = _resolver(server), ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        for seconds, questions in ((59.0, 1), (60.0, 3)):
            resolver.follow(START, deadline=Deadline(clock, 30.0))
            clock.advance(timedelta(seconds=seconds))
            resolver.zone_of(START, deadline=Deadline(clock, 30.0))
            assert len(server.questions) == questions


def test_the_zone_cache_is_bounded() -> None:
    """Whoever follows names and never asks for their zone must not fill the memory."""
    with ScriptedDns(
        lambda query, udp: answer(query, authority=[f"example.com {SOA}"], rcode=dns.rcode.NXDOMAIN)
    ) as server:
        resolver, deadline = _resolver(server), soon()
        resolver._zones = {f"n{number}.example.com": (1e9, "") for number in range(1024)}
        resolver.follow(START, deadline=deadline)
        assert list(resolver._zones) == [START]


def test_without_authority_the_walk_goes_up() -> None:
    """Some resolvers strip the authority section."""

    def script(query: Message, udp: bool) -> Reply:
        name, _ = asked(query)
        return answer(query, *([f"{name} {SOA}"] if name == "example.com" else []))

    with ScriptedDns(script) as server:
        zone = _resolver(server).zone_of("_acme-challenge.a.b.example.com", deadline=soon())
        assert zone == "example.com"
        assert len(server.questions) == 4


@pytest.mark.parametrize("owner", ["evil.example.net", "x." + START, "le.com", "."])
def test_the_zone_of_something_else_does_not_count(owner: str) -> None:
    """An unrelated SOA would send the questions to servers of an attacker's choice."""
    line = f"{owner.rstrip('.')} {SOA}"
    with (
        ScriptedDns(lambda query, udp: answer(query, line, authority=[line])) as server,
        pytest.raises(NeedsOperator, match=f"no DNS zone holds {START}"),
    ):
        _resolver(server).zone_of(START, deadline=soon())


def _zone(nameservers: dict[str, list[str]]) -> Script:
    def script(query: Message, udp: bool) -> Reply:
        name, rdtype = asked(query)
        if rdtype == "NS":
            return answer(query, *(f"{name} NS {server}." for server in nameservers))
        hosts = [host for host in nameservers[name] if (":" in host) == (rdtype == "AAAA")]
        return answer(query, *(f"{name} {rdtype} {host}" for host in hosts))

    return script


def test_every_server_is_found_with_every_address() -> None:
    """The CA may ask any address of any of them."""
    zone = {"ns1.example.net": ["192.0.2.1", "192.0.2.2", "2001:db8::1"], "ns2.x": ["192.0.2.3"]}
    with ScriptedDns(_zone(zone)) as server:
        assert _resolver(server).authoritative("example.com", deadline=soon()) == (
            Nameserver(
                "ns1.example.net",
                (
                    Address("192.0.2.1", 5353),
                    Address("192.0.2.2", 5353),
                    Address("2001:db8::1", 5353),
                ),
            ),
            Nameserver("ns2.x", (Address("192.0.2.3", 5353),)),
        )


@pytest.mark.parametrize(("count", "accepted"), [(64, True), (65, False)])
def test_the_number_of_servers_is_bounded(count: int, accepted: bool) -> None:
    """A hostile zone must not make us ask half the internet."""
    zone = {f"ns{n}.x": ["192.0.2.1"] for n in range(count)}
    with ScriptedDns(_zone(zone)) as server:
        if accepted:
            found = _resolver(server).authoritative("example.com", deadline=soon())
            assert len(found) == count
        else:
            with pytest.raises(InvalidInput, match="more than 64 NS records"):
                _resolver(server).authoritative("example.com", deadline=soon())


@pytest.mark.parametrize(
    ("v4", "v6", "accepted"), [(16, 0, True), (8, 8, True), (17, 0, False), (9, 8, False)]
)
def test_the_number_of_addresses_is_bounded(v4: int, v6: int, accepted: bool) -> None:
    """Both families count together."""
    hosts = [f"192.0.2.{n}" for n in range(v4)] + [f"2001:db8::{n}" for n in range(v6)]
    with ScriptedDns(_zone({"ns1.x": hosts})) as server:
        if accepted:
            (found,) = _resolver(server).authoritative("example.com", deadline=soon())
            assert len(found.addresses) == 16
        else:
            with pytest.raises(InvalidInput, match="more than 16"):
                _resolver(server).authoritative("example.com", deadline=soon())


@pytest.mark.parametrize(
    ("zone", "said"),
    [({}, "example.com has no NS records"), ({"ns1.x": []}, "ns1.x of example.com has no address")],
)
def test_a_zone_that_nobody_serves_is_reported(zone: dict[str, list[str]], said: str) -> None:
    """No servers to ask must never count as all servers agree."""
    with (
        ScriptedDns(_zone(zone)) as server,
        pytest.raises(Transient, match=said),
    ):
        _resolver(server).authoritative("example.com", deadline=soon())


def test_system_resolvers_are_read(tmp_path: Path) -> None:
    """Comments, options and garbage are skipped, as libc does."""
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n"
        "nameserver\t2001:db8::1\nnameserver nonsense\nnameserver\noptions edns0\n"
    )
    assert system_resolvers(file) == (Address("192.0.2.1", 53), Address("2001:db8::1", 53))


@pytest.mark.parametrize("text", [None, "", "search example.com\n"])
def test_without_resolvers_this_machine_is_asked(text: str | None, tmp_path: Path) -> None:
    """resolv.conf(5): the default is the name server on the local machine."""
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    assert system_resolvers(file) == (Address("127.0.0.1", 53),)


def test_at_most_eight_resolvers_are_used(tmp_path: Path) -> None:
    """Each is tried twice; a runaway file must not cost minutes."""
    file = tmp_path / "resolv.conf"
    file.write_text("".join(f"nameserver 192.0.2.{n}\n" for n in range(20)))
    assert len(system_resolvers(file)) == 8


def test_an_unreadable_resolv_conf_is_reported(tmp_path: Path) -> None:
    """A directory in its place cannot be read by root either."""
    with pytest.raises(NeedsOperator, match="cannot read"):
        system_resolvers(tmp_path)


def test_the_system_resolvers_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """resolv.conf is read at each look-up, since it changes under a daemon."""
    with ScriptedDns(_aliases({})) as server:
        monkeypatch.setattr(
            "certrotd.dns.resolve.system_resolvers", lambda: (dataclasses.replace(server.address),)
        )
        assert Resolver().follow(START, deadline=soon()) == START
