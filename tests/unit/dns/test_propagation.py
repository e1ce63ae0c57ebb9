"""The CA asks any authoritative server it likes: all of them must show the record first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.rcode
import pytest
from dns.message import Message
from hypothesis import given
from hypothesis import strategies as st

from certrotd.address import Address
from certrotd.clock import Deadline, ManualClock
from certrotd.dns.propagation import Ask, Propagation, Reply, Seat, absent, judge, unheard
from certrotd.dns.records import TxtRecord
from certrotd.dns.resolve import Nameserver, Resolver
from certrotd.dns.txt import TxtValues
from certrotd.dns.wire import Silence
from certrotd.errors import Transient
from tests.builders import soon
from tests.fakes.clock import Pauses
from tests.unit.dns.scripted import ScriptedDns, answer, asked

NAME = "_acme-challenge.example.com"
RECORD = TxtRecord(NAME, "wanted")
ONE = Seat("ns1", Address("192.0.2.1", 53))
ONE_V6 = Seat("ns1", Address("2001:db8::1", 53))
TWO = Seat("ns2", Address("192.0.2.2", 53))
NO_ROUTE = Silence("no route", routable=False)
WANTED = frozenset({"wanted"})


def _judge(replies: dict[Seat, Reply], *seats: Seat) -> dict[str, str]:
    wanted = {(seat, NAME): WANTED for seat in seats}
    lacking = judge(wanted, {(seat, NAME): reply for seat, reply in replies.items()})
    return {str(lack.ask[0]): lack.instead for lack in lacking}


def test_propagation_is_done_when_all_servers_show_all_values() -> None:
    """Values of other orders beside ours do not matter."""
    shown = {ONE: TxtValues(frozenset({"wanted", "old"})), TWO: TxtValues(WANTED)}
    assert _judge({**shown}, ONE, TWO) == {}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (TxtValues(frozenset(), "NXDOMAIN"), "NXDOMAIN"),
        (TxtValues(frozenset(), "SERVFAIL"), "SERVFAIL"),
        (Silence("no answer within 2 s"), "no answer within 2 s"),
        (TxtValues(frozenset({"old"})), "1 other value"),
        (TxtValues(frozenset({"old", "older"})), "2 other values"),
        (None, "not asked yet"),
    ],
)
def test_a_server_that_lags_or_fails_delays_the_validation(reply: Reply | None, said: str) -> None:
    """A challenge that fails at one server in four fails one renewal in four."""
    replies: dict[Seat, Reply] = {ONE: TxtValues(WANTED)}
    if reply is not None:
        replies[TWO] = reply
    assert _judge(replies, ONE, TWO) == {"ns2 (192.0.2.2:53)": said}


def test_all_values_of_a_name_are_needed() -> None:
    """Wildcard and apex share the name, and each authorization checks its own value."""
    wanted: dict[Ask, frozenset[str]] = {(ONE, NAME): frozenset({"apex", "wildcard"})}
    lacking = judge(wanted, {(ONE, NAME): TxtValues(frozenset({"apex"}))})
    assert [lack.instead for lack in lacking] == ["1 of 2 values"]
    assert judge(wanted, {(ONE, NAME): TxtValues(frozenset({"apex", "wildcard"}))}) == []


def test_an_address_without_a_route_is_left_out() -> None:
    """A host without IPv6 could otherwise never rotate anything."""
    assert _judge({ONE: TxtValues(WANTED), ONE_V6: NO_ROUTE}, ONE, ONE_V6) == {}


def test_an_address_that_has_a_route_and_is_silent_is_not_left_out() -> None:
    """The control: the CA may well reach that address, and ask it."""
    said = _judge({ONE: TxtValues(WANTED), ONE_V6: Silence("no answer")}, ONE, ONE_V6)
    assert said == {"ns1 ([2001:db8::1]:53)": "no answer"}


def test_a_server_without_any_route_is_not_left_out() -> None:
    """Nobody asked is not everybody agreed."""
    assert set(_judge({ONE: TxtValues(WANTED), TWO: NO_ROUTE}, ONE, TWO)) == {"ns2 (192.0.2.2:53)"}
    assert set(_judge({ONE: NO_ROUTE, ONE_V6: NO_ROUTE}, ONE, ONE_V6)) == {
        "ns1 (192.0.2.1:53)",
        "ns1 ([2001:db8::1]:53)",
    }


_REPLY = st.one_of(
    st.builds(TxtValues, st.frozensets(st.sampled_from(["wanted", "old"])), st.just("NXDOMAIN")),
    st.just(Silence("no answer")),
    st.just(NO_ROUTE),
)


@given(st.dictionaries(st.sampled_from([ONE, ONE_V6, TWO]), _REPLY))
def test_done_means_that_every_server_shows_it(replies: dict[Seat, Reply]) -> None:
    """The invariant, whatever mixture of answers: each nameserver showed all, and none said no."""
    seats = (ONE, ONE_V6, TWO)
    if not _judge(replies, *seats):
        for server in ("ns1", "ns2"):
            own = [replies[seat] for seat in seats if seat.nameserver == server]
            asked = [reply for reply in own if reply != NO_ROUTE]
            assert asked
            assert all(isinstance(reply, TxtValues) and reply.values >= WANTED for reply in asked)


def _seats(count: int) -> list[Seat]:
    return [Seat(f"ns{n}", Address(f"192.0.2.{n}", 53)) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("servers", "showing", "quorum", "enough"),
    [
        (1, 1, None, True),
        (1, 0, None, False),
        (2, 2, None, True),
        (2, 1, None, False),
        (3, 2, None, True),
        (3, 1, None, False),
        (4, 3, None, True),
        (4, 2, None, False),
        (4, 2, 2, True),
        (4, 1, 2, False),
        (2, 1, 1, True),
        (2, 0, 1, False),
        (2, 2, 5, True),
        (2, 1, 5, False),
    ],
)
def test_a_quorum_of_servers_is_enough_if_the_rest_is_silent(
    servers: int, showing: int, quorum: int | None, enough: bool
) -> None:
    """By default all but one, at least two or all there are."""
    seats = _seats(servers)
    wanted = {(seat, NAME): WANTED for seat in seats}
    shown: dict[Ask, Reply] = {(seat, NAME): TxtValues(WANTED) for seat in seats[:showing]}
    found = unheard(wanted, shown, quorum)
    assert (found is not None) == enough
    if enough:
        assert [lack.ask[0] for lack in found or ()] == seats[showing:]
    for seat in seats[showing:]:  # one that answers something else is never passed over
        wrong: dict[Ask, Reply] = {**shown, (seat, NAME): TxtValues(frozenset(), "NXDOMAIN")}
        assert unheard(wanted, wrong, quorum) is None


def test_every_name_needs_its_own_quorum() -> None:
    """Two zones in one certificate: the servers of one do not vouch for the other."""
    one, two, three = _seats(3)
    wanted = {(one, NAME): WANTED, (two, "other"): WANTED, (three, "other"): WANTED}
    assert unheard(wanted, {(one, NAME): TxtValues(WANTED)}, 1) is None
    both: dict[Ask, Reply] = {(one, NAME): TxtValues(WANTED), (two, "other"): TxtValues(WANTED)}
    assert unheard(wanted, both, 1) is not None


@pytest.mark.parametrize(
    ("first", "second", "gone"),
    [
        (TxtValues(frozenset(), "NXDOMAIN"), TxtValues(frozenset(), "no TXT records"), True),
        (TxtValues(frozenset({"old"})), TxtValues(frozenset(), "NXDOMAIN"), True),
        (TxtValues(WANTED), TxtValues(frozenset(), "NXDOMAIN"), False),
        (TxtValues(frozenset(), "SERVFAIL"), TxtValues(frozenset(), "NXDOMAIN"), False),
        (TxtValues(frozenset(), "NXDOMAIN"), Silence("no answer"), False),
        (
            TxtValues(frozenset(), "NXDOMAIN"),
            TxtValues(frozenset(), "not authoritative for it"),
            False,
        ),
    ],
)
def test_a_record_is_absent_only_if_every_server_says_so(
    first: Reply, second: Reply, gone: bool
) -> None:
    """Else it is still to be withdrawn."""
    wanted = {(ONE, NAME): WANTED, (TWO, NAME): WANTED}
    assert absent(wanted, {(ONE, NAME): first, (TWO, NAME): second}) is gone
    assert absent(wanted, {}) is False


class _Known(Resolver):
    """A resolver that knows one zone's servers, and counts what it is asked."""

    def __init__(self, *servers: ScriptedDns, timeout: float = 30.0) -> None:
        super().__init__((), timeout=timeout)
        self._known = tuple(Nameserver(f"ns{n}", (s.address,)) for n, s in enumerate(servers, 1))
        self.looked_up: list[str] = []

    def zone_of(self, name: str, *, deadline: Deadline, ahead: bool = False) -> str:
        self.looked_up.append(f"SOA {name}")
        return "example.com"

    def authoritative(self, zone: str, *, deadline: Deadline) -> tuple[Nameserver, ...]:
        self.looked_up.append(f"NS {zone}")
        return self._known


def _shows(*values: str) -> Callable[[Message, bool], Message]:
    def script(query: Message, udp: bool) -> Message:
        return answer(query, *(f"{asked(query)[0]} TXT {value}" for value in values))

    return script


@contextmanager
def _late(after: int) -> Iterator[ScriptedDns]:
    """A server that has the record from the given question on."""
    count = 0

    def script(query: Message, udp: bool) -> Message:
        nonlocal count
        count += 1
        if count > after:
            return _shows("wanted")(query, udp)
        return answer(query, rcode=dns.rcode.NXDOMAIN)

    with ScriptedDns(script) as server:
        yield server


def test_a_visible_record_costs_one_packet_and_no_pause() -> None:
    """Two hundred certificates in four seconds leave no room for more."""
    with ScriptedDns(_shows("wanted", "other")) as server:
        resolver = _Known()
        propagation = Propagation(resolver, servers=(server.address,))
        propagation.wait([RECORD, TxtRecord(NAME, "other")], deadline=soon())
        assert server.questions == [(NAME, "TXT", True)]
        assert resolver.looked_up == []


def test_the_servers_of_a_zone_are_looked_up_once_a_minute() -> None:
    """Certificates renewed together are mostly in one zone; a minute later it may have changed."""
    clock = ManualClock(soon().clock.now())
    with ScriptedDns(_shows("wanted")) as server:
        resolver = _Known(server)
        propagation = Propagation(resolver)
        names = [f"_acme-challenge.{host}.example.com" for host in "ab"]
        records = [TxtRecord(name, "wanted") for name in names]
        propagation.wait(records, deadline=Deadline(clock, 30))
        looked_up = [f"SOA {names[0]}", "NS example.com", f"SOA {names[1]}"]
        assert resolver.looked_up == looked_up
        clock.sleep(59)
        propagation.wait(records[:1], deadline=Deadline(clock, 30))
        assert resolver.looked_up == [*looked_up, f"SOA {names[0]}"]
        clock.sleep(1)
        propagation.wait(records[:1], deadline=Deadline(clock, 30))
        assert resolver.looked_up == [*looked_up, f"SOA {names[0]}", *looked_up[:2]]


def test_after_a_wait_in_vain_the_servers_are_looked_up_anew() -> None:
    """The zone may have moved away from the server that is asked."""
    with _late(1_000) as old:
        resolver = _Known(old)
        propagation = Propagation(resolver)
        for _ in range(2):
            with pytest.raises(Transient):
                propagation.wait([RECORD], deadline=Deadline(Pauses(2), 60))
        assert resolver.looked_up == [f"SOA {NAME}", "NS example.com"] * 2


def test_a_lagging_server_is_waited_for_and_the_other_left_alone() -> None:
    """Whoever has shown everything is not asked again."""
    with ScriptedDns(_shows("wanted")) as quick, _late(2) as slow:
        Propagation(_Known(quick, slow)).wait([RECORD], deadline=soon())
        assert len(quick.questions) == 1
        assert len(slow.questions) == 3


def test_the_pause_grows_up_to_the_interval() -> None:
    """Quick at first, since most are quick; then gentle with the provider."""
    pauses: list[float] = []

    class Watched(Deadline):
        def within(self, seconds: float) -> Deadline:
            return Watched(self.clock, min(seconds, self.remaining))

        def pause(self, seconds: float) -> None:
            pauses.append(seconds)

    with _late(9) as server:
        propagation = Propagation(_Known(server), interval=0.5)
        propagation.wait([RECORD], deadline=Watched(soon().clock, 60))
    assert pauses[0] == 0.1
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.5
    assert len(pauses) == 9


def test_a_record_that_never_appears_names_every_server_and_its_answer() -> None:
    """The message is what an operator has at three in the morning."""
    with (
        ScriptedDns(_shows("wanted")) as well,
        ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.NXDOMAIN)) as without,
        ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.SERVFAIL)) as ill,
        ScriptedDns(lambda query, udp: None) as mute,
        ScriptedDns(_shows("old", "older")) as stale,
        ScriptedDns(lambda query, udp: answer(query, f"{NAME} CNAME x.example.")) as alias,
        ScriptedDns(lambda query, udp: answer(query)) as empty,
    ):
        servers = (well, without, ill, mute, stale, alias, empty)
        propagation = Propagation(_Known(*servers), timeout=0.7)
        with pytest.raises(Transient) as caught:
            propagation.wait([RECORD], deadline=Deadline(Pauses(1), 60))
    said = str(caught.value)
    assert f"TXT records of {NAME} are not on every authoritative server after 0.7 s" in said
    assert "ns1 " not in said
    assert f"ns2 ({without.address}): NXDOMAIN" in said
    assert f"ns3 ({ill.address}): SERVFAIL" in said
    assert f"ns4 ({mute.address}): no answer within" in said
    assert f"ns5 ({stale.address}): 2 other values" in said
    assert f"ns6 ({alias.address}): a CNAME instead of TXT records" in said
    assert f"ns7 ({empty.address}): no TXT records" in said
    assert caught.value.hint


def test_a_server_that_does_not_serve_the_zone_is_reported() -> None:
    """A lame delegation answers, only not for us."""

    def lame(query: Message, udp: bool) -> Message:
        reply = answer(query)
        reply.flags &= ~0x0400
        return reply

    with ScriptedDns(lame) as server, pytest.raises(Transient, match="not authoritative for it"):
        Propagation(_Known(), servers=(server.address,)).wait(
            [RECORD], deadline=Deadline(Pauses(1), 60)
        )


def test_many_servers_are_reported_in_few_words() -> None:
    """Sixty-four nameservers must not fill the page that says so."""
    with ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.NXDOMAIN)) as server:
        propagation = Propagation(_Known(*[server] * 12))
        records = [TxtRecord(f"{host}.example.com", "wanted") for host in "ab"]
        with pytest.raises(Transient) as caught:
            propagation.wait(records, deadline=Deadline(Pauses(1), 60))
    assert "a.example.com and 1 more names" in caught.value.message
    assert caught.value.message.endswith("and 16 more")


def test_the_last_moment_does_not_replace_an_answer_by_a_timeout() -> None:
    """With no time left any server looks dead; what it said before is what helps."""

    clock = ManualClock(soon().clock.now())

    def script(query: Message, udp: bool) -> Message | bytes:
        if len(server.questions) == 1:
            return answer(query, rcode=dns.rcode.NXDOMAIN)
        clock.sleep(60)
        return b"nothing to do with it"

    with ScriptedDns(script) as server:
        propagation = Propagation(_Known(), servers=(server.address,))
        with pytest.raises(Transient, match="NXDOMAIN"):
            propagation.wait([RECORD], deadline=Deadline(clock, 60))
        assert len(server.questions) == 2


def test_a_dead_server_costs_one_timeout_for_all_names() -> None:
    """A hundred names at a dead server would otherwise be a hundred timeouts."""
    with ScriptedDns(lambda query, udp: None) as mute:
        propagation = Propagation(_Known(timeout=0.2), servers=(mute.address,), timeout=0.25)
        records = [TxtRecord(f"h{n}.example.com", "wanted") for n in range(100)]
        with pytest.raises(Transient):
            propagation.wait(records, deadline=soon())
        assert len(mute.questions) <= 2


def test_the_caller_s_deadline_bounds_the_wait() -> None:
    """The step has a deadline of its own, which the configured timeout does not stretch."""
    with ScriptedDns(lambda query, udp: answer(query)) as server:
        deadline = Deadline(ManualClock(soon().clock.now()), 0.2)
        with pytest.raises(Transient, match=r"after 0\.2 s"):
            Propagation(_Known(), servers=(server.address,)).wait([RECORD], deadline=deadline)
        assert deadline.passed


def test_an_order_without_records_waits_for_nothing() -> None:
    """An order whose authorizations are all valid already has no records."""
    Propagation(_Known(), servers=()).wait([], deadline=soon())


def test_values_are_compared_whole() -> None:
    """A value split into two character-strings is one value: CAs join them."""
    with ScriptedDns(lambda query, udp: answer(query, f'{NAME} TXT "wan" "ted"')) as server:
        Propagation(_Known(), servers=(server.address,)).wait([RECORD], deadline=soon())
