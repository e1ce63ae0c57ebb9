"""acme.sh's home as its published source lays it out: no shell ever reads it."""

from pathlib import Path

from certrotd.importing.acmesh import read_acme_sh
from certrotd.importing.configuration import Plan, plan
from certrotd.importing.found import Fate
from tests.unit.importing.trees import CA, NAME, NOW, SECRET, acme_sh, encoded, put, reader


def planned(root: Path) -> Plan:
    """What would be written of it."""
    found = read_acme_sh(reader(root), now=NOW)
    return plan(found, Path("/etc/certrotd"), now=NOW)


def problem(root: Path) -> str:
    """The only thing that is wrong with it."""
    [row] = (row for row in planned(root).rows if row.fate is Fate.PROBLEM)
    return row.note


def test_a_certificate_with_installed_files_and_a_reload_command(tmp_path: Path) -> None:
    """Services read the files that acme.sh installed: those are kept current."""
    root = acme_sh(
        tmp_path / "home",
        Le_RealKeyPath="/etc/ssl/web.key",
        Le_RealFullChainPath="/etc/ssl/web.pem",
        Le_RealCertPath="/etc/ssl/web.pem",
        Le_ReloadCmd=encoded("service haproxy reload && logger 'done'"),
        Le_Preferred_Chain="ISRG Root X1",
    )
    made = planned(root)
    assert [each.why for each in made.certificates] == [""]
    assert made.secrets == {"cf.token": SECRET.encode()}
    account = made.accounts["letsencrypt"]
    assert (account.directory, account.contact) == (CA, ("ops@example.test",))
    for text in (
        "privkey: /etc/ssl/web.key",
        "fullchain: /etc/ssl/web.pem",
        f"privkey: {root}/{NAME}_ecc/{NAME}.key",
        "service haproxy reload && logger",
        "CERT_KEY_PATH: /etc/ssl/web.key",
        "preferred_chain: ISRG Root X1",
    ):
        assert text in made.document, text
    assert "cert: /etc/ssl/web.pem" not in made.document
    assert not any(row.fate is Fate.PROBLEM for row in made.rows)


def test_files_that_a_shell_would_run_are_data(tmp_path: Path) -> None:
    """acme.sh sources these files; certrotd reports the lines by number and runs none."""
    mark = tmp_path / "ran"
    root = acme_sh(
        tmp_path / "home", lines=f"touch {mark}\nX=$(touch {mark})\n", account=f"`touch {mark}`\n"
    )
    made = planned(root)
    assert [each.why for each in made.certificates] == [""]
    lines = [(row.where, row.what) for row in made.rows if row.fate is Fate.PROBLEM]
    at = f"{NAME}_ecc/{NAME}.conf"
    assert lines == [(each, "line") for each in ("account.conf:2", f"{at}:5", f"{at}:6")]
    assert not mark.exists()


def test_names_and_paths_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    """Le_Domain is no path, and a copy goes to an absolute path alone."""
    root = acme_sh(tmp_path / "home", Le_Domain="../../etc/x")
    assert "Le_Domain" in problem(root)
    root = acme_sh(tmp_path / "home", Le_RealKeyPath="/etc/../etc/x.key")
    assert "absolute" in problem(root)
    (root / "evil_ecc").symlink_to("/etc")
    (root / "file").write_text("")
    made = planned(acme_sh(tmp_path / "home"))
    assert [each.name for each in made.certificates] == [NAME]


def test_a_file_that_is_no_key_is_not_written_over(tmp_path: Path) -> None:
    """Le_RealKeyPath may name /etc/passwd; what holds an earlier copy is replaced."""
    place = tmp_path / "place"
    for content, kept in (("root:x:0:0:\n", True), ("-----BEGIN PRIVATE KEY-----\n", False)):
        place.write_text(content)
        made = planned(acme_sh(tmp_path / f"home-{kept}", Le_RealKeyPath=str(place)))
        problems = [row.note for row in made.rows if row.fate is Fate.PROBLEM]
        refusal = f"{place} is no key or certificate: certrotd does not write over it"
        assert problems == ([refusal] if kept else [])
        assert (str(place) in made.document) is not kept


def test_other_challenges_stay_and_other_hooks_are_told(tmp_path: Path) -> None:
    """With the reason, and with what to do."""
    made = planned(acme_sh(tmp_path / "web", Le_Webroot="/srv/www", Le_PreHook=encoded("x")))
    assert "by DNS alone" in made.certificates[0].why
    assert "Le_PreHook" in {row.what for row in made.rows if row.fate is Fate.BY_HAND}
    made = planned(acme_sh(tmp_path / "two", Le_Webroot="dns_cf,dns_aws"))
    assert "by DNS alone" in made.certificates[0].why


def test_a_key_file_of_bind_makes_a_solver(tmp_path: Path) -> None:
    """dns_nsupdate keeps the file's path, and maybe a zone."""
    key = put(tmp_path / "k", f'key "k.test" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    told = {"SAVED_NSUPDATE_KEY": str(key), "SAVED_NSUPDATE_SERVER": "192.0.2.1"}
    root = acme_sh(tmp_path / "home", Le_Webroot="dns_nsupdate", **told)
    made = planned(root)
    assert made.secrets == {"rfc2136.secret": SECRET.encode()}
    assert "server: 192.0.2.1" in made.document
