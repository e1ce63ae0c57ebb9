"""The life of an account at real CAs: its key changed, itself ended, replaced, brought along."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certrotd.acme.account_keys import read_account_key
from certrotd.acme.issuer import AcmeIssuer
from certrotd.acme.key_change import KeyChange
from certrotd.acme.problems import Busy, Refused
from certrotd.config.context import IssuerContext
from certrotd.errors import NeedsOperator, Transient
from certrotd.state.ports import State
from tests.builders import soon
from tests.integration.cluster_home import Home
from tests.integration.test_acme import CLOCK, bound, issuer_of, obtain, publish
from tests.parts import Bind, Parts, Pebble, Resolver, StepCA, locate
from tests.parts.kubernetes import ControlPlane
from tests.parts.site import Site
from tests.unit.acme.scripted import CSR, acme_entry
from tests.unit.acme.scripted import NAME as CSR_NAME

StartPebble = Callable[..., Pebble]


@pytest.fixture(scope="module")
def dns(zones: tuple[Bind, Resolver]) -> Bind:
    """The name server that the CAs look at."""
    return zones[0]


@pytest.fixture(scope="module")
def stepca(module_parts: Parts, dns: Bind) -> StepCA:
    """A CA that names a URL for changes of keys and does nothing there."""
    locate.require("step-ca")
    return module_parts.start(StepCA, resolver=dns.server)


def accounts(pebble: Pebble) -> int:
    """How many a Pebble has registered."""
    return pebble.log_file.read_text(errors="replace").count("accounts in memory")


@pytest.mark.parametrize("percent", [5, 20, 50])
def test_an_account_goes_on_under_new_keys(
    pebble: StartPebble, dns: Bind, tmp_path: Path, percent: int
) -> None:
    """Of every type, and back; a nonce that is refused is no answer to a change."""
    server = pebble(dns=dns.server, nonce_reject=percent, retry_after=0)
    issuer = issuer_of(server, tmp_path)
    obtain(issuer, dns, [f"first{percent}.example.test"])
    url, seen = issuer.account.show(deadline=soon()).url, set()
    for kind in ("rsa-2048", "ecdsa-p384", "ecdsa-p256", "ecdsa-p256"):
        changed = issuer_of(server, tmp_path, account_key=kind)
        assert changed.account.rollover(deadline=soon()).url == url
        shown = issuer_of(server, tmp_path).account.show(deadline=soon())
        assert (shown.url, shown.key_type, shown.trouble) == (url, kind, "")
        assert shown.at_ca
        assert shown.at_ca.status == "valid"
        seen.add(shown.thumbprint)
        obtain(issuer_of(server, tmp_path), dns, [f"{kind}{percent}.example.test"])
        obtain(issuer, dns, [f"{kind}{percent}.example.test"])  # which has had the old key
    assert (len(seen), accounts(server)) == (4, 1)


def test_a_rotation_that_is_under_way_survives_a_new_key(
    ca: Pebble, dns: Bind, tmp_path: Path
) -> None:
    """Proofs are made anew, and no validation fails for them; proven names stay proven."""
    daemon, command = (issuer_of(ca, tmp_path) for _ in range(2))
    order = daemon.order([CSR_NAME], deadline=soon())
    publish(dns, order.challenges())
    command.account.rollover(deadline=soon())
    with pytest.raises(Transient, match="key was changed while names were being proven"):
        order.validate()
    resumed = daemon.resume(order.url, deadline=soon())
    publish(dns, resumed.challenges())
    resumed.validate()
    command.account.rollover(deadline=soon())
    assert resumed.finalize(CSR)


def test_orders_and_new_keys_meet_without_a_second_account(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """Several threads order while the key changes under them; each is done or put off."""
    server = pebble(dns=dns.server, nonce_reject=20, retry_after=0)
    daemon = issuer_of(server, tmp_path)
    daemon.preflight(deadline=soon())

    def one(number: int) -> int:
        for tries in range(1, 11):
            try:
                obtain(daemon, dns, [f"meet{number}.example.test"])
            except Transient as failure:
                if "key was changed" not in str(failure):
                    raise
            else:
                return tries
        raise AssertionError("put off ten times")

    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(one, number) for number in range(12)]
        for _ in range(3):
            issuer_of(server, tmp_path).account.rollover(deadline=soon())
        assert all(each.result(timeout=300) for each in running)
    assert accounts(server) == 1
    folder = tmp_path / "accounts" / "test"
    assert {each.name for each in folder.iterdir()} == {"account.key", "account.json"}


def test_an_account_that_is_bound_to_a_customer_stays_bound(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """A new key needs no binding, nor does whoever brings the account along; a new account does."""
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    server = pebble(dns=dns.server, eab={"customer-7": key}, retry_after=0)
    eab = bound(tmp_path, "customer-7", key)
    issuer = issuer_of(server, tmp_path / "one", eab=eab)
    url = issuer.account.register_another(deadline=soon())
    issuer.account.rollover(deadline=soon())
    shown = issuer.account.show(deadline=soon()).at_ca
    assert shown
    assert (shown.status, shown.binding) == ("valid", "customer-7")

    other = issuer_of(server, tmp_path / "two")
    theirs = read_account_key(tmp_path / "one" / "accounts" / "test" / "account.key")
    assert other.account.import_key(theirs, deadline=soon()) == url
    obtain(other, dns, ["bound.example.test"])
    other.account.deactivate(deadline=soon())
    with pytest.raises(Refused, match="externalAccountRequired"):
        other.account.register_another(deadline=soon())
    again = issuer_of(server, tmp_path / "two", eab=eab).account
    assert again.register_another(deadline=soon()) != url


def test_step_ca_changes_no_keys_and_the_account_is_as_before(
    stepca: StepCA, dns: Bind, tmp_path: Path
) -> None:
    """It answers 501; nothing is left of the change."""
    issuer = issuer_of(stepca, tmp_path)
    obtain(issuer, dns, ["before.example.test"])
    folder = tmp_path / "accounts" / "test"
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    with pytest.raises(Busy, match="not implemented"):
        issuer.account.rollover(deadline=soon())
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    obtain(issuer_of(stepca, tmp_path), dns, ["after.example.test"])


@pytest.mark.parametrize("which", ["pebble", "step-ca"])
def test_an_account_that_has_ended_orders_nothing_until_another_is_made(
    which: str, request: pytest.FixtureRequest, dns: Bind, tmp_path: Path
) -> None:
    """A daemon that knows nothing of it says the same as everybody."""
    server: Pebble | StepCA = request.getfixturevalue("ca" if which == "pebble" else "stepca")
    daemon = issuer_of(server, tmp_path)
    names = [f"ended-{which}.example.test"]
    obtain(daemon, dns, names)
    url = issuer_of(server, tmp_path).account.deactivate(deadline=soon())
    for issuer in (daemon, issuer_of(server, tmp_path)):
        with pytest.raises(NeedsOperator, match="was deactivated at") as failure:
            issuer.order(names, deadline=soon())
        assert "certrotd account new test" in failure.value.hint
    with pytest.raises(NeedsOperator, match="was deactivated at"):
        issuer_of(server, tmp_path).account.rollover(deadline=soon())
    assert issuer_of(server, tmp_path).account.show(deadline=soon()).at_ca is None
    fresh = issuer_of(server, tmp_path).account.register_another(deadline=soon())
    assert fresh != url
    obtain(daemon, dns, names)


def test_an_account_that_was_ended_elsewhere_can_be_replaced(ca: Pebble, tmp_path: Path) -> None:
    """Its file is another installation's, and says nothing of that."""
    issuer_of(ca, tmp_path / "one").preflight(deadline=soon())
    key = tmp_path / "one" / "accounts" / "test" / "account.key"
    (tmp_path / "two" / "accounts" / "test").mkdir(parents=True)
    (tmp_path / "two" / "accounts" / "test" / "account.key").write_bytes(key.read_bytes())
    issuer_of(ca, tmp_path / "two").account.deactivate(deadline=soon())
    with pytest.raises(Refused, match="deactivated"):
        issuer_of(ca, tmp_path / "one").order(["x.example.test"], deadline=soon())
    issuer_of(ca, tmp_path / "one").account.register_another(deadline=soon())
    issuer_of(ca, tmp_path / "one").order(["x.example.test"], deadline=soon())


def test_a_change_that_a_pod_did_not_finish_is_finished_by_another(
    control_plane: ControlPlane, ca: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both keys are in one Secret, and nothing else of the account changes."""
    home = Home.made(control_plane)
    one, two = home.state(), home.state()
    in_cluster(ca, one, tmp_path).preflight(deadline=soon())
    folder = two.folder("accounts/ca")
    old = folder.read("account.key", limit=9999)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KeyChange, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            in_cluster(ca, one, tmp_path).account.rollover(deadline=soon())
    assert folder.names() == {"account.key", "account.json", "account.next.key"}
    made = accounts(ca)
    in_cluster(ca, two, tmp_path).order(["pod.example.test"], deadline=soon())
    assert folder.names() == {"account.key", "account.json"}
    assert folder.read("account.key", limit=9999) != old
    in_cluster(ca, one, tmp_path).account.rollover(deadline=soon())
    in_cluster(ca, two, tmp_path).order(["pod.example.test"], deadline=soon())
    assert accounts(ca) == made


def in_cluster(ca: Pebble, state: State, tmp_path: Path) -> AcmeIssuer:
    """An issuer whose account is in a Secret."""
    entry = acme_entry(ca.directory_url, ca.ca_file, agree_to_terms=True)
    folder = state.folder("accounts/ca")
    return AcmeIssuer(entry, IssuerContext("ca", tmp_path, CLOCK, folder=folder))


def test_the_commands_say_what_they_do(acme_site: Site, ca: Pebble) -> None:
    """As people and programs see them, from the first account to the second."""
    site = acme_site
    site.acme(ca, contact=["ops@example.test"])
    site.internal("lab")
    site.certificate("web", "life.example.test", issuer="ca")
    site.rotate()
    [shown] = site.run("account", "show", "--json").json  # of an internal issuer there is none
    assert (shown["issuer"], shown["status"], shown["key"]) == ("ca", "valid", "ecdsa-p256")
    assert (shown["contact_at_ca"], shown["used_by"]) == (["mailto:ops@example.test"], ["web"])

    site.acme(ca, contact=["new@example.test"], account_key="ecdsa-p384")
    assert "certrotd account rollover ca makes it that" in site.run("account", "show").stdout
    rolled = site.run("account", "rollover", "ca", "--json").json
    assert rolled == {"issuer": "ca", "url": shown["url"], "key": "ecdsa-p384"}
    site.rotate("--force")
    [after] = site.run("account", "show", "ca", "--json").json
    assert after["contact_at_ca"] == ["mailto:new@example.test"]
    assert after["thumbprint"] != shown["thumbprint"]

    refused = site.run("account", "deactivate", "ca")
    assert (refused.code, "web cannot be renewed by it then" in refused.stderr) == (2, True)
    ended = site.run("account", "deactivate", "ca", "--confirm", "ca")
    assert (ended.code, "account new ca" in ended.stderr) == (0, True)
    assert site.run("account", "show").code == 1
    row = site.rotate("--force", expect=1).row("web")
    assert "the account at the CA ca was deactivated" in row["why"]
    assert "certrotd account new ca" in row["why"]
    leaf = site.leaf("web")
    assert site.run("account", "new", "ca").code == 0
    site.rotate("--force")
    assert site.leaf("web") != leaf
    events = [each["event"] for each in site.run("audit", "show", "--json", "-n", "99").json]
    assert [each.removeprefix("account.") for each in events if each.startswith("account.")] == [
        *("registered", "rollover_begun", "rolled_over", "contact_changed"),
        *("deactivation_begun", "deactivated", "registered"),
    ]


def test_certbot_s_account_is_used_from_now_on(acme_site: Site, ca: Pebble, tmp_path: Path) -> None:
    """Its CAA records and its rate limits go on; certbot's files stay as they are."""
    program, site = locate.require("certbot"), acme_site
    argv: list[str | Path] = [program, "register", "-n", "--agree-tos", "-m", "ops@example.test"]
    argv += [f"--{each}-dir={tmp_path / 'certbot' / each}" for each in ("config", "work", "logs")]
    argv += ["--server", ca.directory_url]
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": str(ca.ca_file)}
    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [key] = (tmp_path / "certbot" / "config" / "accounts").rglob("private_key.json")
    theirs = json.loads(key.with_name("regr.json").read_text())["uri"]
    made, content = accounts(ca), key.read_bytes()

    key.chmod(0o620)
    refused = site.run("account", "import", "ca", "--key", str(key))
    assert (refused.code, "may be written by others" in refused.stderr) == (1, True)
    key.chmod(0o400)
    for _ in range(2):
        run = site.run("account", "import", "ca", "--key", str(key), "--json")
        assert (run.code, run.json) == (0, {"issuer": "ca", "url": theirs})
    ours = site.state / "accounts" / "ca" / "account.key"
    assert (ours.stat().st_mode & 0o777, key.read_bytes()) == (0o600, content)
    site.certificate("web", "certbot.example.test")
    site.rotate()
    assert accounts(ca) == made

    rolled = site.run("account", "rollover", "ca")  # certbot uses RSA, the default is none
    assert rolled.code == 0, rolled.stderr
    again = site.run("account", "import", "ca", "--key", str(key))
    assert (again.code, "has another account" in again.stderr) == (1, True)
    site.rotate("--force")
    assert accounts(ca) == made


def test_a_key_of_another_ca_is_not_taken(
    acme_site: Site, ca: Pebble, stepca: StepCA, tmp_path: Path
) -> None:
    """An account is at one directory, and a key that is unknown there is of no use."""
    issuer_of(stepca, tmp_path).preflight(deadline=soon())
    key, made = tmp_path / "accounts" / "test" / "account.key", accounts(ca)
    run = acme_site.run("account", "import", "ca", "--key", str(key))
    assert (run.code, "knows no account of this key" in run.stderr) == (1, True)
    assert not (acme_site.state / "accounts" / "ca" / "account.key").exists()
    assert accounts(ca) == made
