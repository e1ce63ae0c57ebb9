"""What every solver that asks a provider by HTTP does on a bad day of that provider's."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import Clock, Deadline, ManualClock, SystemClock
from certrotd.config.context import Context
from certrotd.daemon.stopping import Stopping
from certrotd.dns.acmedns import AcmeDns
from certrotd.dns.api import MAX_SHOWN, Reach
from certrotd.dns.cloudflare import Cloudflare
from certrotd.dns.powerdns import PowerDns
from certrotd.dns.records import Solver, TxtRecord, Unpublished
from certrotd.dns.route53 import Route53
from certrotd.dns.turns import Turn, in_turn, turns, unlimited
from certrotd.dns.webhook import Webhook
from certrotd.errors import Failure, LockHeld, NeedsOperator, Transient
from certrotd.rotation.outcome import Stopped
from tests.builders import soon, state_folder
from tests.fakes.provider_api import PlayedApi, Reply, played
from tests.parts.process import free_port, wait_until
from tests.unit.notify.made import secret

SECRET = "s3cret-of-the-provider"
HOSTILE = "\x1b[2J\x1b]0;owned\x07$(reboot) `id` ../../etc/passwd\r\nSet-Cookie: x"
PAGE = b"<html><script>alert(1)</script><h1>Please log in</h1></html>"
RECORD = TxtRecord("12345678.example.test", "v" * 43)
ACCOUNT = {
    "username": "someone",
    "password": SECRET,
    "subdomain": "12345678",
    "fulldomain": RECORD.name,
}
ZONES = """<?xml version="1.0"?><ListHostedZonesByNameResponse
 xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HostedZones>{}</HostedZones>
<IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListHostedZonesByNameResponse>"""
Make = Callable[[str, Path, Reach], Solver]


def zone_of(_name: str, _deadline: Deadline) -> str:
    """That of the record."""
    return "example.test"


def powerdns(url: str, directory: Path, reach: Reach, turn: Turn = unlimited) -> Solver:
    key = secret(directory / "key", SECRET)
    return PowerDns(reach, url, key=key, zone_of=zone_of, turn=turn)


def webhook(url: str, directory: Path, reach: Reach) -> Solver:
    login = secret(directory / "user", "someone"), secret(directory / "password", SECRET)
    return Webhook(reach, url, login=login)


def acmedns(url: str, directory: Path, reach: Reach) -> Solver:
    given = secret(directory / "accounts", json.dumps({"example.test": ACCOUNT}))
    folder = state_folder(directory / "state", "solvers/own", SystemClock().now)
    return AcmeDns(reach, url, folder=folder, given=given)


def cloudflare(url: str, directory: Path, reach: Reach) -> Solver:
    return Cloudflare(reach, url, token=secret(directory / "token", SECRET), zone_of=zone_of)


def route53(url: str, directory: Path, reach: Reach, turn: Turn = unlimited) -> Solver:
    keys = secret(directory / "id", "AKIAEXAMPLE"), secret(directory / "key", SECRET), None
    return Route53(reach, zone_of=zone_of, credentials=keys, endpoint=url, turn=turn)


EVERY = pytest.mark.parametrize("make", [powerdns, webhook, acmedns, cloudflare, route53])


@pytest.fixture
def there() -> Iterator[PlayedApi]:
    """A provider; the test says what it answers."""
    with played(lambda _: Reply()) as api:
        yield api


def failure(make: Make, api: PlayedApi, directory: Path, timeout: float = 30.0) -> Failure:
    """What presenting a record ends with."""
    solver = make(api.url, directory, Reach("the provider", timeout=timeout))
    with pytest.raises(Failure) as caught:
        solver.present(RECORD, deadline=soon())
    said = str(caught.value)
    assert SECRET not in said
    assert said.isprintable()
    assert len(said) < 1500
    return caught.value


@pytest.mark.parametrize("make", [powerdns, route53])
def test_the_time_others_take_before_its_turn_is_not_its_own(
    make: Callable[[str, Path, Reach, Turn], Solver], there: PlayedApi, tmp_path: Path
) -> None:
    """The last of many certificates has as much time to be published as the first."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))

    @contextmanager
    def turn(_clock: Clock) -> Iterator[None]:
        clock.advance(timedelta(seconds=100))
        yield

    there.instead = lambda asked: Reply(500, b"asked for its records")
    if make is route53:
        zones = "<HostedZone><Id>/hostedzone/Z1</Id><Name>example.test.</Name></HostedZone>"
        there.instead = lambda asked: (
            Reply(200, ZONES.format(zones).encode(), {"Content-Type": "text/xml"})
            if asked.path.endswith("hostedzonesbyname")
            else Reply(500, b"asked for its records")
        )
    deadline = Deadline(clock, 10.0)
    with pytest.raises(Transient, match="answered 500"):
        make(there.url, tmp_path, Reach("it"), turn).present(RECORD, deadline=deadline)
    assert 0 < deadline.remaining <= 10


def test_the_wait_for_one_s_turn_is_bounded(tmp_path: Path) -> None:
    """By half an hour, whatever time the act has: another process may hang."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    turn = turns(Context("own", tmp_path, clock), "the solver")
    deadline = Deadline(clock, 10.0)
    with (
        turn(clock),
        pytest.raises(LockHeld, match="the solver is in use"),
        in_turn(turn, deadline),
    ):
        raise AssertionError
    assert 1800 <= clock.monotonic() < 1801


def test_nobody_waits_for_a_turn_once_told_to_stop(tmp_path: Path) -> None:
    """A thread that was woken before, and is withdrawing records, waited for half an hour."""
    stopping = Stopping()
    turn = turns(Context("own", tmp_path, stopping.clock), "the solver")
    stopping.stop()
    with pytest.raises(Stopped):
        stopping.clock.sleep(1.0)
    with turn(stopping.clock):  # what is free is had
        for _ in range(2):
            with pytest.raises(Stopped), in_turn(turn, Deadline(stopping.clock, 10.0)):
                raise AssertionError


@EVERY
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_for_the_operator(
    make: Make, status: int, there: PlayedApi, tmp_path: Path
) -> None:
    """And nothing was published for certain, so that nothing is swept afterwards."""
    there.instead = lambda _: Reply(status, {"error": f"no {SECRET}"})
    why = failure(make, there, tmp_path)
    assert isinstance(why, Unpublished)
    assert "refuses the credentials" in why.message
    assert why.hint
    assert len(there.asked) == 1


@EVERY
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", timedelta(seconds=7)),
        ("soon", None),
        ("9" * 9, timedelta(days=1)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=1)),
    ],
    ids=["seconds", "words", "years", "date"],
)
def test_a_limit_is_waited_for_as_long_as_the_provider_asks(
    make: Make, header: str, wait: timedelta | None, there: PlayedApi, tmp_path: Path
) -> None:
    """It asks for seconds or names a date, of which a day is the most that counts."""
    there.instead = lambda _: Reply(429, {"error": "slow down"}, {"Retry-After": header})
    why = failure(make, there, tmp_path)
    assert isinstance(why, Transient)
    assert why.retry_after == wait


@EVERY
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_provider_that_is_down_is_tried_again(
    make: Make, status: int, there: PlayedApi, tmp_path: Path
) -> None:
    """Its page for people is not printed."""
    there.instead = lambda _: Reply(status, PAGE, {"Content-Type": "text/html; charset=utf-8"})
    why = failure(make, there, tmp_path)
    assert isinstance(why, Transient)
    assert "script" not in str(why)


@EVERY
@pytest.mark.parametrize(
    "body",
    [PAGE, b'{"a":', b"[" * 100_000, b'{"result": 5}', b"null"],
    ids=["page", "cut", "deep", "other", "null"],
)
def test_an_answer_that_is_none_may_pass(
    make: Make, body: bytes, there: PlayedApi, tmp_path: Path
) -> None:
    """A proxy or a login page answers with 200 in the provider's place.

    A webhook's answer says nothing but its status: there the look at the name servers tells.
    """
    there.instead = lambda _: Reply(200, body, {"Content-Type": "text/html"})
    if make is webhook:
        make(there.url, tmp_path, Reach("the webhook")).present(RECORD, deadline=soon())
        return
    why = failure(make, there, tmp_path)
    assert isinstance(why, Transient)
    assert "cannot be read" in why.message


@EVERY
def test_a_hostile_answer_is_printed_on_one_line_without_its_escapes(
    make: Make, there: PlayedApi, tmp_path: Path
) -> None:
    """What a provider says ends up in terminals and logs."""
    there.instead = lambda _: Reply(
        418, {"error": HOSTILE, "message": HOSTILE, "errors": [{"code": 1, "message": HOSTILE}]}
    )
    why = failure(make, there, tmp_path)
    assert "\x1b" not in str(why)


@EVERY
def test_a_secret_at_the_end_of_what_is_shown_is_not_cut_in_two(
    make: Make, there: PlayedApi, tmp_path: Path
) -> None:
    """What is shown of a text has an end, and half a token is still one to guess from."""
    half = len(SECRET) // 2
    echoed = ("x" * (MAX_SHOWN - half) + SECRET).encode()
    there.instead = lambda _: Reply(400, echoed, {"Content-Type": "text/plain"})
    assert SECRET[:half] not in str(failure(make, there, tmp_path))


@EVERY
def test_a_redirect_is_not_followed(make: Make, there: PlayedApi, tmp_path: Path) -> None:
    """The credentials are meant for one host, and not for a cloud's metadata service."""
    with played(lambda _: Reply(200, {})) as other:
        there.instead = lambda _: Reply(307, None, {"Location": f"{other.url}/latest/meta-data"})
        assert isinstance(failure(make, there, tmp_path), NeedsOperator)
        assert other.asked == []


@EVERY
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_answer_without_an_end_is_cut_off(
    make: Make, status: int, there: PlayedApi, tmp_path: Path
) -> None:
    """A gigabyte is neither read nor kept."""
    there.instead = lambda _: Reply(status, b"x" * 65536, endless=True)
    assert "more than" in failure(make, there, tmp_path).message


@EVERY
def test_an_answer_that_drips_ends_at_the_deadline(
    make: Make, there: PlayedApi, tmp_path: Path
) -> None:
    """An octet now and then must not hold a rotation."""
    there.instead = lambda _: Reply(200, b" " * 10_000, drip=0.05)
    began = time.monotonic()
    assert isinstance(failure(make, there, tmp_path, timeout=0.5), Transient)
    assert time.monotonic() - began < 60


@EVERY
def test_a_stop_ends_a_request_that_hangs(
    make: Make, there: PlayedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM is not answered by minutes of waiting for somebody else's API."""
    monkeypatch.setattr("certrotd.rotation.stopping.GRACE", 0.2)
    there.instead = lambda _: Reply(200, b" " * 100_000, drip=0.05)
    stopping, ended = Stopping(), list[BaseException]()
    solver = make(there.url, tmp_path, Reach("the provider", timeout=300))

    def run() -> None:
        try:
            solver.present(RECORD, deadline=Deadline(stopping.clock, 300))
        except Failure as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: bool(there.asked))
    stopping.stop()
    thread.join(60)
    assert [type(each) for each in ended] == [Stopped]
    with pytest.raises(Stopped):  # and nothing new is begun
        solver.withdraw(RECORD, deadline=Deadline(stopping.clock, 300))


@EVERY
def test_no_proxy_and_no_netrc_count(
    make: Make, there: PlayedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials go to one host only, and are those of the configuration."""
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.lower(), proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password of-the-netrc\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    there.instead = lambda _: Reply(401)
    failure(make, there, tmp_path)
    [asked] = there.asked
    sent = f"{asked.headers} {asked.body!r}"
    assert "thief" not in sent
    assert "Basic dGhpZWY" not in sent
    assert asked.headers["user-agent"].startswith("certrotd/")


@EVERY
def test_a_certificate_that_is_not_trusted_is_refused(make: Make, tmp_path: Path) -> None:
    """Verification is never off: what is not trusted is told nothing."""
    from tests.parts import pki
    from tests.parts.receiver import receiving

    root = pki.make_root("somebody's own")
    leaf = pki.make_leaf(pki.make_intermediate(root), "127.0.0.1")
    (tmp_path / "key.pem").write_bytes(leaf.key_pem)
    (tmp_path / "chain.pem").write_bytes(leaf.fullchain_pem)
    with receiving((tmp_path / "chain.pem", tmp_path / "key.pem")) as receiver:
        solver = make(f"https://127.0.0.1:{receiver.port}", tmp_path, Reach("the provider"))
        with pytest.raises(NeedsOperator, match="is not trusted"):
            solver.present(RECORD, deadline=soon())
        assert receiver.got == []


@EVERY
def test_a_secret_that_cannot_be_read_is_told_without_it(make: Make, tmp_path: Path) -> None:
    """And before anybody is asked."""
    with played(lambda _: Reply()) as api:
        solver = make(api.url, tmp_path, Reach("the provider"))
        for name in ("key", "token", "password", "accounts"):
            if (tmp_path / name).exists():
                (tmp_path / name).write_text("two words\n")
        if make is webhook:
            (tmp_path / "password").unlink()
        with pytest.raises(NeedsOperator) as caught:
            solver.present(RECORD, deadline=soon())
        assert "two words" not in str(caught.value)
        assert api.asked == []


@EVERY
def test_a_proxy_counts_where_the_configuration_asks_for_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the above: then nothing goes past it."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = f"https://192.0.2.1:{free_port()}"
    solver = make(url, tmp_path, Reach("the provider", proxy=True, timeout=20))
    with pytest.raises(Failure, match="through the proxy"):
        solver.present(RECORD, deadline=soon())
