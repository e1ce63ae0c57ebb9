"""Mail, directory, chat and database servers, asked over STARTTLS for what they serve."""

from pathlib import Path
from typing import Any

import pytest

from tests.parts import Parts, locate, pki
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PostgreSQL
from tests.parts.site import Site
from tests.parts.starttls import Dovecot, Postfix, Prosody, Slapd

NAMES = ("mail.example.test", Prosody.host)


def proven(site: Site, target: dict[str, Any], *probes: dict[str, Any]) -> None:
    """A rotation whose proof is what that server serves after it was told."""
    entry = [{"sni": NAMES[0], "deadline": "60s", **each} for each in probes]
    site.config["targets"]["server"] = {**target, "probe": entry}
    site.config["certificates"][0]["targets"] = ["server"]
    assert site.rotate("--force").row("web")["result"] == "done"


@pytest.fixture
def made(site: Site) -> Site:
    """One with a certificate that nothing serves yet."""
    site.internal()
    site.certificate("web", *NAMES)
    site.rotate()
    return site


def test_postfix_is_proven_over_smtp(parts: Parts, made: Site) -> None:
    """An smtpd that is busy when it is told goes on with the old one: the proof waits for it."""
    locate.require_root()  # its processes run as several users
    postfix = parts.start(Postfix, *made.files("web"))
    told = {"type": "command", "command": list(postfix.reload)}
    proven(made, told, {"address": f"127.0.0.1:{postfix.port}", "starttls": "smtp"})


def test_dovecot_is_proven_over_imap_and_pop3(parts: Parts, made: Site) -> None:
    """Both of its login services."""
    locate.require_root()  # its processes run as several users
    dovecot = parts.start(Dovecot, *made.files("web"))
    told = {"type": "command", "command": list(dovecot.reload)}
    imap = {"address": f"127.0.0.1:{dovecot.port}", "starttls": "imap"}
    pop3 = {"address": f"127.0.0.1:{dovecot.pop3}", "starttls": "pop3"}
    proven(made, told, imap, pop3)


def test_prosody_is_proven_over_xmpp(parts: Parts, made: Site) -> None:
    """It is asked for a host that it serves, by the name that the probe has."""
    locate.require_root()  # its processes run as several users
    prosody = parts.start(Prosody, *made.files("web"))
    told = {"type": "signal", "pid_file": str(prosody.pid_file)}
    address = f"127.0.0.1:{prosody.port}"
    proven(made, told, {"address": address, "starttls": "xmpp", "sni": Prosody.host})
    odd = made.run("inspect", address, "--starttls", "xmpp", "--sni", "other.example.test")
    assert odd.code == 1
    assert "offers no TLS (is its host one that it serves?)" in odd.stderr


def inspected(site: Site, port: int, protocol: str) -> set[str]:
    """The names of the certificate that certrotd inspect shows."""
    run = site.run("inspect", f"127.0.0.1:{port}", "--starttls", protocol, "--json")
    assert run.code == 0, run.stderr
    return set(run.json[0]["names"])


def test_a_directory_is_looked_at_over_ldap(parts: Parts, site: Site, tmp_path: Path) -> None:
    """A connection that goes over to TLS, and another without."""
    pair = pki.make_leaf(pki.make_root(), NAMES[0]).write(tmp_path, "slapd")
    slapd = parts.start(Slapd, *pair)
    assert inspected(site, slapd.port, "ldap") == {NAMES[0]}
    odd = site.run("inspect", f"127.0.0.1:{slapd.port}", "--starttls", "smtp")
    assert odd.code == 1


def test_databases_are_looked_at_over_their_own_protocols(parts: Parts, site: Site) -> None:
    """MariaDB says in its greeting whether it has a certificate; PostgreSQL is asked."""
    mariadb, postgresql = parts.start(MariaDB), parts.start(PostgreSQL)
    assert inspected(site, mariadb.port, "mysql") == {"127.0.0.1"}
    none = site.run("inspect", f"127.0.0.1:{postgresql.port}", "--starttls", "postgres")
    assert "the PostgreSQL server offers no TLS (set ssl = on)" in none.stderr
