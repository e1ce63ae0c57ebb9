"""Proving names end to end through every kind of solver, and choosing between them."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.parts import Bind, Parts, Resolver, StepCA, Zone, locate
from tests.parts.process import free_port
from tests.parts.site import Site, why_failed
from tests.unit.dns.scripted import ScriptedDns

HOOK = """#!{python}
import os
import sys

import dns.query
import dns.tsigkeyring
import dns.update

name, value = os.environ["CERTROTD_FQDN"], os.environ["CERTROTD_VALUE"]
with open({log!r}, "a") as log:
    log.write(f"{{os.environ['CERTROTD_ACTION']}} {{name}} {{os.environ.get('CERTROTD_ZONE')}}\\n")
keyring = dns.tsigkeyring.from_text({{{key!r}: {secret!r}}})
update = dns.update.UpdateMessage({zone!r}, keyring=keyring, keyalgorithm="hmac-sha256")
if os.environ["CERTROTD_ACTION"] == "present":
    update.add(name + ".", 60, "TXT", value)
else:
    update.delete(name + ".", "TXT", value)
sys.exit(dns.query.tcp(update, "127.0.0.1", port={port}, timeout=5).rcode())
"""


def hook(site: Site, bind: Bind, zone: str) -> tuple[Path, Path]:
    """A program that publishes in a zone of that BIND, and where it logs what it was asked."""
    program, log = site.directory / "hook", site.directory / "hook.log"
    program.write_text(
        HOOK.format(
            python=sys.executable,
            log=str(log),
            key=bind.key.name,
            secret=bind.key.secret,
            zone=zone,
            port=bind.own_port,
        )
    )
    program.chmod(0o755)
    return program, log


def test_a_delegated_name_is_proven_without_any_dns_credentials(parts: Parts, site: Site) -> None:
    """One CNAME in the zone, and certrotd answers for what it leads to itself."""
    locate.require("step-ca")
    port = free_port("both")
    delegated = Zone("example.test", records=["_acme-challenge CNAME example-test.acme.test."])
    bind = parts.start(Bind, zones=[delegated])
    # only says where the delegated zone's server is, since there is no other port 53 to delegate to
    responder: Any = SimpleNamespace(own_port=port, zones=[Zone("acme.test")])
    resolver = parts.start(Resolver, authoritative=[bind, responder])
    site.acme(parts.start(StepCA, resolver=resolver.server))  # Pebble asks without recursion
    site.config["solvers"]["own"] = {
        "type": "responder",
        "listen": [f"127.0.0.1:{port}"],
        "zones": ["acme.test"],
        "nameserver": "ns1.example.test",
    }
    site.dns(resolver, port=port)
    site.certificate("web", "example.test", "*.example.test")
    site.rotate()
    assert site.leaf("web")
    records = site.state / "responder" / "own"
    assert not records.exists() or list(records.iterdir()) == []

    # the control: where nobody answers for the delegated name, the CA finds nothing
    site.config["solvers"] = {}
    site.rfc2136(bind)
    site.config["solvers"]["dns"]["zones"] = ["acme.test"]
    run = site.rotate("--force", expect=1)
    assert "acme.test" in why_failed(run, "web")


def test_a_program_of_the_operator_s_proves_names(
    site: Site, acme_site: Site, zones: tuple[Bind, Resolver]
) -> None:
    """Every DNS provider with a command line is one script away."""
    bind = zones[0]
    program, log = hook(site, bind, "example.test")
    site.config["solvers"] = {
        "script": {"type": "exec", "command": [str(program)], "zones": ["example.test"]}
    }
    site.certificate("web", "example.test", "*.example.test")
    site.rotate()
    assert site.leaf("web")
    name = "_acme-challenge.example.test example.test"
    assert log.read_text().splitlines() == [f"present {name}"] * 2 + [f"withdraw {name}"] * 2
    assert bind.txt("_acme-challenge.example.test") == set()

    program.write_text("#!/bin/sh\necho the registrar is on strike >&2\nexit 1\n")
    run = site.rotate("--force", expect=1)
    assert "the registrar is on strike" in why_failed(run, "web")
    assert site.generation("web") == 1


def test_every_name_goes_to_the_solver_of_its_zone(
    site: Site, acme_site: Site, zones: tuple[Bind, Resolver]
) -> None:
    """One certificate over zones of two providers: the longest zone decides."""
    bind = zones[0]
    program, log = hook(site, bind, "challenges.test")
    dns = site.config["solvers"].pop("dns")
    solvers: dict[str, Any] = {
        "general": dns,
        "script": {"type": "exec", "command": [str(program)], "zones": ["challenges.test"]},
        "broken": {"type": "exec", "command": ["/bin/false"], "zones": ["test"]},
    }
    solvers["general"]["zones"] = ["example.test"]
    site.config["solvers"] = solvers
    site.certificate("web", "example.test", "deep.below.challenges.test")
    site.rotate()
    name = "_acme-challenge.deep.below.challenges.test"
    assert log.read_text().splitlines() == [
        f"present {name} challenges.test",
        f"withdraw {name} challenges.test",
    ]
    assert bind.txt(name) == set()

    site.certificate("stray", "restricted.test")  # only the broken one serves "test"
    run = site.rotate(expect=1)
    assert "/bin/false" in why_failed(run, "stray")
    assert run.row("web")["decision"] == "wait"


def test_a_server_that_stayed_silent_is_reported_in_the_report(
    acme_site: Site, zones: tuple[Bind, Resolver]
) -> None:
    """The certificate is there all the same, by the solver's own servers, time and quorum."""
    site, bind = acme_site, zones[0]
    with ScriptedDns(lambda query, udp: None) as mute:
        servers = [bind.server, str(mute.address)]
        propagation: dict[str, Any] = {"servers": servers, "timeout": "2s", "quorum": 1}
        site.config["solvers"]["dns"]["propagation"] = propagation
        site.certificate("web", "example.test")
        run = site.rotate()
        assert run.row("web")["result"] == "done"
        assert "continued without servers that stayed silent for 2 s" in run.row("web")["why"]
        assert str(mute.address) in run.row("web")["why"]
        del propagation["quorum"]  # the control: of two, both have to show it
        assert "no answer within" in why_failed(site.rotate("--force", expect=1), "web")
