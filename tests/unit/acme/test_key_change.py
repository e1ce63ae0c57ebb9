"""A new key for an account: whatever breaks it off, one of the two keys is the account's."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from josepy.b64 import b64decode
from josepy.jwk import JWK

from certrotd.acme.issuer import AcmeIssuer
from certrotd.acme.key_change import UNSURE, Act, decide
from certrotd.acme.network import algorithm_of
from certrotd.acme.problems import Busy, Refused
from certrotd.clock import SystemClock
from certrotd.config.context import Surroundings
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki import keys
from certrotd.pki.order import ValidationFailed
from certrotd.state.ports import Fenced
from tests.builders import soon
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, Seen, context, problem

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AGO = NOW - UNSURE
UNKNOWN = Reply(400, problem("accountDoesNotExist", "no such key"))
REFUSED = Reply(400, problem("malformed", "JWS verification error"))


class Later(SystemClock):
    """The machine's date, so much later."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


class Stand:
    """An issuer with an account, what it tells, and more issuers in the same state."""

    def __init__(self, ca: ScriptedCA, path: Path) -> None:
        self.ca, self.path = ca, path
        self.records: list[str] = []
        self.lines: list[str] = []
        self.folder = path / "accounts" / "scripted"
        self.issuer = self.another()
        self.issuer.preflight(deadline=soon())
        self.old = self.key()
        self.records.clear()

    def another(self, clock: SystemClock | None = None, **changes: Any) -> AcmeIssuer:
        """As another process has it."""
        site = Surroundings(
            record=lambda event, **_details: self.records.append(event), remark=self.lines.append
        )
        return AcmeIssuer(self.ca.entry(**changes), context(self.path, clock, site))

    def key(self, name: str = "account.key") -> bytes:
        return (self.folder / name).read_bytes()

    def files(self) -> list[str]:
        return sorted(each.name for each in self.folder.iterdir())

    def known(self) -> Reply:
        return Reply(200, {"status": "valid"}, {"Location": f"{self.ca.base}/accounts/1"})

    def rollover(self, **changes: Any) -> None:
        self.another(**changes).account.rollover(deadline=soon())

    def begun(self) -> None:
        """A change whose request is lost, as far as can be told from here."""
        self.ca.on("/account", self.known(), UNKNOWN, self.known())
        self.ca.on("/key-change", Reply(cut=True))
        with pytest.raises(Transient):
            self.rollover()

    def order(self, clock: SystemClock | None = None) -> None:
        self.another(clock).order([NAME], deadline=soon())

    def asked_with(self) -> list[bytes]:
        """The keys that the CA was asked about, as thumbprints, in order."""
        asked: list[Any] = [
            JWK.from_json(seen.header["jwk"]) for seen in self.ca.seen if seen.path == "/account"
        ]
        return [key.thumbprint() for key in asked]


@pytest.fixture
def stand(ca: ScriptedCA, tmp_path: Path) -> Stand:
    """An account that is there."""
    return Stand(ca, tmp_path / "state")


@pytest.mark.parametrize(
    ("knows_new", "knows_old", "begun", "refused", "act"),
    [
        (True, False, NOW, False, Act.FINISH),
        (True, False, AGO, False, Act.FINISH),
        (True, False, NOW, True, Act.FINISH),
        (False, True, NOW, True, Act.DROP),
        (False, True, NOW, False, Act.KEEP),
        (False, True, AGO, False, Act.DROP),
        (False, False, NOW, False, Act.WAIT),
        (False, False, NOW, True, Act.WAIT),
        (False, False, AGO, False, Act.DROP),
    ],
)
def test_what_the_ca_knows_decides(
    knows_new: bool, knows_old: bool, begun: datetime, refused: bool, act: Act
) -> None:
    """A key is given up only where the CA can have no account with it any more."""
    verdict = decide(
        knows_new=knows_new, knows_old=knows_old, begun=begun, refused=refused, now=NOW
    )
    assert verdict.act is act
    assert verdict.why


def test_both_keys_sign_the_change_and_the_account_stays_the_same(stand: Stand) -> None:
    """RFC 8555 §7.3.5; the URL is what CAA records and labels in the DNS are made of."""
    record = json.loads(stand.key("account.json"))
    stand.rollover(account_key="ecdsa-p384")
    [sent] = [seen for seen in stand.ca.seen if seen.path == "/key-change"]
    new, old = (keys.load(each) for each in (stand.key(), stand.old))
    assert keys.key_type_of(new.public_key()) == "ecdsa-p384"
    assert sent.header["kid"] == record["url"]
    inner, payload = _opened(sent)
    assert inner["url"] == sent.header["url"] == f"{stand.ca.base}/key-change"
    assert "nonce" not in inner
    assert payload["account"] == record["url"]
    assert _public(JWK.from_json(payload["oldKey"])) == keys.spki(old.public_key())
    assert _public(JWK.from_json(inner["jwk"])) == keys.spki(new.public_key())
    assert json.loads(stand.key("account.json")) == record
    assert stand.files() == ["account.json", "account.key"]
    assert stat.S_IMODE((stand.folder / "account.key").stat().st_mode) == 0o600
    assert stand.records == ["account.rollover_begun", "account.rolled_over"]


def test_the_new_key_is_durable_before_the_ca_hears_of_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash nobody could use the account else."""
    found: list[tuple[list[str], int]] = []
    answer = stand.ca.answer

    def looked(seen: Seen) -> Reply:
        if seen.path == "/key-change":
            mode = (stand.folder / "account.next.key").stat().st_mode
            found.append((stand.files(), stat.S_IMODE(mode)))
            assert stand.key() == stand.old
        return answer(seen)

    monkeypatch.setattr(stand.ca, "answer", looked)
    stand.rollover()
    assert found == [(["account.json", "account.key", "account.next.key"], 0o600)]


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(400, problem("badPublicKey", "P-256 only")), Refused, "P-256 only"),
        (Reply(409, b"", {"Location": "/accounts/7"}), Refused, "409"),
        (Reply(501, problem("rejectedIdentifier", "not implemented")), Busy, "not implemented"),
        (Reply(404, b"no such page"), Refused, "404"),
    ],
)
def test_a_change_that_the_ca_refuses_is_dropped_at_once(
    stand: Stand, reply: Reply, error: type[Failure], words: str
) -> None:
    """The CA knows the old key, and the new one was never sent before."""
    stand.ca.on("/account", stand.known(), UNKNOWN, stand.known())
    stand.ca.on("/key-change", *[reply] * 5)
    with pytest.raises(error, match=words):
        stand.rollover()
    assert (stand.key(), stand.files()) == (stand.old, ["account.json", "account.key"])
    assert stand.records == ["account.rollover_begun", "account.rollover_dropped"]
    stand.order()
    assert stand.asked_with()[1:].count(stand.asked_with()[0]) == 2  # nothing was registered


def test_an_answer_that_is_lost_is_found_out(stand: Stand) -> None:
    """The CA has done it: the new key is in its place before the command ends."""
    stand.ca.on("/account", stand.known(), stand.known())
    stand.ca.on("/key-change", Reply(cut=True))
    stand.rollover()
    assert stand.ca.asked("/key-change") == 1
    assert (stand.key() != stand.old, stand.files()) == (True, ["account.json", "account.key"])


def test_a_change_that_may_yet_be_carried_out_keeps_both_keys(stand: Stand) -> None:
    """A CA behind a queue, or one that answers from a copy of its database."""
    stand.begun()
    assert stand.files() == ["account.json", "account.key", "account.next.key"]
    new = stand.key("account.next.key")
    stand.ca.on("/account", UNKNOWN, stand.known())
    stand.order()  # goes on with the old key
    assert stand.key() == stand.old
    assert stand.another().account.show(deadline=soon()).is_changing
    stand.ca.on("/account", stand.known())
    stand.order()
    assert (stand.key(), stand.files()) == (new, ["account.json", "account.key"])
    assert stand.records[-1] == "account.rolled_over"


def test_a_change_that_never_reached_the_ca_is_dropped_after_a_while(stand: Stand) -> None:
    """Else every start asks about it for ever."""
    stand.begun()
    stand.ca.on("/account", UNKNOWN, stand.known())
    stand.order(Later(UNSURE + timedelta(seconds=5)))
    assert (stand.key(), stand.files()) == (stand.old, ["account.json", "account.key"])
    assert stand.records[-1] == "account.rollover_dropped"
    assert "changing" not in json.loads(stand.key("account.json"))
    assert "never heard of the new one" in stand.lines[-1]


def test_nothing_is_registered_while_neither_key_is_known(stand: Stand) -> None:
    """It would be a second account, and the first is lost with the key that is to be its own."""
    stand.begun()
    stand.ca.on("/account", UNKNOWN, UNKNOWN)
    orders = stand.ca.asked("/orders")
    with pytest.raises(Transient, match="knows neither the old nor the new key"):
        stand.order()
    assert stand.ca.asked("/orders") == orders
    assert stand.files() == ["account.json", "account.key", "account.next.key"]


@pytest.mark.parametrize("begun", [None, "2999-01-01T00:00:00+00:00"], ids=["lost", "ahead"])
def test_a_change_of_which_nobody_knows_when_it_began_is_doubted_for_ten_minutes(
    stand: Stand, begun: str | None
) -> None:
    """Its record was lost, or the clock was ahead: neither is the key lost nor orders for years."""
    stand.begun()
    record = json.loads(stand.key("account.json"))
    (stand.folder / "account.json").write_text(json.dumps({**record, "changing": begun}))
    stand.ca.on("/account", UNKNOWN, UNKNOWN)
    with pytest.raises(Transient, match="knows neither the old nor the new key"):
        stand.order()
    assert stand.files() == ["account.json", "account.key", "account.next.key"]
    stand.ca.on("/account", UNKNOWN, UNKNOWN)
    stand.order(Later(UNSURE + timedelta(seconds=5)))
    assert (stand.key(), stand.files()) == (stand.old, ["account.json", "account.key"])


def test_nothing_is_forgotten_where_the_whole_record_of_a_change_is_lost(stand: Stand) -> None:
    """Not even the old key need be there: the new one may be the account's."""
    stand.begun()
    new = stand.key("account.next.key")
    for each in ("account.json", "account.key"):
        (stand.folder / each).unlink()
    stand.ca.on("/account", UNKNOWN)
    with pytest.raises(Transient, match="knows neither the old nor the new key"):
        stand.order()
    stand.ca.on("/account", stand.known())
    stand.order()
    assert (stand.key(), stand.files()) == (new, ["account.json", "account.key"])


def test_a_second_command_uses_the_key_of_the_first(stand: Stand) -> None:
    """Two new keys would leave the one that the CA took without a file."""
    stand.begun()
    new = stand.key("account.next.key")
    stand.ca.on("/account", UNKNOWN, stand.known(), stand.known())
    stand.rollover()
    assert (stand.key(), stand.files()) == (new, ["account.json", "account.key"])


def test_a_second_command_finishes_what_the_first_began(stand: Stand) -> None:
    """And changes nothing else."""
    stand.begun()
    new = stand.key("account.next.key")
    stand.ca.on("/account", stand.known())
    stand.rollover()
    assert stand.key() == new
    assert stand.ca.asked("/key-change") == 1


def test_a_refusal_of_a_repeated_change_drops_nothing(stand: Stand) -> None:
    """The first request may have been carried out, and this answer come from an older copy."""
    stand.begun()
    stand.ca.on("/account", UNKNOWN, stand.known(), stand.known(), UNKNOWN, stand.known())
    stand.ca.on("/key-change", REFUSED)
    with pytest.raises(Refused):
        stand.rollover()
    assert stand.files() == ["account.json", "account.key", "account.next.key"]


def test_a_new_key_in_its_place_needs_no_question(stand: Stand) -> None:
    """Killed between the two last writes."""
    (stand.folder / "account.next.key").write_bytes(stand.old)
    asked = stand.ca.asked("/account")
    stand.order()
    assert (stand.key(), stand.files()) == (stand.old, ["account.json", "account.key"])
    assert stand.ca.asked("/account") == asked


def test_a_ca_that_changes_no_keys_is_told_apart(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written."""
    listed = stand.ca._directory
    monkeypatch.setattr(
        stand.ca, "_directory", lambda: {k: v for k, v in listed().items() if k != "keyChange"}
    )
    with pytest.raises(NeedsOperator, match="does not change keys"):
        stand.rollover()
    assert stand.records == []
    assert stand.files() == ["account.json", "account.key"]


def test_an_account_that_the_ca_forgot_gets_no_new_key(stand: Stand) -> None:
    """It is to be registered again first."""
    stand.ca.on("/account", UNKNOWN)
    with pytest.raises(NeedsOperator, match="forgotten it"):
        stand.rollover()
    assert stand.ca.asked("/key-change") == 0


def test_there_is_nothing_to_change_without_an_account(ca: ScriptedCA, tmp_path: Path) -> None:
    """And nothing is registered for it."""
    with pytest.raises(NeedsOperator, match="no account yet"):
        ca.issuer(tmp_path).account.rollover(deadline=soon())
    assert ca.asked("/account") == 0


def test_a_next_key_that_cannot_be_read_stops_orders(stand: Stand) -> None:
    """It may be the account's by now."""
    (stand.folder / "account.next.key").write_bytes(b"damaged")
    with pytest.raises(NeedsOperator, match=r"account\.next\.key is"):
        stand.order()
    assert stand.key("account.next.key") == b"damaged"


class TestBesideADaemon:
    """Another process changes the key while this one has it in memory."""

    @pytest.mark.parametrize(
        "kind", ["malformed", "unauthorized", "badSignatureAlgorithm", "badPublicKey"]
    )
    def test_an_order_goes_on_with_the_new_key(self, stand: Stand, kind: str) -> None:
        """The CA refuses the old one in whatever words; of another type, the algorithm."""
        stand.rollover()
        stand.ca.on("/orders", Reply(400, problem(kind, "not with this key")))
        stand.issuer.order([NAME], deadline=soon())
        assert stand.ca.asked("/orders") == 2
        _signed_by(stand.ca.seen[-1], stand.key())

    def test_an_order_that_is_under_way_goes_on_with_the_new_key(self, stand: Stand) -> None:
        """Its names are proven already."""
        order = stand.issuer.order([NAME], deadline=soon())
        order.validate()
        stand.rollover()
        stand.ca.on("/finalize", REFUSED)
        assert order.finalize(CSR)
        assert stand.ca.asked("/finalize") == 2

    @pytest.mark.parametrize("when", ["before it is told", "as it is told"])
    def test_a_proof_made_with_the_old_key_is_made_anew(self, stand: Stand, when: str) -> None:
        """The CA would look for another value in the TXT record, and count a failure."""
        order = stand.issuer.order([NAME], deadline=soon())
        [before] = order.challenges()
        stand.rollover()
        if when == "as it is told":
            stand.ca.on("/challenge", REFUSED)
        else:
            stand.ca.on("/orders", REFUSED)
            stand.issuer.order([NAME], deadline=soon())
        told = stand.ca.asked("/challenge")
        with pytest.raises(Transient, match="key was changed while names were being proven"):
            order.validate()
        assert stand.ca.asked("/challenge") - told == (when == "as it is told")
        [after] = stand.issuer.resume(order.url, deadline=soon()).challenges()
        assert after.value != before.value

    @pytest.mark.parametrize("changed", [True, False])
    def test_a_proof_that_fails_for_the_new_key_is_nobody_s_mistake(
        self, stand: Stand, changed: bool
    ) -> None:
        """The CA was told before the change and looked after it; without one it is a failure."""
        order = stand.issuer.order([NAME], deadline=soon())
        order.challenges()
        if changed:
            stand.rollover()
        stand.ca.on("/challenge", Reply(200, stand.ca.challenge_body(status="processing")))
        stand.ca.authorization["status"] = "invalid"
        with pytest.raises(Transient if changed else ValidationFailed):
            order.validate()

    def test_another_refusal_is_reported_as_it_is(self, stand: Stand) -> None:
        """The negative control."""
        order = stand.issuer.order([NAME], deadline=soon())
        order.validate()
        stand.ca.on("/finalize", Reply(400, problem("badCSR", "weak")))
        with pytest.raises(Failure, match="weak"):
            order.finalize(CSR)
        assert stand.ca.asked("/finalize") == 1


def test_a_lock_that_was_lost_leaves_the_change_to_others(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it by now may be doing the same; the new key stays beside the old one."""
    answer = stand.ca.answer

    def lost(seen: Seen) -> Reply:
        if seen.path == "/key-change":
            stand.folder.with_name("scripted.lock").unlink()
        return answer(seen)

    monkeypatch.setattr(stand.ca, "answer", lost)
    with pytest.raises(Fenced):
        stand.rollover()
    assert stand.key() == stand.old
    assert stand.files() == ["account.json", "account.key", "account.next.key"]
    stand.ca.on("/account", stand.known())
    stand.order()
    assert (stand.key() != stand.old, stand.files()) == (True, ["account.json", "account.key"])


def _opened(sent: Seen) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inner request, whose signature is that of the key in its header."""
    inner = sent.payload
    header, payload = (json.loads(b64decode(inner[part])) for part in ("protected", "payload"))
    key: Any = JWK.from_json(header["jwk"])
    alg = algorithm_of(key)
    assert header["alg"] == alg.name
    signed = f"{inner['protected']}.{inner['payload']}".encode()
    assert alg.verify(key.key, signed, b64decode(inner["signature"]))
    return header, payload


def _public(key: Any) -> bytes:
    return keys.spki(key.key)


def _signed_by(seen: Seen, pem: bytes) -> None:
    jws = json.loads(seen.raw)
    key: Any = JWK.load(pem)
    signed = f"{jws['protected']}.{jws['payload']}".encode()
    alg: Callable[..., bool] = algorithm_of(key).verify
    assert alg(key.public_key().key, signed, b64decode(jws["signature"]))
