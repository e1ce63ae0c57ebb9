"""``certrotd watch``: all of it at once, for people, for programs, and for exit codes."""

import json
from pathlib import Path

import pytest

from certrotd.cli.watch import watch
from certrotd.errors import InvalidInput
from certrotd.observe.chain import Examiner, Presented
from certrotd.observe.tls import Endpoint
from tests.parts import pki
from tests.unit.observe.servers import Listener, context_of, context_of_der, tls
from tests.unit.pki.crafted import bits_for_a_name, mask_missing

NAME = "a.example.test"
ROOT = pki.make_root()
LEAF = pki.make_leaf(ROOT, NAME)


def written(directory: Path, *entries: str) -> Path:
    """A configuration with a certificate that was never issued, and these to watch."""
    path = directory / "config.yaml"
    lines = "".join(f"- {{{entry}}}\n" for entry in entries)
    path.write_text(
        f"state_dir: {directory / 'state'}\n"
        "issuers: {lab: {type: internal}}\n"
        "certificates: [{name: web, names: [a.example.test], enabled: false}]\n"
        f"watch:\n{lines}"
    )
    return path


def entry(server: Listener, directory: Path, **options: object) -> str:
    """An entry that looks at a server and trusts its root."""
    root = ROOT.write(directory, "root")[0]
    known = {"address": f"{server.host}:{server.port}", "sni": NAME, "roots": str(root), **options}
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in known.items())


def test_sound_endpoints_are_listed_without_further_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0: cron is silent."""
    with Listener(tls(context_of(LEAF, tmp_path))) as server:
        path = written(tmp_path, entry(server, tmp_path))
        assert watch(path, [], as_json=False) == 0
    head, endpoint, files = capsys.readouterr().out.splitlines()
    assert head.split() == ["WATCHED", "SORT", "EXPIRES", "LEFT", "FOUND"]
    assert endpoint.split()[:3] == [f"{server.host}:{server.port}", f"({NAME})", "endpoint"]
    assert endpoint.endswith("  ok")
    assert files.split() == ["files", "of", "certificate/web", "files", "-", "-", "ok"]


def test_a_finding_is_reported_in_words_and_by_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A monitoring system needs no more than that."""
    with Listener(tls(context_of(LEAF, tmp_path))) as server:
        path = written(tmp_path, entry(server, tmp_path, names=["b.test"], warn_before=0.999999))
        assert watch(path, [], as_json=False) == 1
    line = capsys.readouterr().out.splitlines()[1]
    assert "warning: it expires at " in line or "error: it expires at " in line
    assert line.endswith(f"error: it is for {NAME}, not for b.test")


@pytest.mark.parametrize("leaf", [mask_missing(NAME), bits_for_a_name(NAME)])
def test_a_certificate_that_cannot_be_read_hides_no_other_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], leaf: bytes
) -> None:
    """One hostile endpoint is one line."""
    with (
        Listener(tls(context_of_der(tmp_path, leaf))) as hostile,
        Listener(tls(context_of(LEAF, tmp_path))) as server,
    ):
        path = written(
            tmp_path,
            entry(hostile, tmp_path, after=1),
            entry(server, tmp_path, names=["b.test"]),
        )
        assert watch(path, [], as_json=False) == 1
    _, first, second, _ = capsys.readouterr().out.splitlines()
    assert "error: certificate 1 of 1 has an unreadable part" in first
    assert second.endswith(f"error: it is for {NAME}, not for b.test")


def test_a_defect_of_one_look_hides_no_other_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: the other lines are there."""

    def defect(self: Examiner, endpoint: Endpoint) -> Presented:
        raise AttributeError(f"no {endpoint.port}")

    monkeypatch.setattr(Examiner, "examine", defect)
    path = written(tmp_path, "address: 192.0.2.1:443")
    assert watch(path, [], as_json=False) == 1
    _, first, files = capsys.readouterr().out.splitlines()
    assert "error: unexpected AttributeError: no 443 at " in first
    assert files.split() == ["files", "of", "certificate/web", "files", "-", "-", "ok"]


def test_programs_get_all_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By names that stay."""
    with Listener(tls(context_of(LEAF, tmp_path))) as server:
        path = written(tmp_path, entry(server, tmp_path, names=["b.test"]))
        assert watch(path, [], as_json=True) == 1
    endpoint, files = json.loads(capsys.readouterr().out)
    assert endpoint["sort"] == "endpoint"
    assert endpoint["key"] == f"{server.host}:{server.port} ({NAME})"
    assert endpoint["sni"] == NAME
    assert len(endpoint["fingerprint"]) == 64
    assert endpoint["findings"] == [
        {
            "kind": "wrong_name",
            "severity": "error",
            "words": f"it is for {NAME}, not for b.test",
        }
    ]
    assert (files["kind"], files["name"]) == ("certificate", "web")
    assert files["sni"] is None
    assert (files["findings"], files["not_after"]) == ([], None)


def test_a_named_certificate_is_checked_with_the_endpoints_that_serve_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a name that is not there is said."""
    with Listener(tls(context_of(LEAF, tmp_path))) as server:
        ours = entry(server, tmp_path, certificate="web")
        path = written(tmp_path, ours, "address: 127.0.0.1:1, sni: c.test")
        assert watch(path, ["web"], as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["sort"] for each in found] == ["endpoint", "files"]
    with pytest.raises(InvalidInput, match="there is no certificate 'www'"):
        watch(path, ["www"], as_json=True)


def test_an_endpoint_that_does_not_answer_is_asked_again_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once where the entry says so."""
    path = written(tmp_path, "address: 127.0.0.1:1, sni: c.test, after: 1")
    assert watch(path, [], as_json=False) == 1
    assert "error: no TLS handshake: Connection refused" in capsys.readouterr().out


def test_an_empty_configuration_has_no_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A configuration that is still empty."""
    path = tmp_path / "config.yaml"
    path.write_text(f"state_dir: {tmp_path / 'state'}\n")
    assert watch(path, [], as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == []
