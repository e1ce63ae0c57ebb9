"""``rotate --dry-run``: it finds whatever a rotation would fail for, and leaves no trace."""

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.parts import Bind, Parts, Pebble, Resolver, pki
from tests.parts.site import Run, Site, orders, snapshot

HOST, OTHER = "example.test", "other.example.test"


@pytest.fixture
def lab(site: Site) -> Site:
    """One certificate of the internal authority, not there yet."""
    site.internal()
    site.certificate("web", HOST)
    return site


@pytest.fixture
def afar(site: Site) -> Site:
    """One certificate of an ACME authority that nobody can reach."""
    directory = "https://127.0.0.1:9/directory"
    site.config["issuers"]["ca"] = {"type": "acme", "directory": directory, "timeout": "31s"}
    site.certificate("web", HOST)
    return site


def tried(site: Site, *arguments: str, code: int = 1) -> Run:
    """A dry run that ends like that, and leaves everything as it was."""
    site.write()
    before = snapshot(site.directory)
    run = site.run("rotate", "--all", "--dry-run", *arguments)
    assert run.code == code, f"{run.stdout}{run.stderr}"
    assert snapshot(site.directory) == before
    return run


def problems(site: Site, name: str = "web") -> list[str]:
    """What a dry run would have a certificate fail for: a line each, and no other line of it."""
    rows = [line.split(maxsplit=2) for line in tried(site).stdout.splitlines()]
    assert {does for which, does, _ in rows if which == name} == {"fail"}
    return [why for which, _, why in rows if which == name]


def test_a_dry_run_changes_nothing(
    acme_site: Site, zones: tuple[Bind, Resolver], ca: Pebble, parts: Parts
) -> None:
    """Neither on disk, nor at the CA, nor in the DNS."""
    site, spent = acme_site, orders(ca)
    site.certificate("web", HOST)
    first = tried(site, "--json", code=0)
    assert (first.row("web")["decision"], first.row("web")["problems"]) == ("renew", [])
    assert orders(ca) == spent
    assert not site.state.exists()

    site.rotate()
    before, spent = site.tree(), orders(ca)
    run = site.run("rotate", "--all", "--dry-run", "--force")
    assert run.code == 0
    assert "nothing was changed" in run.stderr
    assert (site.tree(), orders(ca)) == (before, spent)
    assert zones[0].txt(f"_acme-challenge.{HOST}") == set()


def test_a_broken_configuration_of_nginx_is_a_failure_to_come(parts: Parts, lab: Site) -> None:
    """The point of asking before the change window; also where nothing is locked for it."""
    nginx = lab.serve(parts, {HOST: "web"})
    nginx.break_config()
    run = tried(lab, "--force")
    [row] = [line for line in run.stdout.splitlines() if line.startswith("web")]
    assert row.split()[:2] == ["web", "fail"]
    assert "no_such_directive" in row


def test_a_state_directory_that_cannot_be_made_is_a_failure_to_come(lab: Site) -> None:
    """Every rotation would end before it began."""
    (lab.directory / "file").touch()
    lab.config["state_dir"] = str(lab.directory / "file" / "state")
    [first, *_] = problems(lab)
    assert f"cannot create {lab.directory}/file/state in {lab.directory}/file: Not a dir" in first


def test_a_state_directory_that_is_a_file_is_a_failure_to_come(lab: Site) -> None:
    """Also where it is one of its folders."""
    lab.state.mkdir()
    (lab.state / "audit").touch()
    [said] = problems(lab)
    assert said.startswith(f"cannot write in {lab.state}/audit: Not a directory")


def _not_ours(site: Site) -> str:
    _responder(site, "192.0.2.1:5353")
    return "the DNS responder cannot listen on 192.0.2.1:5353: Cannot assign requested address"


def _malformed(site: Site) -> str:
    key = site.directory / "key.tsig"
    key.write_text("not base64!")
    key.chmod(0o600)
    tsig = {"name": "k.example.test", "secret": {"file": str(key)}}
    entry = {"type": "rfc2136", "server": "127.0.0.1:9", "tsig": tsig, "follow_cname": False}
    site.config["solvers"]["ns"] = entry
    return "the secret of TSIG key k.example.test is not base64"


def _no_hook(site: Site) -> str:
    entry = {"type": "exec", "command": ["/no/such/hook"], "follow_cname": False}
    site.config["solvers"]["hook"] = entry
    return "the DNS command /no/such/hook is not an executable file"


def _responder(site: Site, listen: str) -> None:
    site.config["solvers"]["own"] = {
        "type": "responder",
        "listen": [listen],
        "zones": [f"_acme-challenge.{HOST}"],
        "nameserver": "ns.example.net",
        "follow_cname": False,
    }


@pytest.mark.parametrize("broken", [_not_ours, _malformed, _no_hook])
def test_a_solver_that_cannot_work_is_a_failure_to_come(
    afar: Site, broken: Callable[[Site], str]
) -> None:
    """And so is the CA that cannot be reached: both are listed."""
    said = broken(afar)
    ca, solver = problems(afar)
    assert "127.0.0.1:9" in ca
    assert said in solver


def test_a_port_that_somebody_else_has_is_a_failure_to_come(afar: Site) -> None:
    """A resolver on port 53 is what most machines have already."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        _responder(afar, f"127.0.0.1:{port}")
        assert f"DNS address 127.0.0.1:{port} is in use by a program that" in problems(afar)[-1]


def test_a_ca_that_is_not_trusted_is_a_failure_to_come(
    acme_site: Site, ca: Pebble, tmp_path: Path
) -> None:
    """A forgotten ca_bundle is what every private CA begins with."""
    other = tmp_path / "other.pem"
    other.write_bytes(pki.make_root().certificate.public_bytes(Encoding.PEM))
    acme_site.config["issuers"]["ca"]["ca_bundle"] = str(other)
    acme_site.certificate("web", HOST)
    [said] = problems(acme_site)
    assert "certificate" in said


def test_terms_that_are_not_agreed_to_are_a_failure_to_come(acme_site: Site, ca: Pebble) -> None:
    """The account is what the first order would need."""
    acme_site.config["issuers"]["ca"]["agree_to_terms"] = False
    acme_site.certificate("web", HOST)
    [said] = problems(acme_site)
    assert "agree_to_terms: true" in said


def test_every_problem_of_a_certificate_is_listed(lab: Site, tmp_path: Path) -> None:
    """Mending one after the other would take a change window each."""
    roots = tmp_path / "roots.pem"
    roots.write_text("no PEM\n")
    lab.config["targets"]["it"] = {
        "type": "command",
        "command": ["no-such-program"],
        "probe": [{"address": "127.0.0.1:9", "roots": str(roots)}],
    }
    web = lab.config["certificates"][0]
    web["targets"] = ["it"]
    web["install"] = [{"cert": "/no/such/folder/c.pem"}, {"chain": "/nor/this/one.pem"}]
    first, second, program, proof = problems(lab)
    assert "/no/such/folder is not a directory" in first
    assert "/nor/this is not a directory" in second
    assert "the program no-such-program is not an executable file" in program
    assert str(roots) in proof


def test_a_placeholder_is_no_reason_to_look_at_less(afar: Site) -> None:
    """The first order follows it within the same run."""
    said = _no_hook(afar)
    afar.config["certificates"][0]["bootstrap"] = "self-signed"
    row = tried(afar, "--json").row("web")
    ca, solver = row["problems"]
    assert "127.0.0.1:9" in ca
    assert said in solver


def test_a_certificate_that_is_not_due_is_checked_without_running_programs(lab: Site) -> None:
    """A program that is gone shows before the renewal in two months; nothing is asked meanwhile."""
    ran = lab.directory / "ran"
    script = lab.command("it", f"touch {ran}", check=["/bin/sh", "-c", f"touch {ran}"])
    lab.config["certificates"][0]["targets"] = ["it"]
    lab.rotate()
    ran.unlink()
    assert tried(lab, "--json", code=0).row("web")["decision"] == "wait"
    assert not ran.exists()
    script.unlink()
    [said] = problems(lab)
    assert f"the program {script} is not an executable file" in said


def test_a_pair_that_cannot_be_adopted_is_a_failure_to_come(lab: Site, tmp_path: Path) -> None:
    """The key of another certificate, say."""
    ca = pki.make_intermediate(pki.make_root())
    one, two = pki.make_leaf(ca, HOST), pki.make_leaf(ca, HOST)
    (tmp_path / "key").write_bytes(one.key_pem)
    (tmp_path / "chain").write_bytes(two.fullchain_pem)
    adopt = {"privkey": str(tmp_path / "key"), "fullchain": str(tmp_path / "chain")}
    lab.config["certificates"][0]["adopt"] = adopt
    [said] = problems(lab)
    assert "key" in said
