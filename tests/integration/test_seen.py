"""What the daemon shows of what it did not do itself, or cannot go on with."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certrotd.scheduling.clock_trust import from_json, to_json
from tests.integration.daemon import HOST, reload, running
from tests.integration.test_http import get, is_closed, listen
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.unit.daemon.http.scrape import value

NOT_AFTER = "certrotd_subject_not_after_timestamp_seconds"
WEB = {"kind": "certificate", "name": "web"}


def document(port: int) -> dict[str, Any]:
    """The document for programs."""
    found: dict[str, Any] = get(port, "/status.json").json
    return found


def test_a_rotation_by_hand_is_on_the_page_long_before_the_next_look(site: Site) -> None:
    """The alert says: certrotd rotate NAME. And then everything says that it is mended."""
    site.internal()
    port = listen(site)
    mended = site.directory / "mended"
    site.command("service", f"test -e {mended}")
    site.certificate("web", HOST, targets=["service"])
    with running(site):
        wait_until(lambda: not is_closed(port))
        wait_until(lambda: document(port)["failing"] == ["certificate/web"])
        mended.touch()
        site.rotate("web")
        wait_until(lambda: document(port)["failing"] == [])
        assert document(port)["states"]["certificate"]["ok"] == 1
        text = get(port, "/metrics").text
        assert value(text, NOT_AFTER, **WEB) == _end(site)
        assert "All is well" in get(port, "/").text

        site.rotate("web", "--force")
        wait_until(
            lambda: value(get(port, "/metrics").text, NOT_AFTER, **WEB) == _end(site),
        )


def test_a_rotation_that_is_stuck_is_seen_after_a_restart(site: Site) -> None:
    """What is served goes on to expire, whatever a rotation comes to."""
    site.internal()
    port = listen(site)
    mended = site.directory / "mended"
    site.command("blind", f"test -e {mended}")
    entry = site.certificate("web", HOST)
    site.rotate()
    entry["targets"] = ["blind"]
    assert site.rotate("web", "--force", expect=1).row("web")["result"] == "stuck"
    with running(site):
        wait_until(lambda: not is_closed(port))
        wait_until(lambda: document(port)["subjects"][0]["in_flight"]["tries"] == 2)
        [row] = document(port)["subjects"]
        flight = row["in_flight"]
        assert document(port)["failing"] == ["certificate/web"]
        assert (flight["step"], flight["undoing"]) == ("baseline", True)
        assert "exited with 1" in flight["why"]
        assert flight["until"] is not None
        assert row["not_after"] == site.leaf("web").not_valid_after_utc.isoformat()
        text = get(port, "/metrics").text
        assert value(text, NOT_AFTER, **WEB) == _end(site)
        since = value(text, "certrotd_subject_in_flight_since_timestamp_seconds", **WEB)
        assert since == datetime.fromisoformat(flight["since"]).timestamp()
        assert "undoing baseline" in get(port, "/").text
        mended.touch()
        site.rotate("web", expect=1)  # undone at last, as it failed
        wait_until(lambda: document(port)["subjects"][0]["in_flight"] is None)


def test_journals_that_cannot_be_listed_are_no_reason_to_say_all_is_well(site: Site) -> None:
    """What is in flight would never go on, and nobody would hear of it."""
    site.internal()
    port = listen(site)
    site.certificate("web", HOST)
    journals = site.state / "journal" / "certificate"
    with running(site) as daemon:
        daemon.wait_for("web: done")
        wait_until(lambda: not is_closed(port))
        journals.rmdir()
        journals.write_text("")
        assert "the journals: cannot list" in daemon.wait_for("the journals: ")
        wait_until(lambda: document(port)["failing"] == ["certificate/web"])
        assert "All is well" not in get(port, "/").text
        assert value(get(port, "/metrics").text, NOT_AFTER, **WEB) == _end(site)
        journals.unlink()
        daemon.wait_for("the journals: the problem is over")
        wait_until(lambda: document(port)["failing"] == [])


def test_a_wrong_clock_is_why_nothing_is_ordered(site: Site) -> None:
    """Not "due, next: now", for as long as nobody sets the clock."""
    site.internal()
    port = listen(site)
    site.certificate("web", HOST)
    site.write()
    _last_run(site.state, datetime(2100, 1, 1, tzinfo=UTC))
    with running(site):
        wait_until(lambda: not is_closed(port))
        wait_until(lambda: document(port)["states"]["certificate"]["missing"] == 1)
        [row] = document(port)["subjects"]
        assert row["held"]["by"] == "clock"
        assert "which is before the last run (2100-01-01 00:00Z)" in row["reason"]
        assert "is before the last run" in get(port, "/").text
        of_the_day = row["reason"].partition(", which")[2]
        assert site.status("web")["reason"].endswith(of_the_day)
        assert (row["next_check"], site.status("web")["next_check"]) == (None, None)


def _last_run(state: Path, when: datetime) -> None:
    state.mkdir(mode=0o700)
    (state / "clock.json").write_bytes(to_json(when))
    assert from_json((state / "clock.json").read_bytes()) == when


def _end(site: Site) -> float:
    return site.leaf("web").not_valid_after_utc.timestamp()


def test_a_mended_configuration_is_tried_at_once(site: Site) -> None:
    """After a reload and after a restart: nobody waits for a backoff that is about the old one."""
    site.internal()
    port = listen(site)
    site.command("service", "exit 3")
    site.certificate("web", HOST, targets=["service"])
    for _ in range(2):
        site.rotate("web", expect=1)
    with running(site) as daemon:
        wait_until(lambda: not is_closed(port))
        wait_until(lambda: document(port)["failing"] == ["certificate/web"])
        site.command("service", "exit 0")
        reload(site, daemon)
        wait_until(lambda: document(port)["states"]["certificate"]["ok"] == 1)
    site.command("service", "exit 3")
    site.rotate("web", "--force", expect=1)
    with running(site):
        wait_until(lambda: not is_closed(port))
        wait_until(lambda: document(port)["subjects"][0]["failures"] == 2)
    site.command("service", "exit 0")
    site.write()
    with running(site):
        wait_until(lambda: not is_closed(port))
        wait_until(lambda: document(port)["states"]["certificate"]["ok"] == 1)
