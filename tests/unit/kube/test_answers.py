"""What an API server's refusals mean; those that a real one gives at will are tested against it."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from certrotd.clock import ManualClock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.client import Lost
from certrotd.https.http1 import Answer
from certrotd.kube.access import Access
from certrotd.kube.api import Api, Denied, Invalid, Missing, Unsure, _read, was_sent
from certrotd.kube.api import refused as failure_of
from certrotd.state.ports import Conflict, TooLarge

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def refused(status: int, message: str = "no", **headers: str) -> Failure:
    content = json.dumps({"kind": "Status", "message": message}).encode()
    answer = Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, content, False)
    return failure_of("PUT", "/api/v1/x", answer, _read(answer), now=NOW)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Transient),
        (403, Denied),
        (404, Missing),
        (409, Conflict),
        (413, TooLarge),
        (422, Invalid),
        (429, Transient),
        (500, Unsure),
        (503, Unsure),
        (504, Unsure),
        (507, Unsure),
        (301, NeedsOperator),
        (307, NeedsOperator),
    ],
)
def test_each_refusal_says_who_can_do_something_about_it(status: int, kind: type[Failure]) -> None:
    """Whether to wait, to read again, or to ask a person."""
    found = refused(status, "the words of the server")
    assert type(found) is kind
    assert "the words of the server" in str(found)


def test_only_what_roles_refuse_is_put_down_to_a_role() -> None:
    """Quotas and webhooks answer with the same status."""
    role = refused(403, 'secrets is forbidden: User "a" cannot list resource "secrets"')
    assert "its Role lacks that" in role.hint
    assert not refused(403, 'secrets "a" is forbidden: exceeded quota: q').hint


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("999999", 300),
        ("Mon, 01 Jun 2026 00:00:40 GMT", 40),
        ("soon", None),
        ("-1", 0),
        ("", None),
    ],
)
def test_a_busy_server_says_how_long_to_wait(told: str, seconds: float | None) -> None:
    """Within reason: a proxy in front of it may name a date."""
    found = refused(429, retry_after=told)
    assert isinstance(found, Transient)
    assert found.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_hostile_words_are_one_printable_line() -> None:
    """They may come from whoever made the object."""
    found = refused(403, "a\nb\x1b[2Jc" + "x" * 5000)
    assert str(found).isprintable()
    assert len(found.message) <= 2000


@pytest.mark.parametrize(
    ("failure", "perhaps"),
    [
        (refused(500, "etcdserver: request timed out"), True),
        (refused(504), True),
        (Lost("no answer", sent=True), True),
        (Lost("no way", sent=False), False),
        (refused(429), False),
        (refused(401), False),
        (refused(409), False),
    ],
)
def test_what_may_have_been_done_nevertheless_is_known(failure: Failure, perhaps: bool) -> None:
    """Its own write, met a second time, is not taken for another's then."""
    assert was_sent(failure) is perhaps


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_no_answer(content: bytes) -> None:
    """A proxy's page, with the status of success; of a refusal the status says enough."""
    with pytest.raises(Unsure, match="is no object"):
        _read(Answer(200, {}, content, False))
    assert _read(Answer(502, {}, content, False)) == {}


def test_the_servers_clock_is_told_in_whole_seconds_and_known_better() -> None:
    """Rounded down: the furthest ahead of several is nearest to it. One put back is believed."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    api = Api(Access("https://x", ssl.create_default_context(), "n"), clock, agent="test")
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)

    def heard(at: datetime) -> datetime:
        told = format_datetime(at.replace(microsecond=0), usegmt=True)
        api._set_clock(Answer(200, {"date": told}, b"{}", False))
        return api.now()

    assert heard(noon + timedelta(seconds=0.9)) == noon
    clock.advance(timedelta(seconds=0.2))
    assert heard(noon + timedelta(seconds=1.1)) == noon + timedelta(seconds=1)
    clock.advance(timedelta(seconds=0.7))
    assert heard(noon + timedelta(seconds=1.8)) == noon + timedelta(seconds=1.7)
    assert heard(noon - timedelta(hours=1)) == noon - timedelta(hours=1)
    assert heard(noon) == noon
    for odd in ("", "yesterday", "Mon, 01 Jun 2026 12:00:00 -0000"):
        api._set_clock(Answer(200, {"date": odd}, b"{}", False))
        assert api.now() == noon
