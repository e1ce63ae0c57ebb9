"""``certrotd run``: one process that rotates what is due for as long as it is not told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from certrotd.certs.rotate import Rotator
from certrotd.clock import Deadline, SystemClock
from certrotd.config.load import load
from certrotd.config.model import Config
from certrotd.daemon.lastrun import LastRun
from certrotd.daemon.observing import Lines, event_words
from certrotd.daemon.scheduler import Scheduler, Workload
from certrotd.daemon.signals import heard
from certrotd.daemon.stopping import Stopping
from certrotd.daemon.ticking import Ticking
from certrotd.daemon.wiring import Site
from certrotd.errors import ConfigInvalid, Failure, Problem
from certrotd.rotation.engine import Event
from certrotd.rotation.files import make_directory
from certrotd.rotation.lock import hold

COMMAND = "certrotd run"
INTERVAL = 1.0
END = 90.0
# no certificate's name begins with "_": this is no certificate's lock
LOCK = Path("locks/_daemon.lock")

Listen = Callable[[str], None]


def run(path: Path, listen: Listen) -> int:
    """Run until SIGTERM or SIGINT; the exit code: 1 if a rotation did not end in time.

    Raises ConfigInvalid, or LockHeld when another one runs on the same state directory. A
    certificate that is wrong in the configuration is said and left out.
    """
    loaded = load(path, lenient=True)
    for problem in loaded.problems:
        listen(f"left out: {problem}")
    config, stopping = loaded.config, Stopping()
    make_directory(config.state_dir, mode=0o700)
    lock = hold(
        config.state_dir / LOCK,
        what=f"the state directory {config.state_dir}",
        command=COMMAND,
        now=stopping.clock.now(),
    )
    with lock:
        stopping.listen()
        return _Daemon(path, config, stopping, listen).run()


class _Daemon:
    def __init__(self, path: Path, config: Config, stopping: Stopping, listen: Listen) -> None:
        self._path = path
        self._config = config
        self._stopping = stopping
        self._listen = listen
        last_run = LastRun(config.state_dir, listen)
        self._scheduler = Scheduler(
            self._workload(config),
            stopping.clock,
            last_run=last_run.read(),
            observer=Lines(listen),
            spawn=_in_a_thread,
            remember=last_run.keep,
        )

    def run(self) -> int:
        ticking = Ticking(self._scheduler.tick, self._stopping.clock, INTERVAL)
        with heard(signal.SIGHUP) as signals:
            self._listen(f"started with {len(self._config.certificates)} certificates")
            ticking.start()
            while not self._stopping():
                if signal.SIGHUP in signals.wait(INTERVAL):
                    self._reload()
                ticking.keep_up()
            self._scheduler.stop()
            ticking.stop()
            deadline = Deadline(SystemClock(), END)
            if running := self._scheduler.running:
                self._listen(f"stopping: {', '.join(running)} to be finished or undone")
            while self._scheduler.running and not deadline.passed:
                signals.wait(0.1)
        return self._end()

    def _end(self) -> int:
        if running := self._scheduler.running:
            self._listen(f"stopped before {', '.join(running)} ended: the next start goes on")
            return 1
        self._scheduler.close()
        self._listen("stopped")
        return 0

    def _reload(self) -> None:
        """Take the configuration as it is now, if it can be used; else go on with the old one."""
        try:
            config = load(self._path).config
            if config.state_dir != self._config.state_dir:
                why = "state_dir is another one, which takes a restart"
                raise ConfigInvalid([Problem(self._path, 0, "", why)])
            self._scheduler.replace(self._workload(config))
        except ConfigInvalid as invalid:
            for problem in invalid.problems:
                self._listen(f"not reloaded: {problem}")
            return
        except (Failure, OSError) as trouble:
            self._listen(f"not reloaded: {trouble}")
            return
        self._config = config
        self._listen(f"reloaded: {len(config.certificates)} certificates")

    def _workload(self, config: Config) -> Workload:
        clock = self._stopping.clock
        site = Site(config, clock=clock, command=COMMAND, listen=self._listen)
        rotator = Rotator(
            clock=clock,
            draw=site.draw,
            new_id=site.new_id,
            listen=self._hear,
            stopping=self._stopping,
            audit=site.audit,
        )
        journals = config.state_dir / "journal"
        return Workload(
            certificates={each.policy.name: each for each in site.fleet.certificates},
            concurrency=config.concurrency,
            rotate=rotator.rotate,
            in_flight=lambda name: os.path.lexists(journals / f"{name}.jsonl"),
            budget=site.budget,
            close=site.close,
        )

    def _hear(self, event: Event) -> None:
        words = event_words(event)
        if words:
            self._listen(words)


def _in_a_thread(name: str, job: Callable[[], None]) -> None:
    # a daemon thread: what hangs at the end must not keep the process, and is safe in the journal
    threading.Thread(target=job, name=f"rotation-{name}", daemon=True).start()
