"""Certificates revoked at real CAs: Pebble, whose management interface tells the status."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.pki import keys
from tests.parts import Bind, Parts, Pebble, Resolver, StepCA
from tests.parts.site import Site, orders, why_failed

pytestmark = pytest.mark.integration
APEX, WWW = "example.test", "www.example.test"


def status(ca: Pebble, site: Site, generation: int) -> str:
    """What the CA says of a generation of web."""
    return ca.certificate_status(site.leaf("web", generation).serial_number)


def test_a_live_certificate_is_replaced_with_a_new_key_and_then_revoked(
    acme_site: Site, ca: Pebble, parts: Parts
) -> None:
    """nginx serves the new one before the CA hears of the old one, which nothing goes back to."""
    site = acme_site
    site.certificate("web", WWW, key={"type": "ecdsa-p256", "reuse": True})
    site.serve(parts, {WWW: "web"})
    site.rotate()
    old = site.leaf("web", 1)

    refused = site.run("revoke", "web")
    assert refused.code == 2
    assert "it is live: it is replaced first" in refused.stderr
    assert (status(ca, site, 1), site.generation("web")) == ("Valid", 1)

    run = site.run("revoke", "web", "--reason", "keycompromise", "--confirm", "web", "--json")
    assert run.code == 0, run.stdout + run.stderr
    assert run.row("web")["revocation"]["by"] == "account"
    assert site.generation("web") == 2
    assert (status(ca, site, 1), status(ca, site, 2)) == ("Revoked", "Valid")
    assert site.leaf("web", 2).public_key() != old.public_key()
    [shown] = site.run("status", "--json", "--probe").json
    assert [each["current"] for each in shown["targets"]] == [True]
    assert shown["revocations"]["1"]["reason"] == "keyCompromise"
    assert "generation 1 is revoked (keyCompromise)" in site.run("status").stdout
    assert "revoked" in site.run("history", "web").stdout
    assert '"certificate.revoked"' in site.run("audit", "show", "--json").stdout

    back = site.run("rollback", "web", "--to", "1")
    assert back.code == 1
    assert "cannot go back to generation 1: generation 1 is revoked" in back.stdout + back.stderr
    assert site.run("rollback", "web").code == 1
    again = site.run("revoke", "web", "--generation", "1", "--confirm", "web")
    assert again.code == 1
    assert "nothing to revoke of generation 1: it is revoked since" in again.stderr

    # no other certificate is to have that key
    leaked = keys.load((site.store / "web/generations/000001/privkey.pem").read_bytes())
    csr = site.directory / "other.csr"
    csr.write_bytes(keys.signing_request(leaked, [APEX]))
    site.certificate("other", APEX, csr=str(csr))
    run = site.run("rotate", "other", "--json")
    assert run.code == 1
    assert "still that of the key that is compromised: that of generation 1 of web" in why_failed(
        run, "other"
    )
    csr.write_bytes(keys.signing_request(keys.generate(keys.KeyType.ECDSA_P256), [APEX]))
    assert site.run("rotate", "other", "--json").code == 0


def test_the_certificates_own_key_revokes_where_the_account_may_not(
    acme_site: Site, ca: Pebble, tmp_path: Path
) -> None:
    """Such as one of another account in a file; what is revoked already counts as done."""
    site, other = acme_site, Site(tmp_path / "other")
    site.certificate("web", WWW)
    site.rotate()
    other.config |= {k: site.config[k] for k in ("issuers", "solvers", "dns")}
    other.certificate("elsewhere", APEX)
    other.rotate()
    leaf = other.leaf("elsewhere")
    cert, key = tmp_path / "cert.pem", other.live("elsewhere") / "privkey.pem"
    cert.write_bytes(leaf.public_bytes(Encoding.PEM))

    unsure = site.run("revoke", "--file", str(cert))
    assert unsure.code == 2
    assert "nothing replaces it" in unsure.stderr
    alone = site.run("revoke", "--file", str(cert), "--confirm", APEX)
    assert alone.code == 1
    assert "the account may not revoke it" in alone.stderr
    account = ("--file", str(cert), "--key", str(key), "--confirm", APEX)
    refused = site.run("revoke", *account, "--by", "account")
    assert refused.code == 1
    assert ca.certificate_status(leaf.serial_number) == "Valid"
    done = site.run("revoke", *account)
    assert (done.code, done.stderr.splitlines()[-1]) == (
        0,
        f"{cert}: is revoked, at ca: unspecified",
    )
    assert ca.certificate_status(leaf.serial_number) == "Revoked"
    again = site.run("revoke", *account, "--by", "certificate-key")
    assert (again.code, "was revoked already" in again.stderr) == (0, True)
    ours = site.live("web") / "cert.pem"
    told = site.run("revoke", "--file", str(ours), "--confirm", WWW)
    assert (told.code, "is generation 1 of web" in told.stderr) == (2, True)

    before = other.run("revoke", "elsewhere", "--confirm", "elsewhere", "--json")
    assert before.code == 0, before.stdout + before.stderr
    assert other.generation("elsewhere") == 2


def test_what_is_not_replaced_is_not_revoked_unless_at_once(acme_site: Site, ca: Pebble) -> None:
    """--now is urgent: it waits for no rotation either, and what it revoked does not come back."""
    site = acme_site
    site.certificate("web", WWW, targets=["told"])
    refusal = site.directory / "refuse"
    site.command("told", f"[ ! -e {refusal} ]")
    site.rotate()
    refusal.touch()
    failed = site.run("revoke", "web", "--confirm", "web")
    assert failed.code == 1
    assert "generation 1 is NOT revoked" in failed.stderr
    assert (status(ca, site, 1), site.status("web")["state"]) == ("Valid", "in flight")

    count = orders(ca)
    now = site.run("revoke", "web", "--now", "--reason", "keyCompromise", "--confirm", "web")
    assert "revoked BEFORE there is another one" in now.stderr
    assert (now.code, status(ca, site, 1)) == (1, "Revoked"), "and its rotation is still stuck"
    refusal.unlink()
    site.rotate("web", expect=1)  # the undo ends, and goes back to nothing
    assert site.rotate("web").row("web")["decision"] == "deploy"
    assert (site.generation("web"), site.status("web")["state"]) == (2, "ok")
    assert orders(ca) == count, "what was issued before is deployed"


def test_a_ca_that_is_away_after_the_replacement_is_told_later(
    site: Site, zones: tuple[Bind, Resolver], module_parts: Parts
) -> None:
    """The new certificate is in place and stays; the next run has the old one revoked."""
    bind, resolver = zones
    ca = module_parts.start(StepCA, resolver=resolver.server, duration="24h")
    site.acme(ca, timeout="5s", request_timeout="2s")
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port)
    site.certificate("web", WWW, targets=["told"])
    site.command("told", f"[ ! -e {site.directory}/stop ] || kill $(cat {site.directory}/stop)")
    site.rotate()
    (site.directory / "stop").write_text(str(ca.pid))
    cut = site.run("revoke", "web", "--confirm", "web")
    assert cut.code == 1, cut.stdout + cut.stderr
    assert "still to be revoked: generation 1" in cut.stderr
    assert site.generation("web") == 2
    refused = site.run("rollback", "web")
    assert refused.code == 1
    (site.directory / "stop").unlink()
    ca.restart()
    done = site.rotate("web")
    assert done.row("web")["decision"] == "revoke"
    assert site.status("web")["revocations"]["1"]["done"]
    twice = site.run("revoke", "web", "--generation", "1", "--confirm", "web")
    assert "it is revoked since" in twice.stderr
