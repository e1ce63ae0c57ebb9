"""certbot's directory: what cannot be taken over is told in a line and stays with certbot."""

import json
import re
from pathlib import Path

import yaml

from certrotd.importing.certbot import read_certbot
from certrotd.importing.configuration import Plan, plan
from certrotd.importing.found import Fate
from tests.unit.importing.trees import ACCOUNT, NAME, NOW, SECRET, certbot, put, reader


def planned(root: Path) -> Plan:
    """What would be written of it."""
    found = read_certbot(reader(root), now=NOW)
    return plan(found, Path("/etc/certrotd"), now=NOW)


def notes(made: Plan, fate: Fate) -> dict[str, str]:
    """What became of which thing, and why."""
    return {row.what: row.note for row in made.rows if row.fate is fate}


def test_a_lineage_keeps_its_settings(tmp_path: Path) -> None:
    """Chain, profile, reused key, moment of renewal and account are in the configuration."""
    root = certbot(
        tmp_path,
        conf="renew_before_expiry = 21 days",
        preferred_chain="ISRG Root X1",
        required_profile="shortlived",
        reuse_key="True",
        renew_hook="systemctl reload nginx",
    )
    put(root / "cli.ini", "email = ops@example.test\nmax-log-backups = 0\n")
    made = planned(root)
    assert notes(made, Fate.PROBLEM) == notes(made, Fate.BY_HAND) == {}
    assert made.accounts["letsencrypt"].where.endswith(ACCOUNT)
    assert made.secrets == {"rfc2136.secret": SECRET.encode()}
    assert SECRET not in made.document
    for text in (
        "preferred_chain: ISRG Root X1",
        "profile: shortlived",
        "require_profile: true",
        "reuse: true",
        "before: 21d",
        "ops@example.test",
        "targets: [nginx]",
        "mode: '0600'",
    ):
        assert text in made.document, text


def test_a_certificate_proven_by_http_stays_with_certbot(tmp_path: Path) -> None:
    """certrotd proves by DNS: the entry is written as a comment, and nothing is taken away."""
    made = planned(certbot(tmp_path, authenticator="webroot", dns_rfc2136_credentials="None"))
    [only] = made.certificates
    assert "by webroot" in only.why
    assert "certificates: []" in made.document
    assert f"# - name: {NAME}" in made.document.replace("#   - ", "# - ")
    assert not made.secrets


def test_each_setting_without_a_counterpart_is_told(tmp_path: Path) -> None:
    """Nothing is lost silently."""
    root = certbot(tmp_path, must_staple="True", pre_hook="systemctl stop nginx")
    put(root / "cli.ini", "rsa-key-size = 4096\n")
    put(root / "renewal-hooks" / "post" / "start", "#!/bin/sh\n", mode=0o755)
    put(root / "renewal-hooks" / "deploy" / "copy it", "#!/bin/sh\n", mode=0o755)
    put(root / "renewal-hooks" / "deploy" / "anybody", "#!/bin/sh\n", mode=0o777)
    made = planned(root)
    assert set(notes(made, Fate.BY_HAND)) == {
        *("must_staple", "pre_hook", "rsa-key-size", "post hook")
    }
    assert "written by others" in notes(made, Fate.PROBLEM)["deploy hook"]
    assert "copy it" in made.document
    assert f"RENEWED_LINEAGE: {root}/live/{NAME}" in made.document
    assert "anybody" not in made.document


def test_hostile_and_damaged_files_are_a_line_each(tmp_path: Path) -> None:
    """The good lineage is taken over, whatever is beside it."""
    root = certbot(tmp_path)
    put(root / "renewal" / "noise.conf", b"\xff\xfe")
    put(root / "renewal" / "empty.conf", "")
    put(root / "renewal" / "else.conf", "privkey = /etc/shadow\n[renewalparams]\n")
    (root / "renewal" / "link.conf").symlink_to("/etc/passwd")
    certbot(root, name="x\n- y: \x1b[2J")
    folder = root / "live" / "dots"
    put(folder / "privkey.pem", "no key")
    put(folder / "fullchain.pem", "no certificate")
    lines = [f"{each} = {folder}/{each}.pem" for each in ("privkey", "cert", "chain", "fullchain")]
    put(root / "renewal" / "dots.conf", "\n".join([*lines, "[renewalparams]", "account = ../x"]))
    made = planned(root)
    assert [each.name for each in made.certificates] == [NAME]
    problems = [row.where for row in made.rows if row.fate is Fate.PROBLEM]
    named = ("dots.conf", "else.conf:1", "empty.conf", "link.conf", "noise.conf:1")
    assert problems[:5] == [f"renewal/{each}" for each in named]
    assert {re.sub(r":\d+$", "", each) for each in problems[5:]} == {"renewal/x - y: \\x1b[2J.conf"}
    assert [each["name"] for each in yaml.safe_load(made.document)["certificates"]] == [NAME]


def test_an_expired_or_foreign_key_pair_is_not_taken_over(tmp_path: Path) -> None:
    """There would be nothing to begin with."""
    root = certbot(tmp_path)
    found = read_certbot(reader(root), now=NOW.replace(year=NOW.year + 30))
    assert "expired" in found.rows[-1].note
    other = certbot(tmp_path / "other") / "archive" / NAME / "privkey1.pem"
    put(root / "archive" / NAME / "privkey1.pem", other.read_bytes())
    assert "does not belong" in read_certbot(reader(root), now=NOW).rows[-1].note


def test_an_account_of_a_kind_that_certrotd_has_not_is_told(tmp_path: Path) -> None:
    """Ed25519 signs no ACME request; a public key is none at all."""
    root = certbot(tmp_path)
    [key] = root.glob("accounts/**/private_key.json")
    ed25519 = {"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}
    public = {name: value for name, value in json.loads(key.read_text()).items() if name != "d"}
    for damaged in (json.dumps(ed25519), json.dumps(public), "{", "[]", '{"kty": "EC"}'):
        put(key, damaged)
        made = planned(root)
        assert (len(made.certificates), made.accounts) == (1, {})
        assert "registers a new one" in next(iter(notes(made, Fate.PROBLEM).values()))


def test_a_password_in_the_url_of_a_ca_is_not_shown(tmp_path: Path) -> None:
    """Neither in a report, nor in the comment that leaves the certificate with certbot."""
    made = planned(certbot(tmp_path, server="https://me:pw-1@ca.test/d?pw-1"))
    assert "its server has a user name" in notes(made, Fate.PROBLEM)["ca.test"]
    assert "pw-1" not in f"{made.rows} {made.certificates} {made.document}"


def test_an_unreadable_account_is_told_and_the_certificate_moves(tmp_path: Path) -> None:
    """certrotd registers a new one; a CAA record with accounturi must know."""
    root = certbot(tmp_path, account="../../../../etc")
    made = planned(root)
    assert ([each.why for each in made.certificates], made.accounts) == ([""], {})
    assert "registers a new one" in next(r.note for r in made.rows if r.fate is Fate.PROBLEM)
