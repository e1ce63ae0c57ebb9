"""Services that a host runs are told by targets of their own, each proven by its own protocol."""

import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from certrotd.clock import SystemClock
from certrotd.errors import Transient
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.pki.facts import fingerprint
from tests.parts import Nginx, Parts, locate
from tests.parts.apache import Apache
from tests.parts.caddy import Caddy
from tests.parts.client import served_leaf
from tests.parts.handshakes import steady
from tests.parts.postgresql import PASSWORD, PostgreSQL, PostgreSQLReplica
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site
from tests.parts.starttls import Dovecot, Postfix

NAME = "mail.example.test"
_MAY_RELOAD = (
    "select pg_is_in_recovery(), has_function_privilege('certrotd', 'pg_reload_conf()', 'execute')"
)


@pytest.fixture
def made(site: Site) -> Site:
    """One with a certificate that nothing serves yet."""
    site.internal()
    site.certificate("web", NAME)
    site.rotate()
    return site


def leaf(site: Site) -> str:
    """The SHA-256 of the live one."""
    return fingerprint(site.leaf("web"))


def told(site: Site, target: dict[str, Any], ports: Sequence[int], **probe: Any) -> None:
    """The target of the certificate, proven at those ports of loopback."""
    every = [{"address": f"127.0.0.1:{port}", "deadline": "60s", **probe} for port in ports]
    site.config["targets"]["server"] = {**target, "probe": every}
    site.config["certificates"][0]["targets"] = ["server"]


def rotated(site: Site) -> str:
    """The leaf after a rotation that is done."""
    assert site.rotate("--force").row("web")["result"] == "done"
    return leaf(site)


def refused(site: Site, *words: str) -> None:
    """A rotation that fails in those words before an order: nothing has been made for it."""
    before = site.generations("web")
    run = site.rotate("--force", expect=1)
    for each in words:
        assert each in run.stdout
    assert site.generations("web") == before


def databases_leaf(server: PostgreSQL) -> str:
    """What a new connection is shown after its SSLRequest; nothing while it serves no TLS."""
    endpoint = Endpoint("127.0.0.1", server.port, NAME, starttls="postgres")
    try:
        return TlsProber(SystemClock()).look(endpoint).fingerprint
    except Transient:
        return ""


def turn_on(server: PostgreSQL, leaf: str) -> None:
    """TLS, with the files that are there."""
    with server.connect() as admin:
        admin.execute("alter system set ssl = on")
        admin.execute("select pg_reload_conf()")
    wait_until(lambda: databases_leaf(server) == leaf)


@pytest.fixture
def database(parts: Parts, made: Site) -> PostgreSQL:
    """A PostgreSQL that serves copies of the certificate, which belong to its user."""
    locate.require_root()  # the server runs as another user
    server = parts.start(PostgreSQL)
    files = {
        "fullchain": str(server.data / "server.crt"),
        "privkey": str(server.data / "server.key"),
    }
    made.config["certificates"][0]["install"] = [{**files, "owner": "postgres", "mode": "0600"}]
    made.rotate()
    secret = made.directory / "postgresql.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    target = {"type": "postgresql", "url": server.url(), "password": {"file": str(secret)}}
    told(made, target, [server.port], starttls="postgres")
    return server


def test_clients_of_postgresql_stay_connected(made: Site, database: PostgreSQL) -> None:
    """A session within a transaction goes on; a connection that comes later sees the new leaf."""
    refused(made, "PostgreSQL serves no TLS: ssl is off", "set ssl = on")
    old = leaf(made)
    turn_on(database, old)
    with database.connect() as admin:  # as initdb makes one where there is no locale
        admin.execute("create database ascii template template0 encoding 'SQL_ASCII' locale 'C'")
    made.config["targets"]["server"]["url"] = database.url("ascii")
    url = f"{database.url()}?sslmode=require"
    with psycopg.connect(url, password=PASSWORD) as client:
        client.execute("create temporary table kept as select 1 as one")
        new = rotated(made)
        assert databases_leaf(database) == new != old
        assert client.execute("select one from kept").fetchone() == (1,)


def test_a_pair_that_postgresql_does_not_take_is_undone(made: Site, database: PostgreSQL) -> None:
    """It logs why and keeps the former one: the probe sees that, and the former files return."""
    old = leaf(made)
    turn_on(database, old)
    stale = database.data / "stale.key"
    stale.write_bytes((database.data / "server.key").read_bytes())
    stale.chmod(0o600)
    database.own(stale)
    with database.connect() as admin:  # the key is not replaced with its certificate
        admin.execute("alter system set ssl_key_file = 'stale.key'")
    made.config["targets"]["server"]["probe"][0]["deadline"] = "3s"
    run = made.rotate("--force", expect=1)
    assert "does not serve certificate" in run.stdout
    assert databases_leaf(database) == leaf(made) == old
    assert "private key" in database.log_file.read_text()
    stale.chmod(0o640)
    refused(made, "PostgreSQL would not take its key", f"{stale} has the mode 0640")
    stale.chmod(0o600)
    with database.connect() as admin:
        admin.execute("alter system reset ssl_key_file")
        admin.execute("select pg_reload_conf()")
        admin.execute("create role certrotd login password 'canary-database-password'")
    made.config["targets"]["server"]["url"] = database.url(user="certrotd")
    refused(made, "does not let certrotd reload it", "grant execute on function pg_reload_conf()")
    with database.connect() as admin:
        admin.execute("grant execute on function pg_reload_conf() to certrotd")
    made.config["targets"]["server"]["probe"][0]["deadline"] = "60s"
    assert rotated(made) == databases_leaf(database) != old


def test_a_hot_standby_reloads_as_its_primary_does(
    parts: Parts, made: Site, database: PostgreSQL
) -> None:
    """It is read-only, and its files are its own: certrotd asks nothing of it but to reload."""
    turn_on(database, leaf(made))
    with database.connect() as admin:
        admin.execute("create role certrotd login password 'canary-database-password'")
    standby = parts.start(PostgreSQLReplica, database)
    secret = made.config["targets"]["server"]["password"]
    made.config["targets"]["standby"] = {
        "type": "postgresql",
        "url": standby.url(user="certrotd"),
        "password": secret,
        "probe": [{"address": f"127.0.0.1:{standby.port}", "starttls": "postgres"}],
        "wave": 1,
    }
    certificate = made.config["certificates"][0]
    copies = {"owner": "postgres", "mode": "0600", "fullchain": str(standby.data / "server.crt")}
    certificate["install"] += [{**copies, "privkey": str(standby.data / "server.key")}]
    certificate["targets"] = ["server", "standby"]
    refused(made, "does not let certrotd reload it", "grant execute on function pg_reload_conf()")
    with database.connect() as admin:  # a standby refuses to grant anything
        admin.execute("grant execute on function pg_reload_conf() to certrotd")
    with standby.connect() as client:
        wait_until(lambda: client.execute(_MAY_RELOAD).fetchone() == (True, True))
        old = leaf(made)
        assert databases_leaf(standby) == old
        assert rotated(made) == databases_leaf(database) == databases_leaf(standby) != old
        assert client.execute("select pg_is_in_recovery()").fetchone() == (True,)


def test_postfix_is_tested_reloaded_and_proven(parts: Parts, made: Site) -> None:
    """One that does not run, or whose configuration is broken, stops a rotation before an order."""
    locate.require_root()  # its processes run as several users
    postfix = parts.start(Postfix, *made.files("web"))
    told(made, {"type": "postfix", "config": str(postfix.home)}, [postfix.port], starttls="smtp")
    rotated(made)
    main = postfix.home / "main.cf"
    sound = main.read_text()
    main.write_text(f"{sound}default_process_limit = many\n")
    refused(made, "check exited with 1")
    main.write_text(sound)
    postfix.stop_serving()
    refused(made, "the Postfix mail system is not running")


def test_dovecot_is_tested_reloaded_and_proven(parts: Parts, made: Site) -> None:
    """The same of Dovecot."""
    locate.require_root()  # its processes run as several users
    dovecot = parts.start(Dovecot, *made.files("web"))
    target = {"type": "dovecot", "config": str(dovecot.config)}
    told(made, target, [dovecot.port], starttls="imap")
    rotated(made)
    sound = dovecot.config.read_text()
    dovecot.config.write_text(f"{sound}no_such_setting = yes\n")
    refused(made, "Unknown setting: no_such_setting")
    dovecot.config.write_text(sound)
    dovecot.stop_serving()
    refused(made, "doveadm", "service status")


def test_apache_restarts_gracefully_under_load(parts: Parts, made: Site) -> None:
    """No connection fails; a configuration that it refuses stops a rotation before an order."""
    apache = parts.start(Apache, *made.files("web"))
    target = {
        "type": "apache",
        "program": str(locate.require("apachectl")),
        "config": str(apache.config),
        "pid_file": str(apache.pid_file),
    }
    told(made, target, [apache.port])
    old = leaf(made)
    with steady(apache.port, NAME) as clients:
        clients.await_more(old)
        new = rotated(made)
        clients.await_more(new)
    assert clients.failed == []
    sound = apache.config.read_text()
    apache.config.write_text(f"{sound}NoSuchDirective on\n")
    refused(made, "NoSuchDirective")
    apache.config.write_text(sound)
    apache.stop_serving()
    refused(made, str(apache.pid_file))


def test_an_apache_is_proven_at_each_listener_and_virtual_host(parts: Parts, made: Site) -> None:
    """Three with one certificate; the one that has files of its own undoes them all."""
    www, other = "www.example.test", free_port()
    made.config["certificates"][0]["names"].append(www)
    made.rotate()
    chain, key = made.files("web")
    own = made.directory / chain.name, made.directory / key.name
    for file, copy in zip((chain, key), own, strict=True):
        shutil.copy(file, copy)
    apache = parts.start(Apache, chain, key, second=(other, www, *own))
    target = {
        "type": "apache",
        "program": str(locate.require("apachectl")),
        "config": str(apache.config),
        "pid_file": str(apache.pid_file),
    }
    told(made, target, [apache.port, other, other])
    probe = made.config["targets"]["server"]["probe"][2]
    probe |= {"sni": www, "deadline": "2s"}

    def shown() -> list[str]:
        places = ((apache.port, NAME), (other, NAME), (other, www))
        return [fingerprint(served_leaf("127.0.0.1", *place)) for place in places]

    old = leaf(made)
    assert shown() == [old] * 3
    why = made.rotate("--force", expect=1).row("web")["why"]
    assert f"127.0.0.1:{other} ({www}) does not serve certificate" in why
    assert "rolled back" in why
    assert shown() == [leaf(made)] * 3 == [old] * 3
    apache.reads(own, (chain, key))
    probe["deadline"] = "60s"
    new = rotated(made)
    assert shown() == [new] * 3 != [old] * 3


def test_an_apache_that_ends_of_the_new_pair_is_started_with_the_former(
    parts: Parts, made: Site
) -> None:
    """Its own test does not look whether key and certificate belong together."""
    chain, key = made.files("web")
    stale = made.directory / "stale.key"  # the key is not replaced with its certificate
    stale.write_bytes(key.read_bytes())
    apache = parts.start(Apache, chain, stale)
    control = [str(locate.require("apachectl")), "-f", str(apache.config)]
    target = {"type": "apache", "config": str(apache.config), "pid_file": str(apache.pid_file)}
    told(made, target, [apache.port])
    made.config["targets"]["server"]["probe"][0]["deadline"] = "10s"
    old = leaf(made)
    try:
        started = made.start("rotate", "--all", "--force", "--json")
        wait_until(lambda: not apache.is_running)  # and is no zombie, which would take a signal
        run = started.end(within=100)
        assert "rolled back" in run.row("web")["why"], run.stderr
        assert fingerprint(served_leaf("127.0.0.1", apache.port, NAME)) == leaf(made) == old
    finally:
        subprocess.run([*control, "-k", "stop"], check=True)
        wait_until(lambda: not apache.pid_file.exists())


def test_caddy_is_told_by_its_own_command(parts: Parts, made: Site) -> None:
    """It reads files of certificates only where it is forced to: the page says so."""
    caddy = parts.start(Caddy, *made.files("web"))
    program = str(caddy.binary)
    reload = [program, "reload", "--config", str(caddy.config), "--address", caddy.admin]
    told(made, {"type": "command", "command": reload}, [caddy.port])
    made.config["targets"]["server"]["probe"][0]["deadline"] = "2s"
    assert "does not serve certificate" in made.rotate("--force", expect=1).stdout
    made.config["targets"]["server"]["probe"][0]["deadline"] = "60s"
    made.config["targets"]["server"]["command"] = [*reload, "--force"]
    assert fingerprint(served_leaf("127.0.0.1", caddy.port, NAME)) != rotated(made)
    assert fingerprint(served_leaf("127.0.0.1", caddy.port, NAME)) == leaf(made)


def test_a_service_that_notices_by_itself_is_only_proven(parts: Parts, made: Site) -> None:
    """A Postfix whose processes serve one client each reads its files again; nginx never does."""
    locate.require_root()  # its processes run as several users
    postfix = parts.start(Postfix, *made.files("web"), more="max_use = 1")
    told(made, {"type": "none"}, [postfix.port], starttls="smtp")
    rotated(made)
    never = parts.start(Nginx, {NAME: made.files("web")})
    told(made, {"type": "none"}, [never.port])
    made.config["targets"]["server"]["probe"][0]["deadline"] = "1s"
    assert "does not serve certificate" in made.rotate("--force", expect=1).stdout
