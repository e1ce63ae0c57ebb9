"""The state as JSON."""

import json
from typing import Any

from certrotd.audit.head import Anchor
from certrotd.audit.record import Head
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import id_of
from certrotd.errors import Failure
from certrotd.lifecycle.finding import Finding, Watched
from tests.unit.daemon.http.page import text
from tests.unit.daemon.http.stand import DAY, NOW, Stand


def test_status_json_has_the_keys_of_the_command(stand: Stand) -> None:
    """One script reads both."""
    stand.fine("web")
    stand.fine("www", age=70 * DAY)
    stand.past("www", "no")
    stand.look()
    document = json.loads(text(stand, "/status.json"))
    views = stand.sources.views([id_of("web"), id_of("www")])
    expected = [json.loads(json.dumps(view.to_json(), default=_iso)) for view in views]
    assert document["subjects"] == expected
    assert document["failing"] == ["certificate/www"]
    assert document["attempts_left"].keys() == {"certificate/www"}
    assert document["ready"] is True
    assert document["states"]["certificate"]["ok"] == 1
    chosen = json.loads(text(stand, "/status.json", name="web"))["subjects"]
    assert [each["name"] for each in chosen] == ["web"]


def _iso(value: Any) -> str:
    return str(value.isoformat())


def test_status_json_holds_the_rest(stand: Stand) -> None:
    """What has no certificate."""
    stand.look()
    stand.board.refused(["no"])
    stand.board.trouble("the directories", Failure("gone"))
    finding = Finding(FindingKind.EXPIRED, "it expired")
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
