"""CAs and name servers that fail: one line says so, nothing is left, and the others are done."""

import re
import sys
from collections.abc import Iterator

import pytest

from tests.parts import Bind, Parts, Pebble, Resolver, locate
from tests.parts.bind import TsigKey
from tests.parts.site import Run, Site, exposed_keys, orders, why_failed

HOST, CHALLENGE = "example.test", "_acme-challenge.example.test"


@pytest.fixture
def day(acme_site: Site, zones: tuple[Bind, Resolver]) -> Iterator[Site]:
    """A configuration with one certificate that will fail and two that have nothing to do with it.

    Whatever the test does, nothing may be left of it afterwards.
    """
    site, bind = acme_site, zones[0]
    site.internal("lab")
    site.certificate("before", "before.example.test", issuer="lab")
    site.certificate("web", HOST, f"*.{HOST}", issuer="ca")
    site.certificate("after", "after.example.test", issuer="lab")
    yield site
    assert bind.txt(CHALLENGE) == set()
    assert (site.leftovers(), exposed_keys(site.directory)) == ([], [])


def fail(site: Site) -> str:
    """Rotates all: the one line about the certificate that fails, the others being done."""
    run = site.rotate(expect=1)
    assert {name: site.generation(name) for name in ("before", "after")} == {
        "before": 1,
        "after": 1,
    }
    assert [run.row(name)["failed"] for name in ("before", "after")] == [False, False]
    assert not (site.store / "web" / "live").exists()
    said = [line for line in run.lines if " failed: " in line]
    assert len(said) == 1, run.stderr
    assert said[0].startswith("web: ")
    assert "Traceback" not in run.stderr
    return why_failed(run, "web")


def test_a_proof_the_ca_does_not_find(day: Site) -> None:
    """The CA's own words are what an operator searches for."""
    day.config["solvers"] = {"nothing": {"type": "exec", "command": ["/bin/true"]}}
    day.config["dns"]["propagation"]["skip"] = True
    why = fail(day)
    assert "the CA did not accept the proof for example.test: unauthorized: " in why
    assert "No TXT record" in why or "TXT records" in why
    assert "nothing was changed" in why


def test_a_name_the_ca_refuses(day: Site, parts: Parts, zones: tuple[Bind, Resolver]) -> None:
    """A refused order names the reason once, and costs the other certificates nothing."""
    bind = zones[0]
    pebble = parts.start(Pebble, dns=bind.server, blocked=[HOST], retry_after=0)
    day.acme(pebble)
    why = fail(day)
    assert why.startswith("order: the CA at 127.0.0.1")
    assert "rejectedIdentifier" in why
    assert "blocklist" in why or HOST in why


def test_a_ca_that_dies_in_the_middle_of_an_order(
    day: Site, parts: Parts, zones: tuple[Bind, Resolver]
) -> None:
    """Records are withdrawn without the CA, and the next run begins anew where it forgot."""
    bind = zones[0]
    pebble = parts.start(Pebble, dns=bind.server, retry_after=0)
    day.acme(pebble, timeout="4s", request_timeout="4s")
    killer = day.directory / "killer"
    killer.write_text(f"#!/bin/sh\nkill -9 {pebble.pid}\n")
    killer.chmod(0o755)
    day.config["solvers"]["killer"] = {
        "type": "exec",
        "command": [str(killer)],
        "zones": [f"kill.{HOST}"],
    }
    day.config["certificates"][1]["names"] = [HOST, f"kill.{HOST}"]
    day.config["dns"]["propagation"]["skip"] = True  # the killer publishes nothing
    why = fail(day)
    assert why.startswith("authorize: the CA at 127.0.0.1")
    assert "did not answer" in why

    pebble.kill()
    pebble.start()
    day.acme(pebble)
    day.config["dns"]["propagation"]["skip"] = False
    day.config["certificates"][1]["names"] = [HOST, f"www.{HOST}"]
    day.rotate()
    assert day.leaf("web")


def test_a_ca_that_is_not_there(day: Site, ca: Pebble) -> None:
    """Seen before anything is made for it."""
    day.config["issuers"]["ca"]["directory"] = "https://127.0.0.1:9/dir"
    why = fail(day)
    assert why.startswith("preflight: the CA at 127.0.0.1:9 did not answer")


def test_records_that_never_appear(day: Site, parts: Parts, ca: Pebble) -> None:
    """The CA is not asked to look while a name server lags: failed validations are counted."""
    locate.require("named")
    first, lagging = parts.bind_pair()
    spent, invalid = orders(ca), ca.log_file.read_text().count("set INVALID")
    day.rfc2136(first)
    day.config["dns"] = {
        "resolvers": [first.server],
        "propagation": {"port": first.port, "timeout": "2s", "interval": "1s"},
    }
    why = fail(day)
    # the deadline is that of the whole wait, of which a busy machine takes a part before it begins
    assert re.search(r"are not on every authoritative server after (2|1\.\d) s", why)
    assert "ns2.example.test" in why
    assert "ns1.example.test" not in why
    assert first.txt(CHALLENGE) == lagging.txt(CHALLENGE) == set()
    assert orders(ca) == spent + 1
    assert ca.log_file.read_text().count("set INVALID") == invalid


@pytest.mark.parametrize("wrong", ["secret", "name", "file"])
def test_a_wrong_tsig_key(day: Site, zones: tuple[Bind, Resolver], ca: Pebble, wrong: str) -> None:
    """Found by asking once, signed, before an order is spent; the key is never shown."""
    bind, spent = zones[0], orders(ca)
    tsig = day.config["solvers"]["dns"]["tsig"]
    day.config["solvers"]["dns"]["zone"] = HOST
    stranger = TsigKey()
    secret = day.directory / "dns.tsig"
    if wrong == "secret":
        secret.write_text(stranger.secret)
    elif wrong == "name":
        tsig["name"] = "stranger"
    else:
        secret.write_text("no base64 at all\n")
    why = fail(day)
    assert {"secret": "BADSIG", "name": "BADKEY", "file": "base64"}[wrong] in why
    assert stranger.secret not in why
    assert bind.key.secret not in why
    assert orders(ca) == spent


def test_a_failure_is_remembered_and_a_run_by_hand_tries_again(day: Site, ca: Pebble) -> None:
    """The listing shows what happened; nobody has to find a log."""
    solvers = day.config["solvers"]
    day.config["solvers"] = {"nothing": {"type": "exec", "command": ["/bin/false"]}}
    fail(day)
    seen = day.status("web")
    assert (seen["state"], seen["decision"], seen["failures"]) == ("missing", "renew", 1)
    assert "/bin/false" in seen["last_failure"]
    assert "after 1 failure" in seen["reason"]
    day.config["solvers"] = solvers
    day.rotate()
    assert (day.status("web")["failures"], day.status("web")["state"]) == (0, "ok")


def test_a_record_that_cannot_be_withdrawn_is_swept_later(
    day: Site, zones: tuple[Bind, Resolver]
) -> None:
    """A value left behind would stand beside the next one for ever; it is not forgotten."""
    bind = zones[0]
    script = day.directory / "hook"
    day.config["solvers"]["half"] = {
        "type": "exec",
        "command": [str(script)],
        "zones": [f"half.{HOST}"],
    }
    text = (
        "import os, sys\n"
        "from tests.parts.bind import TsigKey\n"
        "import dns.query, dns.update\n"
        f"key = TsigKey({bind.key.name!r}, 'hmac-sha256', {bind.key.secret!r})\n"
        f"update = dns.update.UpdateMessage({HOST!r}, keyring=dict(key.keyring))\n"
        "name, value = os.environ['CERTROTD_FQDN'] + '.', os.environ['CERTROTD_VALUE']\n"
        "if os.environ['CERTROTD_ACTION'] == 'present':\n"
        "    update.add(name, 60, 'TXT', value)\n"
        "elif {broken}:\n"
        "    sys.exit('the registrar is on strike')\n"
        "else:\n"
        "    update.delete(name, 'TXT', value)\n"
        f"dns.query.tcp(update, '127.0.0.1', port={bind.own_port}, timeout=5)\n"
    )
    header = f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n"
    script.write_text(header + text.replace("{broken}", "True"))
    script.chmod(0o755)
    day.config["certificates"][1]["names"] = [f"half.{HOST}"]
    run: Run = day.rotate()
    assert "not withdrawn: 1 TXT record" in run.row("web")["why"]
    assert len(bind.txt(f"_acme-challenge.half.{HOST}")) == 1
    generation = day.generation("web")

    script.write_text(header + text.replace("{broken}", "False"))
    assert day.status("web")["decision"] == "sweep"
    day.rotate()
    assert bind.txt(f"_acme-challenge.half.{HOST}") == set()
    assert (day.generation("web"), day.status("web")["decision"]) == (generation, "wait")


def test_a_secret_of_a_target_that_is_missing_costs_no_order(
    acme_site: Site, zones: tuple[Bind, Resolver], ca: Pebble
) -> None:
    """Also before the first certificate, when the service itself cannot be asked yet."""
    site, secret, before = acme_site, acme_site.directory / "token", orders(ca)
    site.command("api", "exit 0", environment={"TOKEN": {"file": str(secret)}})
    site.certificate("web", HOST, issuer="ca", targets=["api"])
    why = why_failed(site.rotate(expect=1), "web")
    assert why.startswith("preflight: ")
    assert str(secret) in why
    assert orders(ca) == before
    secret.write_text("s3cret")
    secret.chmod(0o600)
    site.rotate()
    assert orders(ca) == before + 1
