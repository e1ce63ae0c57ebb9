"""What init can write: each solver with each service passes the check of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from certrotd.config.commented import commented
from certrotd.config.load import check, load
from certrotd.setup.catalogue import AUTHORITIES, CHALLENGES, SERVICES, SOLVERS
from certrotd.setup.compose import Answer, Choices, configuration, flaw, text_of

NAMES = ["example.com", "*.example.com"]
GIVEN: dict[str, Answer] = {
    "server": "192.0.2.1",
    "zones": ["_acme-challenge.example.com"],
    "nameserver": "ns.example.net",
    "url": "https://dns.example.com",
    "provider": "hetzner",
    "containers": ["web", "shop"],
    "unit": "web.service",
    "pid_file": "/run/web.pid",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every program that a service may need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    names = ("nginx", "apachectl", "postfix", "doveconf", "doveadm", "systemctl", "postconf")
    for name in (*names, "reload"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def chosen(tmp_path: Path, solver: str | None, service: str, **more: object) -> Choices:
    """Everything that is asked for those, with the defaults."""
    secret = tmp_path / "secret"
    secret.write_text("c2VjcmV0LXNlY3JldA==\n")
    secret.chmod(0o600)

    def answers(kind: str, *, services: bool) -> dict[str, Answer]:
        asked = (SERVICES if services else {**SOLVERS, **CHALLENGES})[kind].questions
        found: dict[str, Answer] = {}
        for each in asked:
            if each.form == "secret":
                found[each.path] = {"file": str(secret)}
            elif each.form == "words":
                found[each.path] = [str(tmp_path / "bin" / "reload"), "now"]
            elif each.needed:
                default = [each.default] if each.form == "list" else each.default
                found[each.path] = default if each.default else GIVEN[each.path]
        return found

    return Choices(
        domains=NAMES,
        name="web",
        contact=["ops@example.com"],
        agreed=True,
        solver=solver,
        solving=answers(solver, services=False) if solver else {},
        service=service,
        serving=answers(service, services=True),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("solver", [*SOLVERS, *CHALLENGES])
def test_every_solver_with_every_service_passes_the_check(
    tmp_path: Path, programs: Path, solver: str, service: str
) -> None:
    """A stranger's first file is right, whatever was chosen."""
    assert programs
    file = tmp_path / "config.yaml"
    text = text_of(chosen(tmp_path, solver, service))
    problems, warnings = check(file, text=text)
    assert not problems, text
    assert all("not installed" in each.message for each in warnings), warnings
    assert "c2VjcmV0" not in text
    assert max(map(len, text.splitlines())) <= 100 or str(tmp_path) in text

    file.write_text(text)
    config = load(file).config
    [certificate] = config.certificates
    assert [str(each) for each in certificate.names] == NAMES
    assert len(certificate.targets) == (service != "none")
    assert len(config.solvers) == (solver in SOLVERS)
    assert certificate.challenge == (solver if solver in CHALLENGES else "dns-01")


def test_a_service_that_notices_by_itself_is_only_probed(tmp_path: Path) -> None:
    """Of none without a probe there is no target."""
    file = tmp_path / "config.yaml"
    text = text_of(chosen(tmp_path, "rfc2136", "none", probes=["127.0.0.1:8443"]))
    assert check(file, text=text) == ((), ())
    written = yaml.safe_load(text)
    assert written["targets"] == {
        "service": {"type": "none", "probe": [{"address": "127.0.0.1:8443"}]}
    }
    assert written["certificates"][0]["targets"] == ["service"]


@pytest.mark.parametrize("authority", [*AUTHORITIES, "internal", "https://ca.example.com/acme"])
@pytest.mark.parametrize("production", [False, True])
def test_every_ca_passes_the_check(
    tmp_path: Path, programs: Path, authority: str, production: bool
) -> None:
    """Staging comes first where there is one, and a private CA is asked for no DNS."""
    assert programs
    secret = tmp_path / "eab"
    secret.write_text("c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    secret.chmod(0o600)
    solver = None if authority == "internal" else "rfc2136"
    known = AUTHORITIES.get(authority)
    binding = {"key_id": "kid", "key": {"file": str(secret)}} if known and known.binding else {}
    text = text_of(
        chosen(
            tmp_path,
            solver,
            "nginx",
            authority=authority,
            production=production,
            binding=binding,
        )
    )
    assert not check(tmp_path / "config.yaml", text=text)[0], text
    if known and known.staging:
        assert (f"directory: {known.staging}\n" in text) is not production
        assert (f"directory: {known.production}\n" in text) is production


def test_a_flaw_of_one_answer_is_told_in_the_words_of_the_check() -> None:
    """And nothing of what was not asked yet."""
    wrong = flaw(("certificates", 0, "names"), ["exa mple.com"])
    assert wrong is not None
    assert "exa mple.com" in wrong
    assert flaw(("certificates", 0, "names"), ["example.com"]) is None
    assert flaw(("solvers", "rfc2136", "tsig", "algorithm"), "md5")
    assert flaw(("solvers", "rfc2136", "tsig", "algorithm"), "hmac-sha512") is None
    assert flaw(("targets", "nginx", "probe"), [{"address": "127.0.0.1"}])
    assert flaw(("targets", "nginx", "probe"), [{"address": "127.0.0.1:443"}]) is None


def test_what_yaml_would_take_for_something_else_stays_text() -> None:
    """An answer of a person is never a list, a comment or a truth."""
    data = {
        "a": {"b": ["on", "1e3", "#x", "a: b", "null", "{x}", "é", "'", '"', "*", "2026-01-01"]}
    }
    text = commented(data, {("a", "b"): "one\ntwo", ("a", ""): "after"}, head="head")
    assert yaml.safe_load(text) == data
    assert text.splitlines()[:4] == ["# head", "", "a:", "  # one"]
    assert text.endswith("  # after\n")


def test_the_readme_shows_what_its_command_writes() -> None:
    """Without the comments."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    [_, page] = readme.split("Without the comments, that file is this one", 1)
    shown = yaml.safe_load(page.split("```yaml\n", 1)[1].split("```", 1)[0])
    secret: dict[str, Answer] = {"tsig.secret": {"file": "/etc/certrotd/tsig"}}
    written, _ = configuration(
        Choices(
            domains=["example.com", "*.example.com"],
            name="example.com",
            contact=["ops@example.com"],
            agreed=True,
            solver="rfc2136",
            solving={
                "server": "192.0.2.1",
                "tsig.name": "certrotd",
                "tsig.algorithm": "hmac-sha256",
                **secret,
            },
            service="nginx",
        )
    )
    assert shown == written
