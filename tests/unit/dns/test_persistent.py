"""Which TXT records authorize an account for good, and how what is wrong is said."""

from datetime import UTC, datetime

import pytest

from certrotd.config.hostfile import DnsEntry
from certrotd.dns.client import DnsClient
from certrotd.dns.persistent import confirm, judge, zone_line
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.order import Challenge, Persistent
from tests.builders import soon
from tests.unit.dns.scripted import ScriptedDns, answer
from tests.unit.dns.test_client import NoSolvers

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ACCOUNT = "https://ca.example/acct/1"
WANTED = Persistent(("ca.example", "ca.test"), ACCOUNT, wildcard=False)
WILD = Persistent(("ca.example",), ACCOUNT, wildcard=True)
NAME = "_validation-persist.example.com"
RIGHT = f"ca.example; accounturi={ACCOUNT}"
CHALLENGE = Challenge(NAME, RIGHT, persistent=WANTED)


@pytest.mark.parametrize(
    "value",
    [
        RIGHT,
        f"ca.test;accounturi={ACCOUNT}",
        f"CA.Example ; AccountURI = {ACCOUNT} ; policy=wildcard",
        f"{RIGHT}; policy=something; later=parameter",
        f"{RIGHT}; persistUntil=4070908800",
        f"{RIGHT}; persistUntil=253402214400",
        f"{RIGHT}; persistUntil=999999999999",
    ],
)
def test_a_record_that_authorizes_the_account_is_accepted(value: str) -> None:
    """Tags in any case and white space around them, as RFC 8659 has it."""
    assert judge({value, "v=spf1 -all"}, WANTED, now=NOW).problem == ""


@pytest.mark.parametrize("rest", ["", "; x", "; policy=wildcard", f"; accounturi={ACCOUNT}x"])
def test_a_record_of_a_ca_of_any_name_is_told_without_its_escapes(rest: str) -> None:
    """Where the CA's directory lists no names, whoever writes the zone chooses what is shown."""
    said = judge({f"\x1b[2J{rest}"}, Persistent((), ACCOUNT, wildcard=False), now=NOW).problem
    assert said
    assert said.isprintable()


@pytest.mark.parametrize("issuer", ["", "CA-DOMAIN", "x y", "ca.test.", "192.0.2.1", "*.ca.test"])
def test_a_record_that_names_no_ca_is_not_right_before_its_names_are_known_either(
    issuer: str,
) -> None:
    """What the printed line has in its place is none either: the later look would refuse it."""
    for names in ((), ("ca.test",)):
        wanted = Persistent(names, ACCOUNT, wildcard=False)
        value = f"{issuer}; accounturi={ACCOUNT}"
        assert judge({value}, wanted, now=NOW).problem.startswith("no record of this CA, but ")
        assert judge({f"CA.test; accounturi={ACCOUNT}"}, wanted, now=NOW).problem == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ca.example", "names no account"),
        (f"{RIGHT}0", f"names the account {ACCOUNT}0, ours is {ACCOUNT}"),
        (f"{RIGHT};", "malformed: '' is no parameter"),
        (f"{RIGHT}; accounturi={ACCOUNT}", "malformed: accounturi is there twice"),
        (f"{RIGHT}; policy=\x1b[2J", "something else than printable ASCII"),
        (f"{RIGHT}; persistUntil=soon", "malformed: persistUntil=soon"),
        (f"{RIGHT}; persistUntil=99999999999999", "malformed: persistUntil="),
        (f"{RIGHT}; persistUntil=1000000000", "ended at 2001-09-09"),
        (f"other.example; accounturi={ACCOUNT}", "no record of this CA, but 'other.example;"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(value: str, words: str) -> None:
    """The CA's own words come after a failed validation, and those are counted."""
    said = judge({value}, WANTED, now=NOW).problem
    assert words in said
    assert said.isprintable()


def test_a_wildcard_needs_its_policy() -> None:
    """A record for the name alone does not authorize everything below it."""
    assert "no policy=wildcard" in judge({RIGHT}, WILD, now=NOW).problem
    assert judge({f"{RIGHT}; policy=WildCard"}, WILD, now=NOW).problem == ""


def test_the_last_of_several_right_records_to_end_counts() -> None:
    """One without an end outlives all others."""
    ends = {f"{RIGHT}; persistUntil={seconds}" for seconds in (2_000_000_000, 3_000_000_000)}
    assert judge(ends, WANTED, now=NOW).until == datetime.fromtimestamp(3_000_000_000, UTC)
    assert judge({*ends, RIGHT}, WANTED, now=NOW).until is None


def test_a_record_that_only_some_servers_show_is_on_its_way() -> None:
    """Nobody has to do anything; where none shows it, somebody has to."""
    with pytest.raises(Transient, match="not right on every name server: ns2"):
        confirm(CHALLENGE, {"ns1": {RIGHT}, "ns2": ()}, now=NOW)
    with pytest.raises(NeedsOperator, match="no TXT record") as told:
        confirm(CHALLENGE, {"ns1": (), "ns2": ()}, now=NOW)
    assert told.value.hint == f'set this record once: {NAME}. IN TXT "{RIGHT}"'
    assert confirm(CHALLENGE, {"ns1": {RIGHT}}, now=NOW) is None


def test_a_long_record_is_cut_into_strings_that_a_zone_file_can_hold() -> None:
    """One character-string has at most 255 octets (RFC 1035 §3.3.14)."""
    line = zone_line("n", "a" * 300 + '"')
    assert line == f'n. IN TXT "{"a" * 255}" "{"a" * 45}\\""'


def test_servers_that_do_not_answer_are_no_empty_answer() -> None:
    """A record may be there; and a server that refuses must not look like one without it."""
    mute = ScriptedDns(lambda query, udp: None)
    shows = ScriptedDns(lambda query, udp: answer(query, f'{NAME} TXT "a" "b"'))
    with mute, shows:

        def client(*servers: ScriptedDns, skip: bool = False) -> DnsClient:
            asked = {"servers": [str(each.address) for each in servers], "timeout": "1s"}
            settings = {"propagation": {**asked, "skip": skip}, "resolvers": [str(shows.address)]}
            return DnsClient(DnsEntry.model_validate(settings), NoSolvers(), {})

        assert client(shows).texts(NAME, deadline=soon()) == {str(shows.address): {"ab"}}
        with pytest.raises(Transient, match="do not say what is at"):
            client(mute).texts(NAME, deadline=soon())
        assert client(mute, skip=True).texts(NAME, deadline=soon()) == {}
