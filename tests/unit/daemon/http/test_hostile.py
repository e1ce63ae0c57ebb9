"""What others have a say in stays words, wherever it is shown."""

import json

import pytest

from certrotd.audit.head import Anchor
from certrotd.audit.record import Head
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import id_of
from certrotd.errors import Failure
from certrotd.lifecycle.finding import Finding, Watched
from certrotd.pki.generation import TargetState
from certrotd.scheduling.clock_trust import ClockTrust, Judgement
from tests.unit.daemon.http.page import page, text
from tests.unit.daemon.http.stand import NOW, Stand, generation

HOSTILE = '<script>alert("x")</script>\'"&'


@pytest.fixture
def hostile(stand: Stand) -> Stand:
    """One on which everything that others have a say in is hostile."""
    live = generation(HOSTILE, issuer=HOSTILE)
    targets = {"nginx": TargetState(3, HOSTILE, NOW)}
    stand.add("web", HOSTILE, live=live, targets=targets)
    stand.past("web", HOSTILE, why=HOSTILE, outcome=HOSTILE, failed_step=HOSTILE)
    stand.add("bad", HOSTILE, live=Failure(HOSTILE))
    stand.look()
    wrong = Finding(FindingKind.WRONG_NAME, HOSTILE)
    stand.board.watched(
        Watched("target", HOSTILE, NOW, HOSTILE, id_of("web"), HOSTILE, findings=(wrong,))
    )
    stand.board.trouble(HOSTILE, Failure(HOSTILE))
    stand.board.refused([HOSTILE])
    stand.board.clock(Judgement(ClockTrust.WRONG, HOSTILE), None)
    stand.audit = Anchor(Head(1, HOSTILE))
    return stand


@pytest.mark.parametrize("path", ["/", "/certificate/web", "/certificate/bad"])
def test_hostile_text_is_escaped_in_every_page(hostile: Stand, path: str) -> None:
    """A CA's error text or a certificate's issuer is not the operator's script."""
    read = page(hostile, path, name='"><script>')
    assert "<script" not in text(hostile, path, name='"><script>')
    assert HOSTILE in page(hostile, "/").text or HOSTILE in read.text


def test_hostile_words_stay_words_in_json(hostile: Stand) -> None:
    """And it stays JSON."""
    document = json.loads(text(hostile, "/status.json"))
    assert document["subjects"][0]["names"] == [HOSTILE]


@pytest.mark.parametrize("path", ["/", "/certificate/web", "/status.json"])
def test_no_control_character_reaches_whoever_reads(stand: Stand, path: str) -> None:
    """A page that is fetched by curl is shown by a terminal, which they would turn around."""
    odd = "a\x1b[1mb\u009b1mc\u202ed"
    stand.add("web", odd, live=generation(odd, issuer=odd))
    stand.past("web", why=odd, outcome=odd, failed_step=odd)
    stand.look()
    stand.board.refused([odd])
    answer = text(stand, path, name="\x1b[1m\u202e") + text(stand, path)
    shown = answer.replace("\n", "")
    assert shown.isprintable()
