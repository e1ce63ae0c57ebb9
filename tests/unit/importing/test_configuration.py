"""The configuration that is written: it passes its own check, and holds no secret."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from certrotd.cli.moving_in import Wish, bring_in
from certrotd.config.load import check, load
from certrotd.errors import Failure, NeedsOperator, UsageError
from certrotd.importing.certbot import read_certbot
from certrotd.importing.configuration import plan
from certrotd.importing.found import Hook, Solver
from certrotd.pki import keys
from tests.unit.importing.trees import NAME, NOW, SECRET, certbot, put, reader


def test_odd_names_become_safe_and_different_ones(tmp_path: Path) -> None:
    """A name is a folder of certrotd's: what a lineage is called there is only a proposal."""
    found = read_certbot(reader(certbot(tmp_path)), now=NOW)
    [only] = found.certificates
    names = ["../../etc", "*.Example.TEST", "_.example.test", "a" * 300, "..", "x\n- y: z"]
    found.certificates = [
        replace(only, name=name, pair=replace(only.pair, read={"privkey": Path(f"/x/{number}")}))
        for number, name in enumerate(names)
    ]
    made = plan(found, Path("/etc/certrotd"), now=NOW)
    taken = [each["name"] for each in yaml.safe_load(made.document)["certificates"]]
    assert taken == [
        *("etc", "wildcard.example.test", "wildcard.example.test-2", "a" * 60),
        *("certificate", "x---y-z"),
    ]


def test_two_certificates_never_write_one_path(tmp_path: Path) -> None:
    """The second stays with its client, and says with which it collides."""
    found = read_certbot(reader(certbot(tmp_path)), now=NOW)
    found.certificates *= 2
    first, second = plan(found, Path("/etc/certrotd"), now=NOW).certificates
    assert (first.why, f"also a path of {NAME}" in second.why) == ("", True)


def test_what_the_schema_refuses_stays_with_its_reason(tmp_path: Path) -> None:
    """A CA without TLS, or a hook of several lines, is no reason to lose the rest."""
    found = read_certbot(reader(certbot(tmp_path)), now=NOW)
    [only] = found.certificates
    hooks = (Hook("h", "a\nb"), Hook("i", "systemctl restart postfix"))
    found.certificates = [replace(only, hooks=hooks)]
    made = plan(found, Path("/etc/certrotd"), now=NOW)
    assert "verb: restart" in made.document
    assert any("put it into a program" in row.note for row in made.rows)
    odd = Solver("dns", {"type": "rfc2136", "server": "192.0.2.1\u2028x: y"})
    found.certificates = [only, replace(only, name="other", solver=odd)]
    document = plan(found, Path("/etc/certrotd"), now=NOW).document
    assert [each["name"] for each in yaml.safe_load(document)["certificates"]] == [NAME]
    assert "control characters" in document
    found.certificates = [replace(only, directory="http://ca.test/dir")]
    [stays] = plan(found, Path("/etc/certrotd"), now=NOW).certificates
    assert "https://" in stays.why


def wish(root: Path, folder: Path | None) -> Wish:
    """What is asked for."""
    return Wish("certbot", root, folder, state_dir=root.parent / "state")


def test_it_is_written_once_passes_the_check_and_has_the_accounts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run leaves the first one's configuration, which may have been changed, alone."""
    root, folder = certbot(tmp_path / "letsencrypt"), tmp_path / "written"
    assert bring_in(wish(root, folder), as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["written"] == str(folder / "config.yaml")
    assert "rotate --all" in " ".join(shown["next"])
    assert check(folder / "config.yaml") == ((), ())
    [entry] = load(folder / "config.yaml").config.certificates
    assert (entry.name, entry.names, entry.issuers) == (NAME, (NAME,), ("letsencrypt",))
    [secret] = (folder / "secrets").iterdir()
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == (f"{SECRET}\n", 0o600)
    key = tmp_path / "state" / "accounts" / "letsencrypt" / "account.key"
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert {each.name for each in folder.iterdir()} == {"config.yaml", "secrets"}
    with pytest.raises(UsageError, match="already"):
        bring_in(wish(root, folder), as_json=True)


def test_paths_are_those_of_the_folder_in_which_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration takes no others, and is read in other folders later."""
    root = certbot(tmp_path / "letsencrypt")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "roots.pem").write_bytes((root / "live" / NAME / "fullchain.pem").read_bytes())
    typed = Path("written"), Path("../state"), Path("../roots.pem")
    asked = replace(wish(root, typed[0]), state_dir=typed[1], ca_bundle=typed[2])
    assert bring_in(asked, as_json=True) == 0
    config = load(tmp_path / "here" / "written" / "config.yaml").config
    assert config.state_dir == tmp_path / "state"
    written = yaml.safe_load((tmp_path / "here" / "written" / "config.yaml").read_text())
    assert written["issuers"]["letsencrypt"]["ca_bundle"] == str(tmp_path / "roots.pem")


def test_an_account_that_cannot_be_kept_leaves_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one, certrotd would register another account; what is kept already is said."""
    root, folder = certbot(tmp_path / "letsencrypt"), tmp_path / "written"
    certbot(root, name="zz.test", server="https://ca.test/dir")
    [key] = root.glob("accounts/**/private_key.json")
    put(root / "accounts/ca.test/dir" / key.parent.name / key.name, key.read_bytes())
    trap = put(tmp_path / "state", "a file in the place of the state directory")
    with pytest.raises(Failure):
        bring_in(wish(root, folder), as_json=True)
    assert not folder.exists()
    assert "account keys" not in capsys.readouterr().err
    trap.unlink()
    trap = put(tmp_path / "state" / "accounts" / "ca-test", "a file in the place of a directory")
    with pytest.raises(Failure):
        bring_in(wish(root, folder), as_json=True)
    assert not folder.exists()
    assert "account keys are kept for letsencrypt:" in capsys.readouterr().err
    trap.unlink()
    assert bring_in(wish(root, folder), as_json=True) == 0


@pytest.mark.parametrize("trap", ["a link", "open to others", "another's"])
def test_secrets_are_written_nowhere_else_and_over_nothing_else(tmp_path: Path, trap: str) -> None:
    """Whatever is in the place of secrets/ or of a file in it stays as it is, and is named."""
    root, folder = certbot(tmp_path / "letsencrypt"), tmp_path / "written"
    outside, secrets = tmp_path / "outside", folder / "secrets"
    for each in (outside, folder):
        each.mkdir()
    match trap:
        case "a link":
            secrets.symlink_to(outside)
        case "open to others":
            secrets.mkdir()
            secrets.chmod(0o777)
        case _:
            put(secrets / "rfc2136.secret", "another secret")
    before = sorted((each, each.lstat().st_ino) for each in folder.rglob("*"))
    with pytest.raises(UsageError, match="secrets"):
        bring_in(wish(root, folder), as_json=True)
    assert sorted((each, each.lstat().st_ino) for each in folder.rglob("*")) == before
    assert not list(outside.iterdir())


def test_an_account_with_an_rsa_key_leaves_nothing_to_warn_of(tmp_path: Path) -> None:
    """Those of certbot have one; the configuration asks for what is there."""
    root, folder = certbot(tmp_path / "letsencrypt"), tmp_path / "written"
    [theirs] = root.glob("accounts/**/private_key.json")
    theirs.write_bytes(keys.to_pem(keys.generate(keys.KeyType.RSA_2048)))
    assert bring_in(wish(root, folder), as_json=True) == 0
    assert check(folder / "config.yaml") == ((), ())
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert written["issuers"]["letsencrypt"]["account_key"] == "rsa-2048"


def test_an_issuer_with_another_account_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who brings a second installation to one state directory hears of it; a repetition is none."""
    root = certbot(tmp_path / "letsencrypt")
    key = tmp_path / "state" / "accounts" / "letsencrypt" / "account.key"
    for number in (1, 2):
        assert bring_in(wish(root, tmp_path / f"written-{number}"), as_json=False) == 0
        assert "another account" not in capsys.readouterr().out
    first = key.read_bytes()
    [theirs] = root.glob("accounts/**/private_key.json")
    theirs.write_bytes(keys.to_pem(keys.generate(keys.KeyType.ECDSA_P384)))
    assert bring_in(wish(root, tmp_path / "written-3"), as_json=False) == 0
    said = capsys.readouterr()
    assert "letsencrypt has another account already" in said.out
    [warning] = [line for line in said.err.splitlines() if "account_key" in line]
    assert warning.endswith("(warning)"), "nothing is wrong that keeps it from working"
    assert key.read_bytes() == first


def test_problems_are_in_the_exit_code_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One damaged file does not keep the others; with none that is whole, nothing is written."""
    root = certbot(tmp_path / "letsencrypt")
    put(root / "renewal" / "broken.conf", "")
    assert bring_in(wish(root, None), as_json=False) == 1
    shown = capsys.readouterr().out
    assert "taken over" in shown
    assert "renewal/broken.conf" in shown
    assert SECRET not in shown
    (root / "renewal" / f"{NAME}.conf").unlink()
    with pytest.raises(NeedsOperator, match="nothing is written"):
        bring_in(wish(root, tmp_path / "written"), as_json=False)
    assert not (tmp_path / "written").exists()


def test_wrong_usage_says_what_would_be_right(tmp_path: Path) -> None:
    """No client, no directory, an option of another client."""
    with pytest.raises(UsageError, match="certbot, lego"):
        bring_in(Wish("dehydrated", tmp_path, None), as_json=False)
    with pytest.raises(UsageError, match="not a directory"):
        bring_in(wish(tmp_path / "nothing", None), as_json=False)
    with pytest.raises(UsageError, match="for lego"):
        bring_in(replace(wish(tmp_path, None), provider="hetzner"), as_json=False)
