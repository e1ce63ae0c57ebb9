"""The daemon's health, metrics and documents, asked for as monitoring does."""

import http.client
import json
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.daemon import HOST, OTHER, running
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site
from tests.unit.daemon.http.scrape import parsed, value

WEB = {"kind": "certificate", "name": "web"}


@dataclass(frozen=True)
class Reply:
    """A status and a body."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.text)


class _Unix(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def get(where: int | Path, path: str) -> Reply:
    """What is answered at a loopback port, or on a socket."""
    if isinstance(where, int):
        connection = http.client.HTTPConnection("127.0.0.1", where, timeout=60)
    else:
        connection = _Unix(where)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode())
    finally:
        connection.close()


def is_closed(where: int | Path) -> bool:
    """Whether nobody answers there."""
    try:
        get(where, "/livez")
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionError:  # taken, and let go before it was answered: it is being closed
        pass
    return False


def ready(where: int | Path) -> bool:
    """Whether it can be relied on; not yet is no error."""
    try:
        return get(where, "/readyz").status == 200
    except (ConnectionError, FileNotFoundError):
        return False


def listen(site: Site) -> int:
    """A site with the server on a free port."""
    port = free_port()
    site.config["http"] = {"listen": f"127.0.0.1:{port}"}
    return port


def test_monitoring_finds_what_it_asks_for(site: Site) -> None:
    """Health, metrics that Prometheus reads, and the same keys as the command's."""
    site.internal()
    port = listen(site)
    site.certificate("web", HOST)
    site.certificate("off", OTHER, enabled=False)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        wait_until(lambda: ready(port))
        wait_until(lambda: get(port, "/status.json").json["states"]["certificate"]["ok"] == 1)
        assert get(port, "/livez") == Reply(200, "ok\n")
        document = get(port, "/status.json").json
        told = {each["name"]: each for each in document["subjects"]}
        assert told["web"] == site.status("web")
        assert told["off"] == site.status("off") | {"next_check": told["off"]["next_check"]}
        head = json.loads((site.state / "audit" / "head.json").read_bytes())
        assert document["audit"] == {"state": "good", "seq": head["seq"], "hash": head["hash"]}

        text = get(port, "/metrics").text
        assert parsed(text)
        end = site.leaf("web").not_valid_after_utc.timestamp()
        not_after = "certrotd_subject_not_after_timestamp_seconds"
        assert value(text, not_after, **WEB) == end
        assert value(text, "certrotd_rotations_total", outcome="finished", act="renew") == 1
        assert value(text, "certrotd_step_duration_seconds_count", step="prune") == 1
        assert value(text, "certrotd_audit_records_total") == head["seq"]
        assert get(port, "/certificate/web").status == 200
        assert get(port, "/nothing").status == 404
    assert is_closed(port)


def test_a_failure_is_in_all_of_them(site: Site) -> None:
    """The page, the document and the metrics agree."""
    site.internal()
    port = listen(site)
    site.command("broken", "echo no such service; exit 3")
    site.certificate("web", HOST, targets=["broken"])
    with running(site) as daemon:
        daemon.wait_for("web: failed: ")
        wait_until(lambda: get(port, "/status.json").json["failing"] == ["certificate/web"])
        text = get(port, "/metrics").text
        assert value(text, "certrotd_subject_failures", **WEB) == 1
        assert value(text, "certrotd_step_failures_total", step="apply") == 1
        assert value(text, "certrotd_attempts_left", **WEB) > 3
        assert "no such service" in get(port, "/").text
        assert "no such service" in get(port, "/certificate/web").text
        assert ready(port)


def test_a_refused_reload_is_reported_and_an_accepted_one_moves_the_server(site: Site) -> None:
    """The old configuration works on, so it stays ready; the next good one may move it."""
    site.internal()
    port = listen(site)
    site.certificate("web", HOST)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        site.config["concurency"] = 1
        site.write()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("not reloaded: ")
        assert ready(port)
        wait_until(lambda: get(port, "/status.json").json["config"]["refused"] != [])
        [refused] = get(port, "/status.json").json["config"]["refused"]
        assert "concurency" in refused
        assert value(get(port, "/metrics").text, "certrotd_config_valid") == 0
        assert "concurency" in get(port, "/").text

        del site.config["concurency"]
        path = site.directory / "http.sock"
        site.config["http"] = {"listen": f"unix:{path}", "mode": "0600"}
        site.write()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(f"the status page is at unix:{path}")
        wait_until(lambda: ready(path))
        wait_until(lambda: is_closed(port))
        assert get(path, "/status.json").json["config"]["valid"] is True
        assert path.stat().st_mode & 0o777 == 0o600

        site.config["http"] = None
        site.write()
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: is_closed(path))
    assert not path.exists()


def test_a_certificate_skipped_at_the_start_is_reported(site: Site) -> None:
    """The rest runs and is ready; the one that is not kept fresh must not be forgotten."""
    site.internal()
    port = listen(site)
    site.certificate("web", HOST)
    site.certificate("bad", "not a name")
    with running(site):
        wait_until(lambda: ready(port))
        text = get(port, "/metrics").text
        assert value(text, "certrotd_entries_left_out") == 1
        assert "certificates[bad]" in get(port, "/status.json").json["config"]["left_out"][0]


def test_a_taken_port_costs_the_page_and_nothing_else(site: Site) -> None:
    """Bad day: it is said once, rotations go on, and a reload brings the page elsewhere."""
    site.internal()
    port = listen(site)
    site.certificate("web", HOST)
    with socket.create_server(("127.0.0.1", port)), running(site) as daemon:
        daemon.wait_for(f"no status page: http://127.0.0.1:{port}/ is taken by another process")
        daemon.wait_for("web: done")
        other = listen(site)
        site.write()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(f"the status page is at http://127.0.0.1:{other}/")
        wait_until(lambda: ready(other))


def test_a_socket_that_a_crash_left_is_taken_over(site: Site) -> None:
    """kill -9 and a restart: the page is there again."""
    site.internal()
    path = site.directory / "http.sock"
    site.config["http"] = {"listen": f"unix:{path}"}
    daemon = site.start("run")
    wait_until(lambda: ready(path))
    daemon.signal(signal.SIGKILL)
    daemon.end()
    assert path.is_socket()
    with running(site):
        wait_until(lambda: ready(path))
