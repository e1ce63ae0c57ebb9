"""The daemon of a site: started, told to read its configuration again, and ended well."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.parts.site import Run, Site, Started

HOST, OTHER = "example.test", "www.example.test"


@contextmanager
def running(site: Site) -> Iterator[Started]:
    """The daemon, which has to end well when it is told to."""
    daemon = site.start("run")
    try:
        daemon.wait_for("started with")
        yield daemon
    finally:
        if not daemon.is_over:
            ended = stop(daemon)
            assert ended.code == 0, ended.stderr
            assert "Traceback" not in ended.stderr, ended.stderr


def stop(daemon: Started) -> Run:
    """As systemctl stop would."""
    daemon.signal(signal.SIGTERM)
    return daemon.end()


def reload(site: Site, daemon: Started) -> None:
    """As systemctl reload would, with the configuration as it is now."""
    site.write()
    daemon.signal(signal.SIGHUP)
