"""The pages and documents: what they show, and that nobody else writes into them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from certrotd.audit.head import Anchor
from certrotd.audit.record import Head
from certrotd.certs.watching import Finding, Kind, Watched
from certrotd.daemon.budget import Limit, Limits
from certrotd.daemon.budgetfile import Budget, FileRecord
from certrotd.daemon.clockwatch import Judgement, Trust
from certrotd.daemon.status import status_of
from certrotd.daemon.web.answer import Answer
from certrotd.daemon.web.app import App
from certrotd.daemon.web.choice import Choice
from certrotd.daemon.web.layout import style
from certrotd.daemon.web.overview import PAGE
from certrotd.daemon.web.request import Refused, Request
from certrotd.errors import Failure, Problem
from certrotd.pki.generation import Generation, TargetState
from tests.unit.daemon.web.stand import DAY, NOW, PRINT, Stand, generation

HOSTILE = '<script>alert("x")</script>\'"&'
_VOID = {"meta", "link", "input", "rect", "path", "br"}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """An empty one."""
    return Stand(tmp_path)


def ask(stand: Stand, path: str, **query: str) -> Answer:
    """What is answered."""
    return App(stand.sources)(Request(path, query))


def text(stand: Stand, path: str = "/", **query: str) -> str:
    """The whole body."""
    body = ask(stand, path, **query).body
    return body if isinstance(body, str) else "".join(body)


class Page(HTMLParser):
    """A page as a tree flattened: well-formed, its words, and its attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs}), tag
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        """What a reader reads."""
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [attributes for name, attributes in self.tags if name == tag]


def page(stand: Stand, path: str = "/", **query: str) -> Page:
    """A page, which must be well-formed, without script, style attribute or foreign address."""
    read = Page(text(stand, path, **query))
    assert not read.all("script")
    for tag, attributes in read.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "src", "action"):
            where = attributes.get(name)
            assert where is None or where == "" or where.startswith(("/", "#")), where
            assert not (where or "").startswith("//"), where
    return read


def names(read: Page) -> list[str]:
    """The certificates a page lists, in its order."""
    links = [attributes["href"] or "" for attributes in read.all("a")]
    return [link.removeprefix("/c/") for link in links if link.startswith("/c/")]


def test_all_is_well_when_all_is_well(stand: Stand) -> None:
    """One glance is enough."""
    stand.fine("web", number=7)
    stand.look()
    read = page(stand)
    assert "All is well with 1 certificate" in read.text
    assert "Notices" not in text(stand)
    assert "80 days left" in read.text
    assert "renewal at two thirds of its lifetime" in read.text
    assert names(read) == ["web"]
    [bar] = [svg for svg in read.all("svg") if "life" in (svg["class"] or "")]
    assert bar["aria-label"] == "11 % of 90 days passed; renewal 2026-07-21 12:00Z"
    assert "good" in (bar["class"] or "")


def test_what_fails_comes_first_and_is_said_on_top(stand: Stand) -> None:
    """Of 10,000 certificates the three that matter are what is seen."""
    stand.fine("aaa")
    stand.fine("zzz", age=70 * DAY)
    stand.past("zzz", "nobody answers at 127.0.0.1:443")
    stand.fine("old", age=91 * DAY)
    stand.look()
    read = page(stand)
    assert "2 of 3 certificates need attention" in read.text
    assert names(read) == ["old", "zzz", "aaa"]
    assert "nobody answers at 127.0.0.1:443" in read.text
    assert "attempts left before it expires" in read.text
    assert "expired 24 hours ago" in read.text
    assert page(stand, state="failing").text.count("nobody answers") == 1
    assert names(page(stand, state="failing")) == ["old", "zzz"]
    assert "(2) certrotd" in read.text


def test_trouble_beyond_certificates_is_said(stand: Stand) -> None:
    """The page is where an alert leads, so it must have what the alert is about."""
    stand.fine("web")
    stand.look()
    board = stand.board
    board.refused(["config.yaml:3: unknown key"])
    assert "The configuration on disk is not in force" in page(stand).text
    assert "config.yaml:3: unknown key" in page(stand).text
    board.configured(["web"], [Problem(Path("c.yaml"), 7, "certificates[bad]", "no name")])
    assert "c.yaml:7: certificates[bad]: no name" in page(stand).text
    board.watched(
        Watched("files", "web", NOW, findings=(Finding(Kind.KEY_MISMATCH, "not its key"),))
    )
    assert "Something else than a rotation needs attention" in page(stand).text
    assert "files of web: not its key" in page(stand).text
    board.trouble("the directories", Failure("/srv is gone"))
    assert "the directories: /srv is gone" in page(stand).text
    board.clock(Judgement(Trust.WRONG, "it is 1970"), None)
    assert "The clock is wrong: nothing is ordered" in page(stand).text
    stand.clock.sleep(31)
    assert "The scheduler does not move" in page(stand).text


def test_a_failure_is_said_once_and_with_what_is_left(stand: Stand) -> None:
    """The reason of a postponed one tells it already; one never issued has nothing to expire."""
    stand.fine("web", age=70 * DAY)
    stand.past("web", "nobody answers", ended=NOW.isoformat())
    stand.add("new", "new.example.com")
    stand.past("new", "the CA is down")
    stand.past("new", "the CA is down")
    stand.look()
    read = page(stand)
    assert read.text.count("nobody answers") == 1
    assert "attempts left before it expires" in read.text
    assert "2 failures, the last: the CA is down" in read.text
    assert read.text.count("before it expires") == 1


def test_of_many_notices_the_first_are_shown(stand: Stand) -> None:
    """A thousand broken entries must not hide the certificates."""
    stand.look()
    stand.board.refused([f"problem {number}" for number in range(1000)])
    read = page(stand)
    assert len(read.all("li")) < 40
    assert "problem 19" in read.text
    assert "problem 20" not in read.text
    assert "And more: 980 others, see status.json" in read.text


def test_before_the_first_check_it_claims_nothing(stand: Stand) -> None:
    """Right after the start of a daemon with many certificates."""
    stand.fine("web")
    stand.board.configured(["web"], [])
    read = page(stand)
    assert "Not ready: the first check goes on: 1 certificates" in read.text
    assert "unseen" in read.text


def test_without_certificates_there_is_a_page(stand: Stand) -> None:
    """The first thing somebody sees who tries it."""
    stand.look()
    read = page(stand)
    assert "No certificates are configured" in read.text
    assert "There is nothing to show yet." in read.text
    assert not read.all("table")


def test_the_audit_log_and_the_budget_are_shown(stand: Stand) -> None:
    """With what cannot be read told as such."""
    stand.fine("web")
    stand.look()
    assert "no record yet" in page(stand).text
    stand.audit = Anchor(Head(1234, "ef" * 32))
    record = FileRecord(stand.state / "budget.json", _no_lock)
    stand.budgets["ca"] = Budget(Limits(orders=Limit(300, timedelta(hours=3))), record)
    assert "Audit log #1,234 efefefefefef…" in page(stand).text
    assert "Orders left 300 ca" in page(stand).text
    stand.audit = Anchor(state="unreadable")
    assert "Audit log: its head cannot be understood" in page(stand).text
    stand.audit = Failure("no permission")
    (stand.state / "budget.json").mkdir()
    read = page(stand)
    assert "Audit log: no permission" in read.text
    assert "Budget of ca: " in read.text


def _no_lock() -> Any:
    raise AssertionError("reading takes no lock")


def test_targets_are_shown_with_what_they_serve(stand: Stand) -> None:
    """Issued is not served."""
    targets = {"nginx": TargetState(3, PRINT, NOW), "mail": TargetState(3, "", NOW), "x": None}
    stand.add("web", "a.example.com", live=generation("a.example.com"), targets=targets)
    stand.look()
    read = page(stand)
    assert "nginx serves it" in read.text
    assert "mail generation 3, no probe" in read.text
    assert "x not told yet" in read.text


def test_ten_thousand_are_shown_in_pages(stand: Stand) -> None:
    """And found by name and by state, with the form alone."""
    for number in range(PAGE + 50):
        stand.fine(f"c{number:04d}")
    stand.fine("needle")
    stand.look()
    first = page(stand)
    assert len(names(first)) == PAGE
    assert "Page 1 of 2" in first.text
    assert {"/?page=2"} == {a["href"] for a in first.all("a") if a.get("rel") == "next"}
    second = page(stand, page="2")
    assert len(names(second)) == 51
    assert set(names(first)).isdisjoint(names(second))
    assert names(page(stand, page="99")) == names(second)
    for found in (page(stand, name="NEEDLE"), page(stand, name="needle.example.com")):
        assert names(found) == ["needle"]
        assert "Page" not in found.text
    assert names(page(stand, state="due")) == []
    assert "No certificate is like that." in page(stand, state="due").text
    assert len(names(page(stand, state="nonsense", page="-1"))) == PAGE
    assert 'value="needle"' in text(stand, name="needle")
    assert '<option value="ok" selected>' in text(stand, state="ok")


def test_a_choice_keeps_its_filter_on_the_next_page() -> None:
    """And escapes it."""
    assert Choice("ok", "a&b", 1).address(page=3) == "/?state=ok&name=a%26b&page=3"
    assert Choice().address(page=1) == "/"


@pytest.fixture
def hostile(stand: Stand) -> Stand:
    """One on which everything that others have a say in is hostile."""
    live = generation(HOSTILE, issuer=HOSTILE)
    targets = {"nginx": TargetState(3, HOSTILE, NOW)}
    stand.add("web", HOSTILE, live=live, targets=targets)
    stand.past("web", HOSTILE, why=HOSTILE, outcome=HOSTILE, failed_step=HOSTILE)
    stand.add("bad", HOSTILE, live=Failure(HOSTILE))
    stand.look()
    wrong = Finding(Kind.WRONG_NAME, HOSTILE)
    stand.board.watched(Watched("target", HOSTILE, NOW, HOSTILE, "web", HOSTILE, findings=(wrong,)))
    stand.board.trouble(HOSTILE, Failure(HOSTILE))
    stand.board.refused([HOSTILE])
    stand.board.clock(Judgement(Trust.WRONG, HOSTILE), None)
    stand.audit = Anchor(Head(1, HOSTILE))
    return stand


@pytest.mark.parametrize("path", ["/", "/c/web", "/c/bad"])
def test_nobody_else_writes_into_a_page(hostile: Stand, path: str) -> None:
    """A CA's error text or a certificate's issuer is not the operator's script."""
    read = page(hostile, path, name='"><script>')
    assert "<script" not in text(hostile, path, name='"><script>')
    assert HOSTILE in page(hostile, "/").text or HOSTILE in read.text


def test_hostile_words_stay_words_in_json(hostile: Stand) -> None:
    """And it stays JSON."""
    document = json.loads(text(hostile, "/status.json"))
    assert document["certificates"][0]["names"] == [HOSTILE]


def test_a_certificate_has_its_page(stand: Stand) -> None:
    """What it is, who serves it, what became of its rotations, and what the watcher sees."""
    stand.add(
        "web",
        "a.example.com",
        "b.example.com",
        live=generation("a.example.com", "b.example.com"),
        targets={
            "nginx": TargetState(3, PRINT, NOW - DAY),
            "mail": TargetState(2, "cd" * 32, NOW),
            "ldap": None,
        },
    )
    stand.past("web", "nobody answers")
    stand.past("web")
    stand.look()
    seen = Watched("target", "127.0.0.1:443", NOW, "a.example.com", "web", "nginx", NOW + DAY)
    stand.board.watched(seen)
    other = Finding(Kind.EXPIRED, "somebody else's")
    stand.board.watched(Watched("endpoint", "192.0.2.1:443", NOW, findings=(other,)))
    stand.board.watched(
        Watched("files", "web", NOW, findings=(Finding(Kind.COPIES_DIFFER, "copies differ"),))
    )
    read = page(stand, "/c/web")
    for words in (
        "a.example.com b.example.com",
        "ecdsa-p256",
        "c0ffee",
        PRINT,
        "Test CA",
        "2026-08-20 12:00Z",
        "Renewal 2026-07-21 12:00Z two thirds of its lifetime",
        "nginx serves it 3",
        "mail generation 2 2",
        "ldap not told yet – – –",
        "cdcdcdcdcdcdcdcd…",
        "60 minutes ago finished 2 minutes its time has come",
        "rolled back to issued 2 minutes its time has come prove: nobody answers",
        "127.0.0.1:443 a.example.com ok in 24 hours",
        "copies differ",
    ):
        assert words in read.text, words
    assert "somebody else's" not in read.text
    assert read.text.index("finished") < read.text.index("rolled back")  # the newest first


def test_a_certificate_without_anything_has_its_page_too(stand: Stand) -> None:
    """Not yet issued, without targets or history."""
    stand.add("web", "a.example.com")
    stand.look()
    read = page(stand, "/c/web")
    assert "no certificate" in read.text
    assert "It has no targets" in read.text
    assert "It was not rotated yet." in read.text
    broken = Generation(3, None, None, "the key is missing")
    stand.add("web", "a.example.com", live=broken)
    stand.look()
    assert "broken" in page(stand, "/c/web").text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"began": "nonsense"}, "60 minutes ago rolled back to issued –"),
        ({"ended": "2026-06-01T11:00:00"}, "– rolled back to issued –"),
        ({"began": (NOW + DAY).isoformat()}, "rolled back to issued –"),
        ({"began": (NOW - timedelta(hours=1)).isoformat()}, "issued under a second"),
    ],
)
def test_a_strange_line_of_history_is_shown_as_far_as_it_goes(
    stand: Stand, more: dict[str, str], words: str
) -> None:
    """Another version wrote it, or a clock that was set back meanwhile."""
    stand.fine("web")
    stand.look()
    stand.past("web", "no", **more)
    assert words in page(stand, "/c/web").text


@pytest.mark.parametrize("path", ["/c/nobody", "/c/", "/c/web/..", "/nothing", "/C/web", "/c/web/"])
def test_what_is_not_there_is_not_found(stand: Stand, path: str) -> None:
    """Names are looked up, never used as paths."""
    stand.fine("web")
    stand.look()
    with pytest.raises(Refused) as caught:
        ask(stand, path)
    assert caught.value.status == 404


def test_a_certificate_that_has_just_gone_is_not_found(stand: Stand) -> None:
    """Between a reload and the end of the rotations under the old configuration."""
    stand.fine("web")
    stand.look()
    del stand.certificates["web"]
    with pytest.raises(Refused):
        ask(stand, "/c/web")
    assert names(page(stand)) == ["web"]
    assert json.loads(text(stand, "/status.json"))["certificates"] == []


def test_status_json_has_the_keys_of_the_command(stand: Stand) -> None:
    """One script reads both."""
    stand.fine("web")
    stand.fine("www", age=70 * DAY)
    stand.past("www", "no")
    stand.look()
    document = json.loads(text(stand, "/status.json"))
    rows = list(stand.sources.rows(["web", "www"]))
    expected = [json.loads(json.dumps(status_of(r, now=NOW), default=_iso)) for r in rows]
    assert document["certificates"] == expected
    assert document["failing"] == ["www"]
    assert document["attempts_left"].keys() == {"www"}
    assert document["ready"] is True
    assert document["states"]["ok"] == 1
    chosen = json.loads(text(stand, "/status.json", name="web"))["certificates"]
    assert [each["name"] for each in chosen] == ["web"]


def _iso(value: Any) -> str:
    return str(value.isoformat())


def test_status_json_tells_the_rest(stand: Stand) -> None:
    """What has no certificate."""
    stand.look()
    stand.board.refused(["no"])
    stand.board.trouble("the directories", Failure("gone"))
    finding = Finding(Kind.EXPIRED, "it expired")
    stand.board.watched(Watched("endpoint", "h:443", NOW, "h", not_after=NOW, findings=(finding,)))
    stand.audit = Anchor(Head(7, "ab" * 32))
    document = json.loads(text(stand, "/status.json"))
    assert document["config"]["refused"] == ["no"]
    assert document["config"]["valid"] is False
    assert document["troubles"] == {"the directories": "gone"}
    assert document["audit"] == {"state": "good", "seq": 7, "hash": "ab" * 32}
    assert document["clock"] == {"trust": "sound", "reason": None}
    assert document["next_check"] is None
    assert document["watched"][0]["findings"] == [
        {"kind": "expired", "severity": "error", "words": "it expired"}
    ]
    stand.audit = Failure("no")
    assert json.loads(text(stand, "/status.json"))["audit"]["state"] == "unreadable"
    stand.audit = Anchor(state="missing")
    assert json.loads(text(stand, "/status.json"))["audit"]["seq"] is None


def test_health_is_a_status_and_a_reason(stand: Stand) -> None:
    """What a load balancer and a person each need."""
    assert ask(stand, "/livez").status == 200
    assert ask(stand, "/readyz").status == 503
    stand.look()
    assert (ask(stand, "/readyz").status, text(stand, "/readyz")) == (200, "ok\n")
    stand.clock.sleep(31)
    assert (ask(stand, "/livez").status, text(stand, "/livez")) == (503, "no tick for 31 s\n")


def test_the_style_sheet_is_kept_under_the_address_that_tells_its_content(stand: Stand) -> None:
    """After an update nobody sees the old one."""
    stand.look()
    sheet, address = style()
    assert address in text(stand)
    path, _, version = address.partition("?v=")
    found = ask(stand, path, v=version)
    assert (found.body, found.keep, found.kind) == (sheet, True, "text/css; charset=utf-8")
    assert not ask(stand, path).keep
    assert not ask(stand, path, v="other").keep
    assert "url(" not in sheet
    assert ask(stand, "/icon.svg").kind == "image/svg+xml"


def colours(sheet: str) -> Iterator[dict[str, str]]:
    """The light and the dark colours by name."""
    for part in sheet.split(":root {")[1:]:
        pairs = (line.strip().strip(";").split(": ") for line in part.split("}")[0].splitlines())
        yield {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[1].startswith("#")}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_can_be_read_on_their_ground() -> None:
    """WCAG AA: 4.5 to 1, in both schemes."""
    schemes = list(colours(style()[0]))
    assert len(schemes) == 2
    pairs = [
        (ink, ground) for ink in ("--ink", "--soft", "--accent") for ground in ("--page", "--card")
    ]
    pairs += [(f"--{tone}-ink", f"--{tone}-soft") for tone in ("good", "work", "bad", "calm")]
    pairs += [("--bad-ink", "--card"), ("--good-ink", "--card"), ("--work-ink", "--card")]
    pairs += [("--card", "--accent")]
    for scheme in schemes:
        for ink, ground in pairs:
            light, dark = sorted((luminance(scheme[ink]), luminance(scheme[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, scheme[ink])
