"""The example wing and the certificates in one real daemon, by every command and page."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import HOST, running
from tests.integration.test_http import get, listen, ready
from tests.parts import site as sites
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.wings import launch
from tests.wings.token_files import digest

WAITS = "waits for the acknowledgement of its consumer"


@pytest.fixture
def both(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A certificate of a private CA, and a token that is always old."""
    monkeypatch.setattr(sites, "PROGRAM", Path(launch.__file__))
    site.internal()
    site.certificate("web", HOST)
    (site.directory / "tokens.json").write_text(json.dumps({"api": {"every": 3600}}))
    return site


def old(site: Site) -> str:
    """Its token, which from now on has been there for long."""
    path = site.directory / "api"
    long_ago = time.time() - 7200
    os.utime(path, (long_ago, long_ago))
    return path.read_text()


def subjects(port: int) -> dict[str, Any]:
    """What the daemon shows, by name."""
    return {each["name"]: each for each in get(port, "/status.json").json["subjects"]}


def test_two_wings_run_in_one_daemon_and_an_acknowledgement_wakes_what_waits_for_it(
    both: Site,
) -> None:
    """Parked, visible, woken, finished; the certificate beside it is rotated all the same.

    The next look by itself would come in an hour.
    """
    port = listen(both)
    with running(both) as daemon:
        wait_until(lambda: ready(port) and (both.directory / "api").exists())
        before = old(both)
        assert both.run("wake", "token/api").code == 0  # what changed without certrotd
        wait_until(lambda: WAITS in subjects(port)["api"]["reason"])
        assert subjects(port)["api"]["state"] == "in flight"
        wait_until(lambda: WAITS in get(port, "/token/api").text)
        assert both.rotate("web", "--force").row("web")["result"] == "done"
        shown = both.run("status", "--json").json
        assert {each["kind"] for each in shown} == {"certificate", "token"}
        (both.directory / "api.ack").write_text(digest(both.directory / "api.next"))
        assert "yes" in both.run("wake", "token/api").stdout
        wait_until(lambda: (both.directory / "api").read_text() != before)
        wait_until(lambda: subjects(port)["api"]["state"] == "ok")
        daemon.wait_for("api: done")
    assert both.run("history", "token/api", "--json").json[-1]["outcome"] == "finished"
    audit = both.run("audit", "show", "token/api").stdout
    assert "rotation.finished" in audit


def test_a_parked_rotation_of_the_example_is_cancelled_by_command(both: Site) -> None:
    """Undone to its last savepoint: the token that is in use stays."""
    both.rotate("token/api")
    before = old(both)
    assert both.rotate("token/api").json[0]["result"] == "parked"
    assert (both.directory / "api.next").exists()
    [planned] = both.run("plan", "token/api", "--explain", "--json").json
    assert WAITS in planned["why"]
    [cancelled] = both.run("cancel", "token/api", "--json").json
    assert cancelled["result"] == "cancelled"
    assert not (both.directory / "api.next").exists()
    assert (both.directory / "api").read_text() == before
    refused = both.run("rollback", "token/api")
    assert refused.code == 2
    assert "a token has no earlier generations to go back to" in refused.stderr


def test_a_kill_while_it_waits_loses_nothing(both: Site) -> None:
    """The next process goes on waiting, and then ends it."""
    both.rotate("token/api")
    before = old(both)
    daemon = both.start("run")
    daemon.wait_for(WAITS)
    daemon.signal(signal.SIGKILL)
    daemon.end()
    (both.directory / "api.ack").write_text(digest(both.directory / "api.next"))
    with running(both):
        wait_until(lambda: (both.directory / "api").read_text() != before)


def test_a_reload_that_a_wing_cannot_take_is_refused_and_the_daemon_continues(both: Site) -> None:
    """Not even a defect of one wing ends the process that keeps all others fresh."""
    port = listen(both)
    with running(both) as daemon:
        wait_until(lambda: ready(port) and (both.directory / "api").exists())
        (both.directory / "tokens.json").write_text("no JSON")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("JSONDecodeError")
        [refused] = get(port, "/status.json").json["config"]["refused"]
        assert "JSONDecodeError" in refused
        assert set(subjects(port)) == {"web", "api"}
        (both.directory / "tokens.json").write_text("{}")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: set(subjects(port)) == {"web"})
