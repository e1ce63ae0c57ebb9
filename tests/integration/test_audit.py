"""The audit log of a real daemon, and what somebody, or a kill, does to it meanwhile."""

from pathlib import Path

import pytest

from certrotd.state.check import FOLDERS
from tests.integration.daemon import HOST, running
from tests.integration.test_http import get, listen, ready
from tests.integration.test_notify import heard, receiver, told
from tests.parts.process import wait_until
from tests.parts.receiver import Receiver
from tests.parts.site import Site

__all__ = ["receiver"]  # a fixture


def cut(log: Path, keep: int) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:keep]))


@pytest.mark.parametrize("keep", [0, 2])
def test_a_log_that_was_emptied_or_cut_is_noticed_at_the_start(
    site: Site, receiver: Receiver, keep: int
) -> None:
    """Also where nothing is due for months: log, alert and page; recording goes on."""
    told(site, receiver)
    port = listen(site)
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    log = site.state / "audit" / "audit.jsonl"
    cut(log, keep)
    with running(site) as daemon:
        daemon.wait_for("the audit log is damaged: the log does not end with record ")
        wait_until(lambda: heard(receiver) == [("audit_broken", "raised")])
        wait_until(lambda: ready(port))
        assert "The audit log is damaged" in get(port, "/").text
    assert site.run("audit", "verify").code == 1
    site.rotate("web", "--force")
    assert b'"rotation.finished"' in log.read_bytes().splitlines()[-1]


def test_a_log_that_is_emptied_under_the_daemon_is_noticed_at_the_next_append(site: Site) -> None:
    """By whoever appends: here a rotation by hand, which says so too."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    cut(site.state / "audit" / "audit.jsonl", 0)
    run = site.rotate("web", "--force")
    assert "the audit log is damaged: the log does not end with record " in run.stderr
    assert "damaged" not in site.rotate("web", "--force").stderr  # the control


def test_temporary_files_of_a_kill_are_removed_from_every_directory_of_the_state(
    site: Site,
) -> None:
    """By the daemon and by the next rotation by hand, whether or not anything is due."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    folders = [site.state, *(each for each in site.state.iterdir() if each.is_dir())]
    assert {each.name for each in folders[1:]} - FOLDERS == {site.store.name}
    folders += [site.state / "internal" / "ca"]
    left = [each / ".what.json.certrotd-tmp" for each in folders if each != site.store]
    assert len(left) > 5
    for each in left:
        each.touch()
    site.rotate()
    assert [each for each in left if each.exists()] == []
    for each in left:
        each.touch()
    with running(site):
        wait_until(lambda: not any(each.exists() for each in left))


def test_the_log_is_also_on_standard_error_where_that_is_asked_for(site: Site) -> None:
    """In a pod it ends with the pod, and what collects its output keeps it."""
    site.internal()
    site.certificate("web", HOST)
    assert '"seq"' not in site.run("rotate", "web").stderr  # the control
    site.config["log"] = {"audit": True}
    before = (site.state / "audit" / "audit.jsonl").read_text()
    said = site.run("rotate", "web", "--force").stderr
    written = (site.state / "audit" / "audit.jsonl").read_text().removeprefix(before)
    assert written.splitlines() == [line for line in said.splitlines() if '"seq"' in line]
    assert "rotation.finished" in written
