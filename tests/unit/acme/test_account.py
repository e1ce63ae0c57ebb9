"""One account per CA and name: made once, found again, never overwritten."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from certrotd.acme.account import AccountFolder
from certrotd.acme.issuer import AcmeIssuer
from certrotd.clock import Deadline, SystemClock
from certrotd.config.context import Surroundings
from certrotd.errors import LockHeld, NeedsOperator
from certrotd.pki import keys
from certrotd.state.lock import hold
from certrotd.state.ports import Conflict
from tests.builders import soon, state_folder
from tests.fakes.clock import Pauses
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA, context, problem

PROCESS = """
import sys
from pathlib import Path
from certrotd.acme.issuer import AcmeIssuer
from certrotd.clock import Deadline, SystemClock
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import AcmeEntry
from certrotd.state.directory import StateDirectory
url, bundle, state = sys.argv[1:]
entry = AcmeEntry(type="acme", directory=url, ca_bundle=bundle)
clock = SystemClock()
state = Path(state)
folder = StateDirectory(state, command="x", now=clock.now).folder("accounts/scripted")
context = IssuerContext("scripted", state, clock, folder=folder)
AcmeIssuer(entry, context).preflight(deadline=Deadline(clock, 60))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the account of the scripted CA is kept."""
    return tmp_path / "accounts" / "scripted"


def test_the_key_is_for_the_owner_alone(ca: ScriptedCA, tmp_path: Path, folder: Path) -> None:
    """It can revoke every certificate of the account."""
    ca.issuer(tmp_path).preflight(deadline=soon())
    assert stat.S_IMODE((folder / "account.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    record = json.loads((folder / "account.json").read_text())
    assert record["url"] == f"{ca.base}/accounts/1"
    assert record["directory"] == ca.url
    assert record["created"].endswith("+00:00")
    assert sorted(path.name for path in folder.iterdir()) == ["account.json", "account.key"]


def test_making_an_issuer_touches_nothing(ca: ScriptedCA, tmp_path: Path, folder: Path) -> None:
    """Showing a status builds issuers too."""
    ca.issuer(tmp_path)
    assert not folder.exists()
    assert ca.seen == []


def test_an_account_is_registered_once_over_several_runs(ca: ScriptedCA, tmp_path: Path) -> None:
    """Registrations are rate limited, and a new one loses valid authorizations."""
    for _ in range(3):
        ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert ca.asked("/account") == 1


def test_contacts_and_agreement_are_sent(ca: ScriptedCA, tmp_path: Path) -> None:
    """As RFC 8555 §7.3 has them."""
    ca.meta = {"termsOfService": "https://ca.example/terms"}
    issuer = ca.issuer(tmp_path, contact=("a@example.test",), agree_to_terms=True)
    issuer.preflight(deadline=soon())
    (sent,) = (seen.payload for seen in ca.seen if seen.path == "/account")
    assert sent == {"contact": ["mailto:a@example.test"], "termsOfServiceAgreed": True}


def test_a_changed_contact_reaches_the_ca_once(ca: ScriptedCA, tmp_path: Path) -> None:
    """Warnings of expiry and of revocation went to who had left."""
    ca.issuer(tmp_path, contact=("old@example.test",)).preflight(deadline=soon())
    for _ in range(2):
        ca.issuer(tmp_path, contact=("new@example.test", "b@example.test")).order(
            [NAME], deadline=soon()
        )
    [told] = [seen for seen in ca.seen if seen.path == "/accounts/1"]
    assert told.payload == {"contact": ["mailto:new@example.test", "mailto:b@example.test"]}
    assert told.header["kid"] == f"{ca.base}/accounts/1"
    ca.issuer(tmp_path).preflight(deadline=soon())
    assert ca.seen[-1].payload == {"contact": []}
    assert ca.asked("/account") == 1


def test_an_unchanged_contact_is_not_sent_again(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control: one request less at every start."""
    for _ in range(3):
        ca.issuer(tmp_path, contact=("a@example.test",)).order([NAME], deadline=soon())
    assert ca.asked("/accounts/1") == 0


def test_the_contact_of_an_account_found_again_is_sent(
    ca: ScriptedCA, tmp_path: Path, folder: Path
) -> None:
    """Of one that exists the CA passes over what a registration says (RFC 8555 §7.3.1)."""
    ca.issuer(tmp_path, contact=("old@example.test",)).preflight(deadline=soon())
    (folder / "account.json").unlink()
    ca.on("/account", Reply(200, {"status": "valid"}, {"Location": f"{ca.base}/accounts/1"}))
    ca.issuer(tmp_path, contact=("new@example.test",)).preflight(deadline=soon())
    assert ca.seen[-1].payload == {"contact": ["mailto:new@example.test"]}


def test_a_contact_that_the_ca_refuses_is_reported_and_stops_nothing(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """A certificate does not expire for an address; the next start tries again."""
    ca.issuer(tmp_path).preflight(deadline=soon())
    told, entry = Told(), ca.entry(contact=("x@example.test",))
    ca.on("/accounts/1", Reply(400, problem("invalidContact", "no such domain")))
    issuer = AcmeIssuer(entry, context(tmp_path, site=told.site))
    for _ in range(2):
        issuer.order([NAME], deadline=soon())
    [line] = told.lines
    assert "issuer scripted: the changed contact is refused" in line
    assert "no such domain" in line
    AcmeIssuer(entry, context(tmp_path, site=told.site)).preflight(deadline=soon())
    assert ca.asked("/accounts/1") == 2
    assert len(told.lines) == 1


def test_terms_not_agreed_to_are_shown_and_nothing_is_registered(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """Agreeing is the operator's, not the program's."""
    ca.meta = {"termsOfService": "https://ca.example/terms"}
    with pytest.raises(NeedsOperator, match=r"https://ca\.example/terms") as failure:
        ca.issuer(tmp_path).preflight(deadline=soon())
    assert "agree_to_terms: true" in failure.value.hint
    assert ca.asked("/account") == 0


def test_a_dry_run_registers_nothing_and_finds_what_would_fail(
    ca: ScriptedCA, tmp_path: Path, folder: Path
) -> None:
    """The CA is asked for its directory alone; terms and a damaged key are told all the same."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon(), dry=True)
    assert not folder.exists()
    assert {seen.path for seen in ca.seen} == {"/directory"}
    ca.meta = {"termsOfService": "https://ca.example/terms"}
    with pytest.raises(NeedsOperator, match=r"https://ca\.example/terms"):
        ca.issuer(tmp_path).preflight(deadline=soon(), dry=True)
    ca.meta = {}
    issuer.preflight(deadline=soon())
    (folder / "account.key").write_bytes(b"damaged")
    with pytest.raises(NeedsOperator, match=r"account\.key"):
        ca.issuer(tmp_path).preflight(deadline=soon(), dry=True)


def test_a_lost_record_is_asked_for_again_with_the_same_key(
    ca: ScriptedCA, tmp_path: Path, folder: Path
) -> None:
    """The key is the account: the CA answers 200 with the URL it has (RFC 8555 §7.3.1)."""
    ca.issuer(tmp_path).preflight(deadline=soon())
    key = (folder / "account.key").read_bytes()
    for damage in (b"", b"{", b"[]", b'{"directory": 7}', b"[" * 50_000):
        (folder / "account.json").write_bytes(damage)
        ca.on("/account", Reply(200, {"status": "valid"}, {"Location": f"{ca.base}/accounts/1"}))
        ca.issuer(tmp_path).preflight(deadline=soon())
        assert json.loads((folder / "account.json").read_text())["url"] == f"{ca.base}/accounts/1"
    (folder / "account.json").unlink()
    ca.issuer(tmp_path).preflight(deadline=soon())
    assert (folder / "account.key").read_bytes() == key
    jwks = [seen.header["jwk"] for seen in ca.seen if seen.path == "/account"]
    assert len(jwks) == 7
    assert all(jwk == jwks[0] for jwk in jwks)


def test_a_new_directory_gets_the_same_key_and_its_own_url(
    ca: ScriptedCA, tmp_path: Path, folder: Path
) -> None:
    """From staging to production under one name."""
    ca.issuer(tmp_path).preflight(deadline=soon())
    record = json.loads((folder / "account.json").read_text())
    other = {**record, "directory": "https://staging.example/directory", "url": "https://x.example"}
    (folder / "account.json").write_text(json.dumps(other))
    ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert json.loads((folder / "account.json").read_text())["url"] == record["url"]
    assert ca.asked("/account") == 2


@pytest.mark.parametrize("record", [None, b"", b"{", b"{}"])
def test_a_lost_key_beside_its_account_file_is_refused_with_the_two_ways_out(
    ca: ScriptedCA, tmp_path: Path, folder: Path, record: bytes | None
) -> None:
    """A new key was written next to the old URL, and every order failed with a misleading hint."""
    ca.issuer(tmp_path).preflight(deadline=soon())
    key = (folder / "account.key").read_bytes()
    (folder / "account.key").unlink()
    if record is not None:
        (folder / "account.json").write_bytes(record)
    before = ca.asked("/account")
    for _ in range(2):
        with pytest.raises(NeedsOperator, match=r"account\.key is gone") as failure:
            ca.issuer(tmp_path).preflight(deadline=soon())
        assert "restore the key from a backup" in failure.value.hint
        assert f"remove {folder / 'account.json'}" in failure.value.hint
        assert not (folder / "account.key").exists()
    assert ca.asked("/account") == before

    (folder / "account.key").write_bytes(key)  # the one way out
    ca.issuer(tmp_path).order([NAME], deadline=soon())
    (folder / "account.key").unlink()
    (folder / "account.json").unlink()  # and the other
    ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert (folder / "account.key").read_bytes() != key


class Told:
    """What an issuer tells the rest of the site, on which these certificates are live."""

    def __init__(self, *issued: str) -> None:
        self.records: list[tuple[str, dict[str, object]]] = []
        self.lines: list[str] = []
        self.site = Surroundings(lambda: issued, self._record, self.lines.append)

    def _record(self, event: str, **details: object) -> None:
        self.records.append((event, details))


def test_a_first_account_is_recorded_without_a_line(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control: nothing is lost."""
    told = Told()
    AcmeIssuer(ca.entry(), context(tmp_path, site=told.site)).preflight(deadline=soon())
    details = {"url": f"{ca.base}/accounts/1", "directory": ca.url, "instead_of": ""}
    assert told.records == [("account.registered", details)]
    assert told.lines == []


def test_an_account_that_is_lost_is_registered_again_aloud(ca: ScriptedCA, tmp_path: Path) -> None:
    """Budgets, authorizations and what the CA was told of the old one are gone with it."""
    told = Told("web", "mail")
    AcmeIssuer(ca.entry(), context(tmp_path, site=told.site)).preflight(deadline=soon())
    assert [event for event, _ in told.records] == ["account.registered"]
    [line] = told.lines
    assert "issuer scripted: a new account is registered" in line
    assert "the one before is lost here; it issued web, mail" in line


def test_an_account_that_the_ca_forgot_is_registered_again_aloud(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """As one that was lost here."""
    told = Told()
    issuer = AcmeIssuer(ca.entry(), context(tmp_path, site=told.site))
    ca.on("/orders", Reply(400, problem("accountDoesNotExist", "who?")))
    issuer.order([NAME], deadline=soon())
    assert [event for event, _ in told.records] == ["account.registered"] * 2
    assert told.records[1][1]["instead_of"] == f"{ca.base}/accounts/1"
    assert f"the CA forgot {ca.base}/accounts/1" in told.lines[0]


def test_an_account_that_the_ca_still_has_is_no_new_one(ca: ScriptedCA, tmp_path: Path) -> None:
    """The key is the account: only its file was lost."""
    told = Told("web")
    ca.on("/account", Reply(200, {"status": "valid"}, {"Location": f"{ca.base}/accounts/1"}))
    AcmeIssuer(ca.entry(), context(tmp_path, site=told.site)).preflight(deadline=soon())
    assert (told.records, told.lines) == ([], [])


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_key_that_cannot_be_read_is_never_overwritten(
    ca: ScriptedCA, tmp_path: Path, folder: Path, content: bytes
) -> None:
    """Generating over it would lose the account for good."""
    folder.mkdir(parents=True)
    (folder / "account.key").write_bytes(content)
    with pytest.raises(NeedsOperator, match=r"account\.key is") as failure:
        ca.issuer(tmp_path).preflight(deadline=soon())
    assert "backup" in failure.value.hint
    assert (folder / "account.key").read_bytes() == content


def test_a_key_that_another_process_made_meanwhile_is_never_overwritten(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that stalls between its look and its write loses the lock without knowing."""
    first, second = (
        AccountFolder(state_folder(tmp_path, "accounts/scripted", SystemClock().now), directory="x")
        for _ in range(2)
    )
    made = keys.generate
    kept: list[bytes] = []

    def stalled(key_type: keys.KeyType) -> keys.PrivateKey:
        monkeypatch.setattr(keys, "generate", made)
        second.key(key_type)
        kept.append((folder / "account.key").read_bytes())
        return made(key_type)

    monkeypatch.setattr(keys, "generate", stalled)
    with pytest.raises(Conflict, match=r"account\.key was made meanwhile"):
        first.key(keys.KeyType.ECDSA_P256)
    assert [(folder / "account.key").read_bytes()] == kept
    assert first.key(keys.KeyType.ECDSA_P256) == second.key(keys.KeyType.ECDSA_P256)


def test_a_key_of_another_kind_is_named(ca: ScriptedCA, tmp_path: Path, folder: Path) -> None:
    """Somebody put it there; it is not ours to replace."""
    folder.mkdir(parents=True)
    (folder / "account.key").write_bytes(keys.to_pem(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(NeedsOperator, match=r"account\.key is ed25519"):
        ca.issuer(tmp_path).preflight(deadline=soon())


def test_threads_make_one_account(ca: ScriptedCA, tmp_path: Path) -> None:
    """A first start with a hundred certificates due."""
    issuers = [ca.issuer(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(9) as pool:
        orders = list(pool.map(lambda n: issuers[n % 3].order([NAME], deadline=soon()), range(18)))
    assert len(orders) == 18
    assert ca.asked("/account") == 1


def test_processes_make_one_account(ca: ScriptedCA, tmp_path: Path, folder: Path) -> None:
    """The daemon and a command at the shell at the same time."""
    argv = [sys.executable, "-c", PROCESS, ca.url, str(ca.ca_file), str(tmp_path)]
    running = [subprocess.Popen(argv) for _ in range(3)]
    assert [process.wait(timeout=100) for process in running] == [0, 0, 0]
    assert ca.asked("/account") == 1
    assert keys.load((folder / "account.key").read_bytes())


def test_an_account_that_stays_locked_is_reported(
    ca: ScriptedCA, tmp_path: Path, folder: Path
) -> None:
    """By whom, so that somebody can look."""
    clock = Pauses(3)
    lock = folder.with_name("scripted.lock")
    with (
        hold(lock, what="it", command="certrotd rotate", now=clock.now()),
        pytest.raises(LockHeld, match="certrotd rotate"),
    ):
        ca.issuer(tmp_path).preflight(deadline=Deadline(clock, 30))


def test_an_account_the_ca_forgot_is_registered_again_once(
    ca: ScriptedCA, tmp_path: Path, folder: Path
) -> None:
    """A test CA restarted, a CA's database restored."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon())
    key = (folder / "account.key").read_bytes()
    gone = Reply(400, problem("accountDoesNotExist", "who?"))
    fresh = Reply(201, {"status": "valid"}, {"Location": f"{ca.base}/accounts/2"})
    ca.on("/orders", gone)
    ca.on("/account", fresh)
    issuer.order([NAME], deadline=soon())
    assert ca.seen[-1].header["kid"] == f"{ca.base}/accounts/2"
    assert json.loads((folder / "account.json").read_text())["url"] == f"{ca.base}/accounts/2"
    assert (folder / "account.key").read_bytes() == key

    ca.on("/orders", gone, gone)
    with pytest.raises(NeedsOperator, match="accountDoesNotExist"):
        issuer.order([NAME], deadline=soon())


@pytest.mark.parametrize("kind", ["unauthorized", "malformed", "accountDoesNotExist"])
def test_a_wrong_account_url_does_not_stick(
    ca: ScriptedCA, tmp_path: Path, folder: Path, kind: str
) -> None:
    """From another backup, or a hand: every order failed for ever, and the hint was another's."""
    ca.issuer(tmp_path).preflight(deadline=soon())
    right = (folder / "account.json").read_text()
    (folder / "account.json").write_text(right.replace("/accounts/1", "/accounts/999"))
    ca.on("/orders", Reply(403, problem(kind, "JWS verification error")))
    known = Reply(200, {"status": "valid"}, {"Location": f"{ca.base}/accounts/1"})
    ca.on("/account", known, known)
    told = Told("web")
    issuer = AcmeIssuer(ca.entry(), context(tmp_path, site=told.site))
    issuer.order([NAME], deadline=soon())
    assert ca.seen[-1].header["kid"] == f"{ca.base}/accounts/1"
    assert json.loads((folder / "account.json").read_text())["url"] == f"{ca.base}/accounts/1"
    assert (told.records, told.lines) == ([], [])  # no new account


def test_a_wrong_account_url_costs_no_order(ca: ScriptedCA, tmp_path: Path, folder: Path) -> None:
    """Coming back to an order, the CA calls it somebody else's."""
    url = ca.issuer(tmp_path).order([NAME], deadline=soon()).url
    right = (folder / "account.json").read_text()
    (folder / "account.json").write_text(right.replace("/accounts/1", "/accounts/999"))
    ca.on("/order", Reply(403, problem("unauthorized", "not your order")))
    known = Reply(200, {"status": "valid"}, {"Location": f"{ca.base}/accounts/1"})
    ca.on("/account", known, known)
    assert ca.issuer(tmp_path).resume(url, deadline=soon()).url == url


def test_a_refusal_that_has_nothing_to_do_with_the_account_is_reported(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The negative control: the account is the key's, and nothing is asked twice."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon())
    ca.on("/orders", Reply(403, problem("unauthorized", "not entitled")))
    with pytest.raises(NeedsOperator, match="not entitled"):
        issuer.order([NAME], deadline=soon())
    assert ca.asked("/orders") == 1


def test_a_registration_that_says_no_url_is_reported(ca: ScriptedCA, tmp_path: Path) -> None:
    """Nothing could be signed with it."""
    ca.on("/account", Reply(201, {"status": "valid"}))
    with pytest.raises(NeedsOperator, match="gave no URL for it"):
        ca.issuer(tmp_path).preflight(deadline=soon())
