"""A CA that means harm: whatever it answers, a clear error, little time and memory, no traces."""

from __future__ import annotations

import os
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline
from certrotd.errors import Failure, Transient
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, Skipping, problem

PATHS = ("/directory", "/account", "/orders", "/authz", "/challenge", "/finalize", "/certificate")
NASTY = (
    "\x1b[2J\x1b]0;x\x07\u202eissued\u2066\r\nFAILED: no\x00\u2028\x9b1m`id`$(id);../../etc/passwd"
)
METADATA = "169.254.169.254/latest/meta-data/"


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: ``said`` is why nothing did, with its hint."""

    said: str
    obtained: bool
    failure: Failure | None = None


def shown(value: str) -> str:
    """As the id of a test."""
    return value.encode("unicode_escape").decode()[:20]


def attempt(ca: ScriptedCA, directory: Path) -> Outcome:
    """All that is asked of a CA, by a clock on which no wait takes any time."""
    clock = Skipping()
    try:
        issuer = ca.issuer(directory / "state", clock, agree_to_terms=True)
        order = issuer.order([NAME], deadline=Deadline(clock, 60))
        digests = [each.value for each in order.challenges()]
        assert all(re.fullmatch("[A-Za-z0-9_-]{43}", each) for each in digests)
        order.validate()
        return Outcome("", b"BEGIN CERTIFICATE" in order.finalize(CSR))
    except Failure as failure:
        return Outcome(str(failure), obtained=False, failure=failure)


def answers(ca: ScriptedCA, path: str, **more: str) -> Reply:
    """An honest answer there, with further headers."""
    headers = {"Location": f"{ca.base}/order"} if path == "/orders" else {}
    body: Any = ca.order_body() if path == "/orders" else {}
    return Reply(201, body, headers | more)


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The files outside of the state directory and of the CA's own, below which all happens."""
    monkeypatch.chdir(tmp_path)

    def found() -> list[str]:
        every = (Path(where) / name for where, _, names in os.walk(tmp_path) for name in names)
        places = (str(each.relative_to(tmp_path)) for each in every)
        return [each for each in places if not each.startswith(("state/accounts/scripted", "ca"))]

    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_what_a_ca_says_is_one_printable_line(
    ca: ScriptedCA, tmp_path: Path, path: str, status: int
) -> None:
    """Terminals obey escape sequences, and a log has a line for each event."""
    document = problem(NASTY, NASTY * 50, title=NASTY, instance=NASTY)
    document["subproblems"] = [
        problem("caa", NASTY, identifier={"type": "dns", "value": NASTY}) for _ in range(50)
    ]
    kind = {"Content-Type": "application/problem+json"}
    ca.on(path, *[Reply(status, document, kind)] * 20)
    outcome = attempt(ca, tmp_path)
    assert outcome.said
    assert outcome.said.isprintable(), outcome.said
    assert len(outcome.said) < 5000


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("to", [f"http://{METADATA}", f"https://{METADATA}", NASTY[:9]], ids=shown)
def test_a_redirect_leads_nowhere(ca: ScriptedCA, tmp_path: Path, path: str, to: str) -> None:
    """Neither to a service that trusts this machine, nor without TLS."""
    location = to.encode("ascii", "ignore").decode().replace("\r", "").replace("\n", "")
    ca.on(path, *[Reply(307, b"", {"Location": location})] * 20)
    outcome = attempt(ca, tmp_path)
    assert outcome.said
    assert outcome.said.isprintable()
    assert not outcome.obtained


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [200, 403, 502])
def test_a_page_for_people_is_no_answer(
    ca: ScriptedCA, tmp_path: Path, path: str, status: int
) -> None:
    """Said as such, whichever status it comes with."""
    page = Reply(status, f"<html>{NASTY}</html>".encode(), {"Content-Type": "text/html"})
    if path == "/orders":
        page = replace(page, headers={**page.headers, "Location": f"{ca.base}/order"})
    ca.on(path, *[page] * 20)
    outcome = attempt(ca, tmp_path)
    if (path, status) != ("/challenge", 200):  # nothing of that answer is needed
        assert outcome.said
    assert outcome.said.isprintable()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [200, 500])
def test_a_gigabyte_is_not_read(ca: ScriptedCA, tmp_path: Path, path: str, status: int) -> None:
    """It is refused after the first mebibyte."""
    body = b"x" * (8 * 1024 * 1024)
    length = {"Content-Length": str(1 << 30)}
    ca.on(path, *[Reply(status, body, {**length, "Location": f"{ca.base}/order"})] * 20)
    tracemalloc.start()
    try:
        outcome = attempt(ca, tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "more than 1048576 bytes" in outcome.said
    assert most < 8 * 1024 * 1024


@pytest.mark.parametrize("path", PATHS)
def test_headers_without_end_are_not_read(ca: ScriptedCA, tmp_path: Path, path: str) -> None:
    """They are kept until the last one has come."""
    many = {f"X-{number}": "x" * 1000 for number in range(200)}
    ca.on(path, *[Reply(200, b"{}", many)] * 20)
    assert attempt(ca, tmp_path).said.isprintable()


@pytest.mark.parametrize("path", ["/account", "/orders"])
@pytest.mark.parametrize(
    "location",
    [
        "",
        "../../../etc/cron.d/x",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "//",
        "https://",
        f"https://{METADATA}",
        "https://user:pw@127.0.0.1/",
        "https://127.0.0.1:99999/",
        "x" * 9000,
    ],
    ids=shown,
)
def test_a_hostile_location_is_refused(
    ca: ScriptedCA, tmp_path: Path, path: str, location: str
) -> None:
    """It is a URL of the CA's, or nothing."""
    ca.on(path, *[replace(answers(ca, path), headers={"Location": location})] * 20)
    ca.on("/finalize", Reply(200, ca.order_body(status="processing")))
    outcome = attempt(ca, tmp_path)
    assert outcome.said.isprintable()
    assert len(outcome.said) < 2000
    # nobody asks for the account, and what names no host leads to the same page again
    assert outcome.said or path == "/account" or location in ("//", "https://")


@pytest.mark.parametrize(
    "link",
    [
        "<../../etc/passwd>",
        f"<http://{METADATA}>",
        f"<https://{METADATA}>",
        "<<<>>>",
        "",
        "<",
        "<" + "x" * 9000 + ">",
        f"<file://{'../' * 9}etc/passwd>",
    ],
    ids=shown,
)
def test_a_hostile_link_is_not_followed(ca: ScriptedCA, tmp_path: Path, link: str) -> None:
    """The certificate that came beside it counts."""
    header = {"Link": ",".join([f'{link};rel="alternate"'] * 5)}
    ca.on("/certificate", Reply(200, ca.chain, header))
    outcome = attempt(ca, tmp_path)
    assert outcome.obtained or outcome.said.isprintable()
    assert ca.asked("/certificate") == 1


@pytest.mark.parametrize(
    "wait",
    [
        "-1",
        "9" * 400,
        "1e9",
        "0x10",
        "٣",
        "",
        "Mon, 99 Foo 9999 99:99:99 GMT",
        "\x1b[2J",
        "inf",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "999999999",
    ],
    ids=shown,
)
def test_a_hostile_wait_is_bounded(ca: ScriptedCA, tmp_path: Path, wait: str) -> None:
    """Nobody is put to sleep for ever, and no error is about dates."""
    busy = Reply(
        503, problem("serverInternal", "later"), {"Retry-After": wait.encode().decode("latin-1")}
    )
    ca.on("/orders", *[busy] * 50)
    outcome = attempt(ca, tmp_path)
    assert isinstance(outcome.failure, Transient)
    assert outcome.said.isprintable()
    asked = outcome.failure.retry_after
    assert asked is None or timedelta(0) <= asked <= timedelta(days=7)


@pytest.mark.parametrize(
    "token",
    [
        "../../../../etc/cron.d/x",
        "a;touch traces",
        "$(touch traces)",
        "`touch traces`",
        "\n.\r\n",
        "",
        "t" * 500_000,
        "\u202e" * 30,
        "-rf",
        "a/../b",
    ],
    ids=shown,
)
def test_a_hostile_token_makes_a_digest_or_nothing(
    ca: ScriptedCA, tmp_path: Path, token: str, traces: Callable[[], list[str]]
) -> None:
    """It is neither a path nor words of a shell (CVE-2023-38198)."""
    ca.challenge["token"] = token
    outcome = attempt(ca, tmp_path)
    assert outcome.obtained or outcome.said.isprintable()
    assert traces() == []


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "*.example.test/../x",
        "$(touch traces).example.test",
        NASTY,
        "",
        "a" * 500_000,
        "other.example.test",
        "127.0.0.1",
        f"{NAME}\x00.evil.test",
    ],
    ids=shown,
)
@pytest.mark.parametrize("where", ["order", "authorization"])
def test_a_name_that_was_not_ordered_is_refused(
    ca: ScriptedCA, tmp_path: Path, name: str, where: str, traces: Callable[[], list[str]]
) -> None:
    """No record is published for it, and no file is called so."""
    identifier = {"type": "dns", "value": name}
    if where == "order":
        ca.order["identifiers"] = [identifier]
    else:
        ca.authorization["identifier"] = identifier
    outcome = attempt(ca, tmp_path)
    assert outcome.said
    assert outcome.said.isprintable()
    assert len(outcome.said) < 2000
    assert traces() == []
