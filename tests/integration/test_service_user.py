"""The daemon beside root's hands: what it cannot use is said everywhere, and heals by itself."""

import os

import pytest

from tests.integration.daemon import HOST, OTHER, running
from tests.integration.test_http import get, listen, ready
from tests.parts import locate
from tests.parts.process import wait_until
from tests.parts.site import Site

NOBODY = 65534
SHARED = ["audit/head.json", "audit/audit.jsonl", "audit", "journal", "history", "certificates"]


@pytest.mark.parametrize("path", SHARED)
def test_a_state_the_service_cannot_use_turns_everything_red_until_it_is_repaired(
    site: Site, path: str
) -> None:
    """Page, status and log name the file and the cure; no restart is needed, before or after."""
    locate.require_root()
    port = listen(site)
    site.internal()
    site.certificate("web", HOST)
    site.certificate("www", OTHER)
    site.state.mkdir(mode=0o700)
    os.chown(site.state, NOBODY, NOBODY)
    site.rotate()
    spoilt = site.state / path
    spoilt.parent.mkdir(exist_ok=True)
    os.chown(spoilt, NOBODY, NOBODY)
    with running(site) as daemon:
        wait_until(lambda: ready(port) and get(port, "/status.json").json["failing"] == [])
        os.chown(spoilt, 0, 0)
        told = daemon.wait_for(f"the directories: {spoilt} belongs to root and cannot be used by ")
        assert f"as root: chown -R nobody: {site.state}" in told
        assert get(port, "/status.json").json["failing"] == ["certificate/web", "certificate/www"]
        page = get(port, "/").text
        assert "Nothing can rotate" in page
        assert f"{spoilt} belongs to root" in page
        status = site.run("status")
        assert status.code == 1
        assert f"error: {spoilt} belongs to root" in status.stderr
        os.chown(spoilt, NOBODY, NOBODY)
        daemon.wait_for("the directories: the problem is over")
        assert get(port, "/status.json").json["failing"] == []
        assert site.run("status").code == 0
