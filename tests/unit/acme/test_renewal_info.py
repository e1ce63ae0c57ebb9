"""What a CA says of renewal, which certificate an order replaces, and of which profile it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.acme.issuer import AcmeIssuer
from certrotd.acme.network import MAX_REPEATS
from certrotd.acme.renewal import read_renewal_info
from certrotd.config.context import Surroundings
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.renewal import renewal_id
from tests.builders import facts, soon
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA, Skipping, context, problem

WINDOW = {"start": "2026-01-03T00:00:00Z", "end": "2026-01-04T02:00:00+02:00"}
WANTED = json.dumps({"suggestedWindow": WINDOW, "explanationURL": "https://ca.test/why"}).encode()
REPLACED = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[ScriptedCA]:
    with ScriptedCA(tmp_path / "ca") as found:
        yield found


@pytest.fixture
def advising(ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch) -> ScriptedCA:
    """One whose directory names renewal information."""
    plain = ca._directory
    monkeypatch.setattr(
        ca, "_directory", lambda: {**plain(), "renewalInfo": f"{ca.base}/renewal-info/"}
    )
    return ca


def issuer(ca: ScriptedCA, tmp_path: Path, said: list[str], **changes: Any) -> AcmeIssuer:
    site = Surroundings(remark=said.append)
    return AcmeIssuer(ca.entry(**changes), context(tmp_path, site=site))


def payloads(ca: ScriptedCA) -> list[Any]:
    """What newOrder was asked with."""
    return [each.payload for each in ca.seen if each.path == "/orders"]


def test_the_window_is_read() -> None:
    """Its moments in UTC."""
    info = read_renewal_info(WANTED, retry_after=timedelta(hours=1))
    assert info.start == datetime(2026, 1, 3, tzinfo=UTC)
    assert info.end == datetime(2026, 1, 4, tzinfo=UTC)
    assert (info.explanation, info.retry_after) == ("https://ca.test/why", timedelta(hours=1))


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"suggestedWindow": 1}',
        b'{"suggestedWindow": {"start": "2026-01-03T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "2026-01-03", "end": "2026-01-04T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": 1, "end": 2}}',
        b'{"suggestedWindow": {"start": "0001-01-01T00:00:00+14:00",'
        b' "end": "9999-12-31T23:59:59-14:00"}}',
        b'{"suggestedWindow": {"start": "2026-01-03T00:00:00Z", "end": "2026-01-03T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "2026-01-04T00:00:00Z", "end": "2026-01-03T00:00:00Z"}}',
    ],
)
def test_what_is_no_window_is_no_answer(content: bytes) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(NeedsOperator):
        read_renewal_info(content, retry_after=None)


@pytest.mark.parametrize(
    "page", [7, None, "javascript:alert(1)", "https://a b", "https://\x1b[2J", "x" * 501, "//["]
)
def test_a_page_that_nobody_should_open_is_left_out(page: object) -> None:
    """The window counts all the same."""
    content = json.dumps({"suggestedWindow": WINDOW, "explanationURL": page}).encode()
    assert read_renewal_info(content, retry_after=None).explanation == ""


def test_the_ca_is_asked_without_an_account(advising: ScriptedCA, tmp_path: Path) -> None:
    """By the name of the certificate; how long it holds is the CA's to say."""
    live = facts_of(parse_certificates(advising.chain)[0])
    path = f"/renewal-info/{renewal_id(live)}"
    advising.on(path, Reply(body=WANTED, headers={"Retry-After": "7200"}))
    asked = issuer(advising, tmp_path, [])
    found = asked.renewal_info(live, deadline=soon())
    assert found.retry_after == timedelta(hours=2)
    assert not advising.asked("/account")
    with pytest.raises(NeedsOperator, match="no such page"):
        asked.renewal_info(live, deadline=soon())
    for _ in range(5):
        advising.on(path, Reply(503, headers={"Retry-After": "500"}))
    with pytest.raises(Transient):
        asked.renewal_info(live, deadline=soon())


@pytest.mark.parametrize(
    "reply",
    [
        Reply(302, b"", {"Location": "http://169.254.169.254/"}),
        Reply(200, b"x" * (2 << 20), {"Content-Length": str(1 << 30)}),
        Reply(200, b"<html>\x1b[2J"),
        Reply(403, {"type": "urn:ietf:params:acme:error:\x1b[2J", "detail": "\u202e\r\n\x1b]0;"}),
    ],
    ids=["redirect", "gigabyte", "page", "escapes"],
)
def test_hostile_advice_is_none_in_one_printable_line(
    advising: ScriptedCA, tmp_path: Path, reply: Reply
) -> None:
    """It is asked often, and what it says is logged."""
    live = facts_of(parse_certificates(advising.chain)[0])
    advising.on(f"/renewal-info/{renewal_id(live)}", reply)
    with pytest.raises(NeedsOperator) as failure:
        issuer(advising, tmp_path, []).renewal_info(live, deadline=soon())
    assert str(failure.value).isprintable()


def test_advice_of_a_metadata_service_is_not_asked_for(ca: ScriptedCA, tmp_path: Path) -> None:
    """Whatever the directory says."""
    named = {**ca._directory(), "renewalInfo": "https://169.254.169.254/latest/"}
    ca.on("/directory", Reply(body=named))
    live = facts_of(parse_certificates(ca.chain)[0])
    with pytest.raises(NeedsOperator, match=r"names https://169\.254\.169\.254"):
        issuer(ca, tmp_path, []).renewal_info(live, deadline=soon())


def test_a_ca_without_it_is_not_asked(ca: ScriptedCA, tmp_path: Path) -> None:
    """Nor is it told what an order replaces."""
    asked = issuer(ca, tmp_path, [])
    with pytest.raises(NeedsOperator, match="no renewal information"):
        asked.renewal_info(replace(facts(), authority_key="aa"), deadline=soon())
    asked.order([NAME], deadline=soon(), replaces=REPLACED)
    assert "replaces" not in payloads(ca)[0]


def test_an_order_that_may_not_replace_is_placed_without(
    advising: ScriptedCA, tmp_path: Path
) -> None:
    """Once, and it is said; what has nothing to do with it is not asked again."""
    said: list[str] = []
    asked = issuer(advising, tmp_path, said)
    asked.order([NAME], deadline=soon(), replaces=REPLACED)
    assert payloads(advising)[0]["replaces"] == REPLACED
    advising.on("/orders", Reply(409, problem("alreadyReplaced", "it is replaced")))
    asked.order([NAME], deadline=soon(), replaces=REPLACED)
    assert ["replaces" in each for each in payloads(advising)] == [True, True, False]
    assert "it is replaced; ordered without" in said[0]
    advising.on("/orders", Reply(400, problem("rejectedIdentifier", "no")))
    with pytest.raises(NeedsOperator):
        asked.order([NAME], deadline=soon(), replaces=REPLACED)
    advising.on("/orders", Reply(429, problem("rateLimited", "no"), {"Retry-After": "9999"}))
    with pytest.raises(Transient):
        asked.order([NAME], deadline=soon(), replaces=REPLACED)
    advising.on("/orders", Reply(403, problem("malformed", "no")))
    with pytest.raises(NeedsOperator):
        asked.order([NAME], deadline=soon())
    assert len(payloads(advising)) == 6


def test_a_ca_that_fails_inside_for_what_is_replaced_gets_the_order_without(
    advising: ScriptedCA, tmp_path: Path
) -> None:
    """Pebble does, where the serial number begins with a zero: no renewal would ever come of it."""
    broken = Reply(500, problem("serverInternal", "could not find an order"))
    advising.on("/orders", *[broken] * (MAX_REPEATS + 1))
    asked = AcmeIssuer(advising.entry(), context(tmp_path, Skipping()))
    asked.order([NAME], deadline=soon(), replaces=REPLACED)
    sent = ["replaces" in each for each in payloads(advising)]
    assert sent == [True] * (MAX_REPEATS + 1) + [False]


@pytest.mark.parametrize(
    ("offered", "words"),
    [({"classic": "c", "te\x1b[2Jst": "t"}, "it offers classic, te"), (None, "it offers none")],
    ids=["others", "none"],
)
def test_a_profile_that_the_ca_does_not_offer(
    ca: ScriptedCA, tmp_path: Path, offered: dict[str, str] | None, words: str
) -> None:
    """Is passed over and said, or refused before anything is ordered."""
    if offered:
        ca.meta["profiles"] = offered
    said: list[str] = []
    issuer(ca, tmp_path, said, profile="shortlived").order([NAME], deadline=soon())
    assert "profile" not in payloads(ca)[0]
    assert words in said[0]
    assert "\x1b" not in said[0]
    picky = issuer(ca, tmp_path, said, profile="shortlived", require_profile=True)
    with pytest.raises(NeedsOperator, match="no profile shortlived"):
        picky.order([NAME], deadline=soon())
    assert len(payloads(ca)) == 1


def test_a_profile_that_it_offers_is_ordered(ca: ScriptedCA, tmp_path: Path) -> None:
    """By its name."""
    ca.meta["profiles"] = {"shortlived": "six days"}
    issuer(ca, tmp_path, [], profile="shortlived").order([NAME], deadline=soon())
    assert payloads(ca)[0]["profile"] == "shortlived"
