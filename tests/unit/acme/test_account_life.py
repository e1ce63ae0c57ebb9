"""Accounts that are looked at, ended, replaced and brought along."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.b64 import b64encode

from certrotd.acme.account_keys import parse_account_key, read_account_key
from certrotd.acme.management import AtTheCa, Shown, read_account
from certrotd.acme.network import account_jwk
from certrotd.acme.problems import Refused
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki import keys
from tests.builders import soon
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA, problem
from tests.unit.acme.test_key_change import UNKNOWN, Stand

ENDED = Reply(403, problem("unauthorized", "An account with this key is deactivated"))
DEACTIVATED = Reply(200, {"status": "deactivated"})


@pytest.fixture
def stand(ca: ScriptedCA, tmp_path: Path) -> Stand:
    """An account that is there."""
    return Stand(ca, tmp_path / "state")


def ended(stand: Stand) -> Stand:
    """The same, deactivated."""
    stand.ca.on("/accounts/1", DEACTIVATED)
    stand.another().account.deactivate(deadline=soon())
    stand.records.clear()
    return stand


class TestShow:
    """It changes nothing."""

    def test_no_account_is_shown_and_none_is_made(self, ca: ScriptedCA, tmp_path: Path) -> None:
        """Not even a request."""
        assert ca.issuer(tmp_path).account.show(deadline=soon()) == Shown()
        assert ca.seen == []

    def test_what_the_ca_says_is_shown_beside_what_is_known_here(self, stand: Stand) -> None:
        """The thumbprint is what http-01 responders are given (RFC 7638)."""
        stand.ca.on("/accounts/1", Reply(200, {"status": "valid", "contact": ["mailto:a@b"]}))
        before = stand.files()
        shown = stand.another().account.show(deadline=soon())
        key = account_jwk(keys.load(stand.old))
        assert key is not None
        assert shown.thumbprint == b64encode(key.thumbprint()).decode()
        assert (shown.url, shown.key_type) == (f"{stand.ca.base}/accounts/1", "ecdsa-p256")
        assert shown.at_ca == AtTheCa("valid", ("mailto:a@b",))
        assert shown.created is not None
        assert (stand.files(), stand.records, shown.trouble) == (before, [], "")

    def test_a_ca_that_does_not_answer_hides_nothing(self, stand: Stand) -> None:
        """What is known here is shown, and why there is no more."""
        stand.ca.on("/accounts/1", ENDED)
        shown = stand.another().account.show(deadline=soon())
        assert (shown.at_ca, shown.key_type) == (None, "ecdsa-p256")
        assert "An account with this key is deactivated" in shown.trouble

    def test_the_new_key_is_used_where_the_ca_knows_that_one(self, stand: Stand) -> None:
        """An unfinished change is no reason to see nothing."""
        stand.begun()
        stand.ca.on("/accounts/1", Reply(400, problem("malformed", "JWS verification error")))
        shown = stand.another().account.show(deadline=soon())
        assert shown.at_ca == AtTheCa("valid")
        assert shown.is_changing
        assert shown.changing_since is not None

    def test_a_url_that_is_lost_is_asked_for(self, stand: Stand) -> None:
        """And not written down: nothing is."""
        (stand.folder / "account.json").unlink()
        stand.ca.on("/account", stand.known())
        assert stand.another().account.show(deadline=soon()).url == f"{stand.ca.base}/accounts/1"
        assert stand.files() == ["account.key"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"status": "valid"}, AtTheCa("valid")),
        ({"status": "revoked", "contact": None}, AtTheCa("revoked")),
        (
            {"status": "valid", "termsOfServiceAgreed": False, "contact": ["\x1b[2Jx", 7]},
            AtTheCa("valid", ("\\x1b[2Jx", "7"), terms=False),
        ),
        (
            {
                "status": "valid",
                "externalAccountBinding": {
                    "protected": b64encode(b'{"kid": "customer-7"}').decode()
                },
            },
            AtTheCa("valid", binding="customer-7"),
        ),
        ({"status": "valid", "externalAccountBinding": {"protected": "!"}}, AtTheCa("valid")),
        ({"status": "valid", "externalAccountBinding": 7}, AtTheCa("valid")),
        ({"status": "x" * 1000}, AtTheCa("x" * 40)),
        ({"status": "valid", "contact": ["a"] * 1000}, AtTheCa("valid", ("a",) * 20)),
    ],
)
def test_an_account_is_read_as_any_server_may_write_it(content: Any, found: AtTheCa) -> None:
    """RFC 8555 §7.1.2; nothing of it reaches a terminal as it is."""
    assert read_account(json.dumps(content).encode()) == found


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"7", b"{}", b'{"status": 7}'])
def test_what_is_no_account_is_refused(content: bytes) -> None:
    """A gateway's page."""
    with pytest.raises(NeedsOperator, match="not an account"):
        read_account(content)


class TestDeactivate:
    """RFC 8555 §7.3.6."""

    def test_orders_are_refused_from_then_on_and_the_key_stays(self, stand: Stand) -> None:
        """In this process, in others and in a dry run; nothing is asked of the CA for it."""
        stand.ca.on("/accounts/1", DEACTIVATED)
        url = stand.another().account.deactivate(deadline=soon())
        assert url == f"{stand.ca.base}/accounts/1"
        assert stand.ca.seen[-1].payload == {"status": "deactivated"}
        assert stand.records == ["account.deactivation_begun", "account.deactivated"]
        assert (stand.key(), stand.files()) == (stand.old, ["account.json", "account.key"])
        orders = stand.ca.asked("/orders")
        for dry in (True, False):
            with pytest.raises(NeedsOperator, match="was deactivated at") as failure:
                stand.another().preflight(deadline=soon(), dry=dry)
            assert "certrotd account new scripted" in failure.value.hint
        assert stand.ca.asked("/orders") == orders

        stand.ca.on("/orders", ENDED)  # a daemon that was there before
        with pytest.raises(NeedsOperator, match="was deactivated at"):
            stand.issuer.order([NAME], deadline=soon())
        assert stand.ca.asked("/account") == 1

    def test_it_is_done_once(self, stand: Stand) -> None:
        """The CA would refuse the second request."""
        ended(stand)
        asked = len(stand.ca.seen)
        stand.another().account.deactivate(deadline=soon())
        assert stand.records == []
        assert {seen.path for seen in stand.ca.seen[asked:]} <= {"/directory"}

    def test_one_whose_answer_was_lost_is_found_out(self, stand: Stand) -> None:
        """Killed in between, too: it is run again."""
        stand.ca.on("/accounts/1", ENDED)
        stand.ca.on("/account", ENDED)
        stand.another().account.deactivate(deadline=soon())
        assert stand.records[-1] == "account.deactivated"

    def test_a_refusal_is_reported_and_changes_nothing(self, stand: Stand) -> None:
        """The negative control: the account is as good as before."""
        stand.ca.on("/accounts/1", Reply(403, problem("unauthorized", "ask support")))
        stand.ca.on("/account", stand.known())
        with pytest.raises(Refused, match="ask support"):
            stand.another().account.deactivate(deadline=soon())
        stand.order()

    def test_a_ca_that_does_not_do_it_is_reported(self, stand: Stand) -> None:
        """It answers 200 and shows a valid account."""
        with pytest.raises(NeedsOperator, match="the account is valid"):
            stand.another().account.deactivate(deadline=soon())
        stand.order()

    def test_there_must_be_an_account(self, ca: ScriptedCA, tmp_path: Path) -> None:
        """None is registered to be ended."""
        with pytest.raises(NeedsOperator, match="no account yet"):
            ca.issuer(tmp_path).account.deactivate(deadline=soon())
        assert ca.asked("/account") == 0


class TestNew:
    """An account in the place of one that has ended."""

    def test_it_has_a_key_of_its_own(self, stand: Stand) -> None:
        """The CA refuses that of the old one for ever."""
        ended(stand)
        fresh = Reply(201, {"status": "valid"}, {"Location": f"{stand.ca.base}/accounts/2"})
        stand.ca.on("/account", fresh)
        url = stand.another().account.register_another(deadline=soon())
        assert url == f"{stand.ca.base}/accounts/2"
        assert stand.key() != stand.old
        assert stat.S_IMODE((stand.folder / "account.key").stat().st_mode) == 0o600
        assert stand.records == ["account.registered"]
        stand.order()
        assert stand.ca.seen[-1].header["kid"] == url

    def test_a_valid_account_is_not_replaced(self, stand: Stand) -> None:
        """The command for a new key is another one."""
        stand.ca.on("/account", stand.known())
        with pytest.raises(NeedsOperator, match="not deactivated") as failure:
            stand.another().account.register_another(deadline=soon())
        assert "account rollover scripted" in failure.value.hint
        assert stand.key() == stand.old

    def test_an_account_that_the_ca_itself_ended_is_replaced(self, stand: Stand) -> None:
        """Nobody has deactivated it here."""
        stand.ca.on("/account", ENDED)
        stand.another().account.register_another(deadline=soon())
        assert stand.key() != stand.old
        stand.order()

    def test_a_registration_that_fails_leaves_orders_refused(self, stand: Stand) -> None:
        """Half of an account is none; the same command again makes it."""
        ended(stand)
        stand.ca.on("/account", Reply(403, problem("externalAccountRequired", "who pays?")))
        with pytest.raises(Refused, match="who pays"):
            stand.another().account.register_another(deadline=soon())
        with pytest.raises(NeedsOperator, match="was deactivated at"):
            stand.order()
        stand.another().account.register_another(deadline=soon())
        stand.order()

    def test_the_key_of_an_ended_account_may_be_lost(self, stand: Stand) -> None:
        """It is good for nothing; that of a valid one is missed."""
        (stand.folder / "account.key").unlink()
        with pytest.raises(NeedsOperator, match=r"account\.key is gone"):
            stand.another().account.register_another(deadline=soon())
        (stand.folder / "account.key").write_bytes(stand.old)
        ended(stand)
        (stand.folder / "account.key").unlink()
        stand.another().account.register_another(deadline=soon())
        stand.order()

    def test_a_key_of_a_kind_that_the_ca_refuses_is_replaced(
        self, ca: ScriptedCA, tmp_path: Path
    ) -> None:
        """There never was an account of it; the configuration asks for another kind by now."""
        bad = Reply(400, problem("badPublicKey", "no P-256 here"))
        ca.on("/account", bad, bad)
        with pytest.raises(Refused, match="no P-256 here") as failure:
            ca.issuer(tmp_path).preflight(deadline=soon())
        assert "certrotd account new" in failure.value.hint
        issuer = ca.issuer(tmp_path, account_key="rsa-2048")
        issuer.account.register_another(deadline=soon())
        assert issuer.account.show(deadline=soon()).key_type == "rsa-2048"

    @pytest.mark.parametrize("lost", [("account.json",), ("account.json", "account.key")])
    def test_the_new_key_of_a_change_that_the_ca_took_is_kept(
        self, stand: Stand, lost: tuple[str, ...]
    ) -> None:
        """It is the only key of a valid account, whatever else was lost here."""
        stand.begun()
        new = stand.key("account.next.key")
        for each in lost:
            (stand.folder / each).unlink()
        stand.ca.on("/account", *[stand.known()] * 2)
        with pytest.raises(NeedsOperator, match="not deactivated"):
            stand.another().account.register_another(deadline=soon())
        assert stand.key() == new

    def test_an_account_that_the_ca_forgot_is_not_replaced(self, stand: Stand) -> None:
        """The next order registers it again, with the same key."""
        stand.ca.on("/account", UNKNOWN)
        with pytest.raises(NeedsOperator, match="not deactivated"):
            stand.another().account.register_another(deadline=soon())
        assert stand.key() == stand.old

    def test_a_first_account_needs_no_order(self, ca: ScriptedCA, tmp_path: Path) -> None:
        """To have its URL for a CAA record before anything is issued."""
        url = ca.issuer(tmp_path).account.register_another(deadline=soon())
        assert url == f"{ca.base}/accounts/1"


class TestImport:
    """An account that another program registered."""

    def test_it_is_used_from_then_on(self, ca: ScriptedCA, tmp_path: Path) -> None:
        """The CA names its URL; no account is registered."""
        stand, key = self._fresh(ca, tmp_path), keys.generate(keys.KeyType.RSA_2048)
        ca.on("/account", stand.known())
        for _ in range(2):
            url = stand.another().account.import_key(key, deadline=soon())
            assert url == f"{ca.base}/accounts/1"
            ca.on("/account", stand.known())
        ca.script["/account"].clear()
        assert {seen.payload["onlyReturnExisting"] for seen in ca.seen if seen.payload} == {True}
        assert stand.key() == keys.to_pem(key)
        assert stat.S_IMODE((stand.folder / "account.key").stat().st_mode) == 0o600
        assert stand.records == ["account.imported"] * 2
        asked = ca.asked("/account")
        stand.another(contact=("a@example.test",)).order([NAME], deadline=soon())
        assert ca.asked("/account") == asked
        assert ca.asked("/accounts/1") == 1  # the contacts are told: who knows what it has

    @pytest.mark.parametrize(
        ("reply", "words"), [(UNKNOWN, "knows no account of this key"), (ENDED, "of no use")]
    )
    def test_a_key_that_the_ca_does_not_take_is_not_kept(
        self, ca: ScriptedCA, tmp_path: Path, reply: Reply, words: str
    ) -> None:
        """It may be that of another CA, or of its staging environment."""
        stand = self._fresh(ca, tmp_path)
        ca.on("/account", reply)
        key = keys.generate(keys.KeyType.ECDSA_P256)
        with pytest.raises(NeedsOperator, match=words):
            stand.another().account.import_key(key, deadline=soon())
        assert not (stand.folder / "account.key").exists()
        assert stand.records == []

    def test_another_account_is_never_replaced(self, stand: Stand) -> None:
        """Before the CA is asked; how to go about it is said."""
        key, asked = keys.generate(keys.KeyType.ECDSA_P256), stand.ca.asked("/account")
        with pytest.raises(NeedsOperator, match="has another account") as failure:
            stand.another().account.import_key(key, deadline=soon())
        assert "account deactivate scripted" in failure.value.hint
        assert (stand.key(), stand.ca.asked("/account")) == (stand.old, asked)
        ended(stand)
        second = Reply(200, {"status": "valid"}, {"Location": f"{stand.ca.base}/accounts/2"})
        stand.ca.on("/account", second)
        stand.another().account.import_key(key, deadline=soon())
        assert stand.key() == keys.to_pem(key)
        stand.order()
        assert stand.ca.seen[-1].header["kid"] == f"{stand.ca.base}/accounts/2"

    def test_a_key_that_was_lost_comes_back_from_a_backup(self, stand: Stand) -> None:
        """That of another account does not take its place."""
        (stand.folder / "account.key").unlink()
        other = Reply(200, {"status": "valid"}, {"Location": f"{stand.ca.base}/accounts/2"})
        stand.ca.on("/account", other, stand.known())
        stranger = keys.generate(keys.KeyType.ECDSA_P256)
        with pytest.raises(NeedsOperator, match=r"has another account, .*/accounts/1"):
            stand.another().account.import_key(stranger, deadline=soon())
        stand.another().account.import_key(keys.load(stand.old), deadline=soon())
        assert stand.key() == stand.old
        stand.order()

    def test_a_kind_that_no_account_is_made_of_is_refused(self, stand: Stand) -> None:
        """Before anything else."""
        with pytest.raises(InvalidInput, match="ed25519"):
            stand.another().account.import_key(
                ed25519.Ed25519PrivateKey.generate(), deadline=soon()
            )

    def _fresh(self, ca: ScriptedCA, tmp_path: Path) -> Stand:
        stand = Stand(ca, tmp_path / "other")
        for each in stand.folder.iterdir():
            each.unlink()
        ca.seen.clear()
        return stand


RSA, EC = (keys.generate(kind) for kind in (keys.KeyType.RSA_2048, keys.KeyType.ECDSA_P384))


def written(key: Any, shape: str) -> bytes:
    """A key as other programs keep it."""
    if shape == "jwk":
        found = account_jwk(key)
        assert found is not None
        return json.dumps(found.to_json()).encode()
    forms = {"pkcs8": PrivateFormat.PKCS8, "traditional": PrivateFormat.TraditionalOpenSSL}
    encoding = Encoding.DER if shape == "der" else Encoding.PEM
    form = forms.get(shape, PrivateFormat.PKCS8)
    found_bytes: bytes = key.private_bytes(encoding, form, NoEncryption())
    return found_bytes


class TestKeyFiles:
    """Keys that other programs wrote."""

    @pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
    @pytest.mark.parametrize("shape", ["pkcs8", "traditional", "der", "jwk"])
    def test_every_form_is_the_same_key(self, tmp_path: Path, key: Any, shape: str) -> None:
        """PKCS#8, PKCS#1, SEC 1, and certbot's JSON Web Key."""
        path = tmp_path / "key"
        path.write_bytes(written(key, shape))
        path.chmod(0o400)
        assert keys.to_pem(read_account_key(path)) == keys.to_pem(key)

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_a_file_that_others_may_write_is_refused(self, tmp_path: Path, mode: int) -> None:
        """Whoever has the key can revoke what the account is given."""
        path = tmp_path / "key"
        path.write_bytes(written(EC, "pkcs8"))
        path.chmod(mode)
        with pytest.raises(NeedsOperator, match="may be written by others") as failure:
            read_account_key(path)
        assert f"chmod go-w {path}" in failure.value.hint
        path.chmod(0o644)  # who may read it is its owner's affair
        assert read_account_key(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"{}",
            b'{"kty": 7}',
            b'{"kty": "oct", "k": "c2VjcmV0"}',
            b'{"kty": "EC", "crv": "P-256", "x": "a", "y": 1, "d": []}',
            b"[" * 100_000,
            b"secret",
        ],
        ids=range(8),
    )
    def test_what_is_no_key_is_refused_without_a_trace_of_it(self, content: bytes) -> None:
        """It may be a secret of something else."""
        with pytest.raises(InvalidInput) as failure:
            parse_account_key(content, what="the file")
        assert str(failure.value).startswith("the file")
        assert "secret" not in str(failure.value)

    def test_a_public_key_is_refused(self) -> None:
        """certbot keeps one inside of regr.json."""
        found = account_jwk(EC)
        assert found is not None
        public = json.dumps(found.public_key().to_json()).encode()
        with pytest.raises(InvalidInput, match="with a private key"):
            parse_account_key(public, what="the file")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """A path with a letter wrong."""
        with pytest.raises(InvalidInput, match=r"there is no file .*/nothing"):
            read_account_key(tmp_path / "nothing")

    def test_a_kind_that_no_account_is_made_of_is_named(self, tmp_path: Path) -> None:
        """Some other program's key."""
        path = tmp_path / "key"
        path.write_bytes(keys.to_pem(ed25519.Ed25519PrivateKey.generate()))
        path.chmod(0o600)
        with pytest.raises(InvalidInput, match=f"{path} is ed25519"):
            read_account_key(path)
