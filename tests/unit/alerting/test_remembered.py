"""The document of open alerts, and how they are sent: trouble with either hinders nobody."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certrotd.alerting import dispatch as module
from certrotd.certs.policy import id_of
from certrotd.config.secrets import EnvironmentSecret
from certrotd.errors import Failure
from certrotd.lifecycle.alert import Resolved
from certrotd.lifecycle.report import Report
from certrotd.notify.apprise import Apprise
from certrotd.notify.webhook import Webhook
from certrotd.observers import Observers
from tests.builders import DAY, generation
from tests.fakes.notifier import MemoryNotifier
from tests.unit.alerting.alerting_bench import ALERT, FAIL, NOW, Bench, Now, awaits, entry
from tests.unit.alerting.test_rules import FAILED, look


def test_a_certificate_that_left_the_configuration_is_forgotten(
    bench: Callable[..., Bench],
) -> None:
    """Nobody can resolve it; when it comes back it is new."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    rig.observer.trouble("the budget of le", Failure("no"))
    awaits(rig, 2)
    rig.observer.configured([id_of("www")], [])
    rig.observer.configured([id_of("www"), id_of("web")], [])
    rig.observer.trouble("the budget of le", Failure("no"))
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    assert awaits(rig, 3)[2] == "raised certificate/web: the rotation failed"


def test_a_reload_keeps_the_ways_that_are_the_same(bench: Callable[..., Bench]) -> None:
    """What waits still goes out; another entry begins anew, and a removed one ends."""
    rig = bench(ops=entry(), other=entry())
    rig.observer.raise_alert(ALERT)
    awaits(rig, 1)
    awaits(rig, 1, "other")
    rig.observer.use({"ops": entry(), "other": entry(severity="error"), "new": entry()})
    rig.observer.raise_alert(ALERT)
    assert awaits(rig, 1, "new") == ["raised certificate/web: stuck"]
    assert len(rig.arrived()) == len(rig.arrived("other")) == 1  # they know
    rig.observer.use({"new": entry()})
    rig.observer.resolve(Resolved(ALERT.key, "certificate/web: over."))
    assert awaits(rig, 2, "new")[1] == "resolved certificate/web: over"
    assert len(rig.arrived()) == 1


def test_without_notifications_nothing_happens(tmp_path: Path) -> None:
    """Nor is a file written."""
    rig = Bench(tmp_path)
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    rig.observer.looked(look(generation(age=81 * DAY), FAILED))
    rig.observer.close()
    assert (list(tmp_path.iterdir()), rig.said) == ([], [])


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
def test_a_directory_in_place_of_the_alerts_file_is_kept_aside_and_reported(
    bench: Callable[..., Bench], tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """Alerts go on, whatever somebody has put there."""
    put(tmp_path / "alerts.json")
    rig = bench()
    assert (tmp_path / "alerts.json.unreadable").exists()
    assert "is not what certrotd wrote" in rig.said[0]


@pytest.mark.parametrize("content", [b"{", b'{"version": 3}', b"[" * 100_000])
def test_a_file_of_somebody_else_is_kept_aside_and_said(
    bench: Callable[..., Bench], tmp_path: Path, content: bytes
) -> None:
    """A newer version's, say; alerts go on."""
    (tmp_path / "alerts.json").write_bytes(content)
    rig = bench()
    assert (tmp_path / "alerts.json.unreadable").read_bytes() == content
    assert "is not what certrotd wrote" in rig.said[0]
    rig.observer.raise_alert(ALERT)
    assert awaits(rig, 1) == ["raised certificate/web: stuck"]


def test_a_file_that_cannot_be_read_or_written_is_reported_once(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """The alerts are what matters; here, what is in the way cannot be moved aside either."""
    (tmp_path / "alerts.json").mkdir()
    (tmp_path / "alerts.json.unreadable").touch()
    rig = bench()
    assert rig.said[0].startswith("cannot read the alerts sent so far: ")
    for number in range(3):
        rig.observer.raise_alert(replace(ALERT, key=f"k{number}"))
        awaits(rig, number + 1)
    rig.observer.close()
    assert len(rig.said) == 2
    assert rig.said[1].startswith("cannot record the alerts sent, a restart will repeat them: ")


def test_undelivered_alerts_are_logged_at_the_end(bench: Callable[..., Bench]) -> None:
    """And told after the next start, since it is not remembered as told."""
    rig = bench()
    notifier = rig.notifiers["ops"] = MemoryNotifier()
    notifier.gate.clear()
    rig.observer.raise_alert(ALERT)
    rig.observer.close(0.2)
    assert notifier.sent == []
    assert rig.said == ["stopped with 1 alert undelivered"]
    kept = json.loads((rig.state / "alerts.json").read_bytes())
    assert kept["told"] == {"ops": {}}
    notifier.gate.set()


def test_a_service_that_hangs_does_not_hold_the_observers_up(
    bench: Callable[..., Bench],
) -> None:
    """A tick over 1,000 certificates in trouble is over while the first alert still waits."""
    rig = bench()
    notifier = rig.notifiers["ops"] = MemoryNotifier()
    notifier.gate.clear()
    names = [f"web{number}" for number in range(1000)]
    complaints: list[str] = []
    observers = Observers([rig.observer], complaints.append)
    observers.configured([id_of(name) for name in names], [])
    for name in names:
        observers.ended(Report(id_of(name), outcome=FAIL))
    assert notifier.sent == []
    assert complaints == []
    assert any("more than 500 alerts wait for ops" in words for words in rig.said)
    notifier.gate.set()


def test_the_notifier_of_an_entry_is_found_by_its_type(tmp_path: Path) -> None:
    """A new one is a module and a schema entry."""
    from certrotd.config.notifications import AppriseEntry

    clock = Now(NOW)
    hook = module.make("ops", entry(), state_dir=tmp_path, clock=clock)
    urls = (EnvironmentSecret(env="URL"),)
    other = module.make(
        "ops", AppriseEntry(type="apprise", urls=urls), state_dir=tmp_path, clock=clock
    )
    assert isinstance(hook, Webhook)
    assert isinstance(other, Apprise)
