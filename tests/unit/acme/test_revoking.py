"""What a CA answers to a revocation (RFC 8555 §7.6), and who signs for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from certrotd.acme.issuer import AcmeIssuer
from certrotd.certs.revoking import revoked_by
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki.keys import load
from certrotd.pki.revocation import ACCOUNT, CERTIFICATE_KEY, NotEntitled, RevocationRefused
from tests.builders import PAIR, soon
from tests.unit.acme.scripted import Reply, ScriptedCA, problem

WHERE = "/revoke"


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedCA]:
    """One whose directory says where it revokes."""
    with ScriptedCA(tmp_path / "ca") as found:
        plain = found._directory
        directory = lambda: {**plain(), "revokeCert": f"{found.base}{WHERE}"}  # noqa: E731
        monkeypatch.setattr(found, "_directory", directory)
        yield found


def registered(ca: ScriptedCA, path: Path) -> AcmeIssuer:
    """An issuer with an account."""
    issuer = ca.issuer(path)
    issuer.preflight(deadline=soon())
    return issuer


def ask(issuer: AcmeIssuer, by: str = "") -> str:
    """Who has signed, of the account and the certificate's key."""
    return revoked_by(
        lambda key: issuer.revoke(PAIR.certificate, 1, key=key, deadline=soon()),
        lambda: load(PAIR.key_pem),
        by,
    )


def test_no_account_is_registered_to_revoke(ca: ScriptedCA, tmp_path: Path) -> None:
    """It has ordered nothing, so the CA would refuse it: the certificate's key signs."""
    issuer = ca.issuer(tmp_path)
    ca.on(WHERE, Reply(200))
    assert ask(issuer) == CERTIFICATE_KEY
    assert ca.asked("/account") == 0
    with pytest.raises(RevocationRefused, match="issuer scripted has no account"):
        ask(issuer, ACCOUNT)


def test_the_key_signs_where_the_account_was_deactivated(ca: ScriptedCA, tmp_path: Path) -> None:
    """What is urgent does not wait for another account, which may not revoke it either."""
    issuer = registered(ca, tmp_path)
    ca.on("/accounts/1", Reply(200, {"status": "deactivated"}))
    issuer.account.deactivate(deadline=soon())
    ca.on(WHERE, Reply(200))
    assert ask(ca.issuer(tmp_path)) == CERTIFICATE_KEY
    with pytest.raises(RevocationRefused, match="was deactivated"):
        ask(issuer, ACCOUNT)


def test_an_account_whose_key_is_lost_is_no_refusal(ca: ScriptedCA, tmp_path: Path) -> None:
    """Somebody restores it, and the revocation is tried again."""
    registered(ca, tmp_path)
    next(tmp_path.rglob("account.key")).unlink()
    with pytest.raises(NeedsOperator, match="is gone") as raised:
        ask(ca.issuer(tmp_path))
    assert not isinstance(raised.value, RevocationRefused | NotEntitled)


def test_the_account_or_the_key_signs(ca: ScriptedCA, tmp_path: Path) -> None:
    """The account by its URL, the certificate's key by itself; a repeated one counts as done."""
    issuer = registered(ca, tmp_path)
    ca.on(WHERE, Reply(200), Reply(400, problem("alreadyRevoked")))
    key = load(PAIR.key_pem)
    assert issuer.revoke(PAIR.certificate, 4, key=None, deadline=soon()) is False
    assert issuer.revoke(PAIR.certificate, 1, key=key, deadline=soon()) is True
    by_account, by_key = (each for each in ca.seen if each.path == WHERE)
    assert (by_account.payload["reason"], by_key.payload["reason"]) == (4, 1)
    assert ("kid" in by_account.header, "jwk" in by_account.header) == (True, False)
    assert ("kid" in by_key.header, "jwk" in by_key.header) == (False, True)


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (Reply(403, problem("unauthorized")), NotEntitled),
        (Reply(400, problem("badRevocationReason", "not 5")), RevocationRefused),
        (Reply(404, problem("malformed")), RevocationRefused),
        (Reply(403, "<html>no</html>"), NeedsOperator),
        (Reply(503), Transient),
    ],
    ids=["another signer", "another reason", "unknown", "a gateway", "busy"],
)
def test_a_refusal_says_who_acts_next(
    ca: ScriptedCA, tmp_path: Path, reply: Reply, failure: type[Failure]
) -> None:
    """Only what the CA itself refuses for good is not tried again."""
    issuer = registered(ca, tmp_path)
    ca.on(WHERE, *[reply] * 9)
    with pytest.raises(failure) as raised:
        issuer.revoke(PAIR.certificate, 5, key=None, deadline=soon(2))
    settled = isinstance(raised.value, RevocationRefused | NotEntitled)
    assert settled == (failure in (RevocationRefused, NotEntitled))


def test_what_cannot_revoke_says_so(tmp_path: Path) -> None:
    """A CA without the service, and a key that signs nothing in ACME."""
    with ScriptedCA(tmp_path / "ca") as plain:
        issuer = registered(plain, tmp_path)
        with pytest.raises(RevocationRefused, match="has no revokeCert"):
            issuer.revoke(PAIR.certificate, 0, key=None, deadline=soon())
        key = ed25519.Ed25519PrivateKey.generate()
        with pytest.raises(NotEntitled, match="ed25519 does not sign"):
            issuer.revoke(PAIR.certificate, 0, key=key, deadline=soon())


@pytest.mark.parametrize("code", ["malformed", "unauthorized"])
def test_what_the_ca_says_of_a_former_key_is_no_refusal(
    ca: ScriptedCA, tmp_path: Path, code: str
) -> None:
    """Another process has changed the account's key: the new one asks, and nothing is lost."""
    issuer = registered(ca, tmp_path)
    ca.issuer(tmp_path).account.rollover(deadline=soon())
    ca.on(WHERE, Reply(403, problem(code)), Reply(200))
    assert issuer.revoke(PAIR.certificate, 4, key=None, deadline=soon()) is False
    ca.on(WHERE, Reply(403, problem(code)))
    with pytest.raises(NotEntitled if code == "unauthorized" else RevocationRefused):
        issuer.revoke(PAIR.certificate, 4, key=None, deadline=soon())
