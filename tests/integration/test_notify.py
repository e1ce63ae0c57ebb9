"""Alerts of the daemon as people get them: real runs, and web servers of the test to hear them."""

import base64
import hashlib
import hmac
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import HOST, OTHER, reload, running, stop
from tests.parts import Nginx, Parts, pki
from tests.parts.process import wait_until
from tests.parts.receiver import Receiver, receiving
from tests.parts.site import Gate, Site

KEY = b"k" * 32


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Whom alerts are posted to."""
    with receiving() as started:
        yield started


def told(site: Site, receiver: Receiver, name: str = "ops", **options: Any) -> None:
    """Have alerts posted there."""
    site.webhook(receiver.url, KEY, name, **options)


def heard(receiver: Receiver) -> list[tuple[str, str]]:
    """Kind and state of every alert; each must be signed."""
    found = []
    for got in receiver.got:
        stamp = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode()
        mac = base64.b64encode(hmac.new(KEY, stamp + got.body, hashlib.sha256).digest()).decode()
        assert got.headers["webhook-signature"] == f"v1,{mac}"
        found.append((got.json["data"]["event"], got.json["data"]["state"]))
    return found


def failing(site: Site, name: str = "web") -> Path:
    """A certificate that is there, and due at a target that does not work."""
    site.internal()
    entry = site.certificate(name, HOST)
    site.rotate()
    script = site.command("service", "echo does not start >&2\nexit 3")
    entry["targets"] = ["service"]
    return script


def test_a_failing_target_is_alerted_once_even_in_a_crash_loop_and_then_resolved(
    site: Site, receiver: Receiver
) -> None:
    """Somebody is woken once, and may go to bed again."""
    told(site, receiver)
    script = failing(site)
    with running(site) as daemon:
        wait_until(lambda: heard(receiver) == [("rolled_back", "raised")])
        wait_until((site.state / "alerts.json").exists)
        daemon.signal(signal.SIGKILL)
        daemon.end()
    alert = receiver.got[0].json["data"]
    assert alert["id"] == "certificate/web"
    assert "does not start" in alert["what"]
    assert "certrotd history certificate/web" in alert["todo"]
    assert alert["rotation"] == site.history("web")[-1]["id"]
    site.rotate("web", expect=1)  # by hand, in vain
    with running(site) as daemon:
        time.sleep(1.5)
        assert len(receiver.got) == 1
        script.write_text("#!/bin/sh\n")
        site.rotate("web")
        reload(site, daemon)
        wait_until(lambda: len(receiver.got) == 2)
    assert heard(receiver)[1] == ("rolled_back", "resolved")
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 2


def test_a_service_that_hangs_holds_up_neither_a_rotation_nor_the_end(
    site: Site, receiver: Receiver
) -> None:
    """What is told must not stop what it tells of."""
    receiver.hangs = True
    told(site, receiver, timeout="1h")
    failing(site)
    with running(site) as daemon:
        wait_until(lambda: len(receiver.got) == 1)
        site.certificate("www", OTHER)
        reload(site, daemon)
        daemon.wait_for("www: done")  # the receiver answers nothing before the end of the test
        ended = stop(daemon)
    assert ended.code == 0
    assert "stopped with 1 alert undelivered" in ended.stderr


def slow(site: Site) -> Gate:
    """A certificate due at a target that waits."""
    site.internal()
    entry = site.certificate("web", HOST)
    site.rotate()
    entry["targets"] = ["slow"]
    return site.gate("slow")


def test_a_reload_that_comes_too_late_does_not_kill_it(site: Site, receiver: Receiver) -> None:
    """At the end the last alerts are delivered for seconds, and what was told is written down."""
    receiver.hangs = True
    told(site, receiver, timeout="1h")
    failing(site)
    with running(site) as daemon:
        wait_until(lambda: len(receiver.got) == 1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("certrotd: stopped")
        daemon.signal(signal.SIGHUP)
        ended = daemon.end()
    assert ended.code == 0


def test_a_crash_in_a_rotation_is_alerted(site: Site, receiver: Receiver) -> None:
    """Somebody has to find out why."""
    told(site, receiver)
    gate = slow(site)
    with running(site) as daemon:
        gate.wait()
        daemon.signal(signal.SIGKILL)
        daemon.end()
    gate.open()
    with running(site):
        wait_until(lambda: ("recovered_after_crash", "raised") in heard(receiver))


def test_a_stop_in_a_rotation_is_not_alerted(site: Site, receiver: Receiver) -> None:
    """The control: whoever stopped it knows."""
    told(site, receiver)
    gate = slow(site)
    with running(site) as daemon:
        gate.wait()
        daemon.signal(signal.SIGTERM)
        gate.open()
        assert daemon.end().code == 0
    with running(site):
        wait_until(lambda: site.status("web")["state"] == "ok")
    assert receiver.got == []  # what is to be told is told before the end


def test_a_refused_configuration_and_its_correction_are_alerted(
    site: Site, receiver: Receiver
) -> None:
    """The file is wrong, and the daemon seems to be well."""
    told(site, receiver)
    site.internal()
    site.certificate("web", HOST)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        site.config["concurency"] = 1
        reload(site, daemon)
        wait_until(lambda: heard(receiver) == [("config_refused", "raised")])
        del site.config["concurency"]
        with receiving() as second:
            told(site, second, name="second")
            reload(site, daemon)
            wait_until(lambda: len(receiver.got) == 2)
            site.config["concurency"] = 1
            reload(site, daemon)  # who was added by the reload hears what comes after it
            wait_until(lambda: heard(second) == [("config_refused", "raised")])
    what = receiver.got[0].json["data"]["what"]
    assert 'did you mean "concurrency"' in what
    assert heard(receiver)[1] == ("config_refused", "resolved")


def test_an_audit_log_that_cannot_be_written_is_alerted(site: Site, receiver: Receiver) -> None:
    """Nothing is rotated any more, which nobody would see before it is late."""
    told(site, receiver)
    site.internal()
    site.certificate("web", HOST)
    site.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    (site.state / "audit").write_text("in the way")
    with running(site):
        wait_until(lambda: ("audit_broken", "raised") in heard(receiver))
    assert not (site.store / "web" / "live").exists()


def test_a_certificate_changed_by_somebody_else_is_alerted(site: Site, receiver: Receiver) -> None:
    """One of its files is gone: it is put back, and somebody should find out why."""
    told(site, receiver)
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    (site.live("web") / "privkey.pem").unlink()
    with running(site) as daemon:
        daemon.wait_for("web: done")
        wait_until(lambda: ("damaged", "raised") in heard(receiver))


def test_apprise_delivers_too(site: Site, receiver: Receiver) -> None:
    """In a process of its own; its URL is nowhere to be seen."""
    url = site.directory / "ops.url"
    url.write_text(f"json://user:hunter2hunter2@127.0.0.1:{receiver.port}/\n")
    url.chmod(0o600)
    site.config["notifications"] = {"ops": {"type": "apprise", "urls": [{"file": str(url)}]}}
    failing(site)
    with running(site) as daemon:
        wait_until(lambda: len(receiver.got) == 1)
        receiver.status = 500
        site.config["concurency"] = 1
        reload(site, daemon)
        wait_until(lambda: len(receiver.got) == 2)
        ended = stop(daemon)
    assert receiver.got[0].json["title"].endswith(": certificate/web: the deployment failed")
    assert "hunter2" not in ended.stderr


def test_notify_test_tries_each_notification(site: Site, receiver: Receiver) -> None:
    """Before the night in which it is needed."""
    told(site, receiver)
    site.internal()
    site.certificate("web", HOST)
    run = site.run("notify", "test")
    assert (run.code, run.stdout) == (0, "ops: delivered\n")
    assert heard(receiver) == [("test", "test")]
    receiver.status = 401
    refused = site.run("notify", "test", "ops")
    assert refused.code == 1
    assert refused.stdout.startswith("ops: notification ops: 127.0.0.1 answered 401")
    unknown = site.run("notify", "test", "opps")
    assert unknown.code == 2
    assert 'did you mean "ops"' in unknown.stderr
    assert not (site.state / "alerts.json").exists()


def test_an_endpoint_that_serves_another_certificate_is_alerted(
    parts: Parts, site: Site, receiver: Receiver
) -> None:
    """Whatever the renewer believes; and that it serves the right one again."""
    told(site, receiver, events=["served_mismatch"])
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    own = site.directory / "own"
    chain, key = pki.make_leaf(pki.make_root(), HOST).write(own, "web")
    nginx = parts.start(Nginx, {HOST: (chain, key)})
    site.config["watch"] = [
        {
            "address": f"127.0.0.1:{nginx.port}",
            "sni": HOST,
            "certificate": "web",
            "after": 1,
            "every": "1m",
        }
    ]
    with running(site) as daemon:
        wait_until(lambda: heard(receiver) == [("served_mismatch", "raised")])
        for ours, theirs in zip(site.files("web"), (chain, key), strict=True):
            theirs.write_bytes(ours.read_bytes())
        nginx.restart()  # no old workers that still serve the other one
        assert nginx.served(HOST) == site.leaf("web")
        reload(site, daemon)
        wait_until(lambda: len(receiver.got) == 2)
    alert = receiver.got[0].json["data"]
    assert alert["id"] == "certificate/web"
    assert "certrotd rotate certificate/web" in alert["todo"]
    assert heard(receiver)[1] == ("served_mismatch", "resolved")


def test_a_ca_that_is_away_is_one_alert_for_all_its_certificates(
    site: Site, receiver: Receiver
) -> None:
    """Two hundred messages about one CA are read by nobody."""
    told(site, receiver)
    away = {"type": "acme", "directory": "https://127.0.0.1:1/dir", "agree_to_terms": True}
    site.config["issuers"] = {"away": away}
    site.config["solvers"] = {"dns": {"type": "exec", "command": ["/bin/true"]}}
    for name in ("a", "b", "c"):
        site.certificate(name, f"{name}.example.test", issuer="away")
    with running(site):
        wait_until(lambda: len(receiver.got) >= 3)
        time.sleep(1.5)
    alerts = [got.json["data"] for got in receiver.got]
    raised = [each["key"] for each in alerts if each["state"] == "raised"]
    ended = [each["key"] for each in alerts if each["state"] == "resolved"]
    assert raised[1:] == ["service/away"]
    assert ended == raised[:1]
    [outage] = [each for each in alerts if each["key"] == "service/away"]
    assert outage["title"] == "away fails the rotations of 2 certificates"
    assert "127.0.0.1" in outage["what"]
