"""``certrotd run``: one process that rotates what is due for as long as it is not told to stop."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from certrotd.alerting import dispatch
from certrotd.audit.head import read_head
from certrotd.clock import Deadline, SystemClock
from certrotd.config.http import HttpEntry
from certrotd.config.load import Loaded, load
from certrotd.daemon.home import Home
from certrotd.daemon.http.app import App
from certrotd.daemon.http.server import Web
from certrotd.daemon.http.sources import Sources
from certrotd.daemon.http.standby import Standby
from certrotd.daemon.leading import Led, Neighbours
from certrotd.daemon.mount_guard import MountGuard
from certrotd.daemon.service_manager import service_manager
from certrotd.daemon.services import Services
from certrotd.daemon.signals import Signals, heard
from certrotd.daemon.stopping import Stopping
from certrotd.daemon.upkeep import Upkeep
from certrotd.daemon.wiring import Site
from certrotd.daemon.work import workload_of
from certrotd.errors import ConfigInvalid, ConfigProblem, Failure
from certrotd.lifecycle.wing import Check
from certrotd.observers import Log, Observers
from certrotd.process import reap_orphans
from certrotd.reporting.log import LineLog, libraries, to_journal
from certrotd.reporting.log_events import EventLog
from certrotd.reporting.status_board import StatusBoard
from certrotd.rotation.engine import Stopped
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.clock_trust import clock_document
from certrotd.scheduling.scheduler import Scheduler
from certrotd.scheduling.ticking import Ticking
from certrotd.scheduling.workload import Workload
from certrotd.state.ports import Changes, Fenced
from certrotd.state.shard import Shard
from certrotd.watching.watcher import Watcher

COMMAND = "certrotd run"
INTERVAL = 1.0
LOOK = 5.0
"""Seconds between two looks at whether this is still the one daemon of its state."""
LOOK_AT_SHARDS = 15.0
END = 90.0
MARGIN = 10.0

FIRST = os.getpid() == 1
"""Whether this is the first process of a container, which orphans are left to."""

WriteLine = Callable[[str], None]


def run(path: Path, write: WriteLine) -> int:
    """Run until SIGTERM or SIGINT; the exit code: 1 if a rotation did not end in time.

    ``write`` takes the lines of the log. An entry that is wrong in the configuration is reported
    and skipped. Raises ConfigInvalid, LockHeld when another one runs on the same state directory,
    and as StateDirectory.prepare() does. With the state in a cluster another one is waited for.
    """
    # signals are heard from the beginning to the end: else a SIGHUP is the end
    with heard(signal.SIGHUP) as signals, ExitStack() as held:
        loaded, stopping = load(path, lenient=True), Stopping()
        home = Home(loaded.config, command=COMMAND, now=stopping.clock.now)
        home.local.make()
        if home.shared:
            stopping.listen()
            log = LineLog(write, stopping.clock, loaded.config.log, priorities=_to_journal())
            try:
                led = _stand_by(home, loaded.config.http, stopping, log, held)
            except Stopped:
                return 0
            loaded = load(path, lenient=True)  # it may have waited for days
        else:
            led = held.enter_context(home.lead())
        stopping.listen()
        daemon = _Daemon(path, loaded, home, stopping, write)
        del loaded  # a reload lets go of it
        if home.migrated:
            daemon.remark(home.migrated)
        return daemon.run(signals, led)


def _stand_by(
    home: Home, http: HttpEntry | None, stopping: Stopping, log: Log, held: ExitStack
) -> Led:
    """What there is to look after, which ``held`` gives back; a page says so while it waits.

    Raises Stopped if the process is told to stop meanwhile.
    """
    standby = Standby()
    web = Web(standby, stopping.clock, log)

    def say(words: str) -> None:
        log("info", "standing.by", words)
        standby.words = words
        web.use(http)

    try:
        return held.enter_context(home.lead(stopping, say))
    finally:
        web.close()


def _to_journal() -> bool:
    return to_journal(sys.stderr.fileno(), os.environ)


class _Daemon:
    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        home: Home,
        stopping: Stopping,
        write: WriteLine,
    ) -> None:
        self._path = path
        self._config = loaded.config
        self._stopping = stopping
        clock = stopping.clock
        self._log = LineLog(write, clock, loaded.config.log, priorities=_to_journal())
        manager = service_manager(
            os.environ, clock=clock, stop_time=END + MARGIN, complain=self._complain
        )
        self._alerting = dispatch.start(loaded.config, home.own("alerts"), self._log)
        self._board = StatusBoard(clock)
        # the page first: whoever reads the log or an alert finds the same there
        observers = (self._board, EventLog(self._log), self._alerting, manager)
        self._observer = Observers([each for each in observers if each], self._complain)
        self._mount_guard: MountGuard | None = None
        self._home = home
        self._fenced = ""
        self._changes: dict[str, Changes] = {}
        last_run = clock_document(home.state, self._observer.remarked)
        self._work = self._workload(loaded)
        self._watcher = Watcher(
            self._checks(),
            clock,
            observer=self._observer,
            spawn=_in_a_thread,
            doubt=lambda subject: self._scheduler.doubt(subject),
        )
        self._scheduler = Scheduler(
            self._work,
            clock,
            last_run=last_run.read(),
            observer=Observers([self._observer, self._watcher], self._complain),
            spawn=_in_a_thread,
            remember=last_run.write,
        )
        self._upkeep = Upkeep(
            lambda: self._site.upkeep,
            clock,
            observer=self._observer,
            spawn=_in_a_thread,
            may=lambda: self._work.directories() is None,  # else they made what is only away
        )
        self._web = Web(App(self._sources()), clock, self._log)
        self._services = Services(self._observer, self._observer.remarked)

    def remark(self, words: str) -> None:
        """Have the operator know what was met before there was a log."""
        self._observer.remarked(words)

    def run(self, signals: Signals, led: Led) -> int:
        _in_a_thread("lease", lambda: self._hold(led))
        if led.shard.of > 1:
            self._log("info", "shard.led", f"looks after {led.shard}")
            _in_a_thread("shards", lambda: self._watch_shards(led.shard))
        ticking = Ticking(self._scheduler.tick, self._stopping.clock, INTERVAL)
        with libraries(self._log):
            self._web.use(self._config.http)
            self._services.use(self._site.wings)
            ticking.start()
            while not self._stopping():
                if signal.SIGHUP in signals.wait(INTERVAL):
                    self._reload()
                ticking.keep_up()
                self._watcher.tick()
                self._upkeep.tick()
                if FIRST:
                    reap_orphans()
            self._watcher.stop()
            self._scheduler.stop()
            ticking.stop()
            self._observer.stopping(self._scheduler.running)
            self._wait(signals)
        return self._end()

    def _watch_shards(self, shard: Shard) -> None:
        """Tell of shards that nobody looks after."""
        neighbours = Neighbours(shard, self._home.leading.led, self._observer)
        with suppress(Stopped):
            while True:
                self._stopping.clock.sleep(LOOK_AT_SHARDS)
                with suppress(Failure):  # nobody can tell
                    neighbours.look()

    def _hold(self, led: Led) -> None:
        """End once another daemon is at work on the same state."""
        while not self._stopping():
            try:
                led.check()
            except Fenced as fenced:
                self._fenced = str(fenced)
                self._log("error", "fenced", f"another daemon may be at work: {fenced}")
                self._stopping.stop()
            except Failure:
                pass  # nobody can tell: what is held is not known to be lost
            with suppress(Stopped):
                self._stopping.clock.sleep(LOOK)

    def _wait(self, signals: Signals) -> None:
        deadline = Deadline(SystemClock(), END)
        while self._scheduler.running and not deadline.passed:
            signals.wait(0.1)

    def _end(self) -> int:
        running = self._scheduler.running
        if not running:
            self._scheduler.close()
        self._services.close()
        self._web.close()
        self._observer.stopped(running)
        self._alerting.close()
        return 1 if running or self._fenced else 0

    def _reload(self) -> None:
        """Take the configuration as it is now, if it can be used; else go on with the old one."""
        self._observer.reloading()
        try:
            loaded = load(self._path)
            for name in ("state_dir", "state"):
                if getattr(loaded.config, name) == getattr(self._config, name):
                    continue
                why = f"{name} changed: restart certrotd"
                raise ConfigInvalid([ConfigProblem(self._path, 0, "", why)])
            workload, checks = self._workload(loaded), self._checks()
        except ConfigInvalid as invalid:
            self._observer.refused([str(problem) for problem in invalid.problems])
            return
        except Exception as error:  # noqa: BLE001  # a defect of a wing does not end what runs
            self._observer.refused([str(as_failure(error, f"take {self._path} into use"))])
            return
        self._config, self._work = loaded.config, workload
        self._log.use(loaded.config.log)
        self._web.use(loaded.config.http)
        self._services.use(self._site.wings)
        self._alerting.use(loaded.config.notifications)
        self._observer.reloaded(tuple(workload.subjects))
        self._scheduler.replace(workload)
        self._watcher.replace(checks)
        # its parts know each other; Python itself would look for such after some dozen reloads
        gc.collect()

    def _workload(self, loaded: Loaded) -> Workload:
        self._site = site = Site(
            loaded.config,
            clock=self._stopping.clock,
            command=COMMAND,
            home=self._home,
            listen=self._observer.remarked,
            audit_damaged=self._observer.audit_damaged,
            ca_time=lambda moment: self._scheduler.heard_time(moment),
            asked_service=self._observer.asked_service,
        )
        # pods are not restarted back and forth: the next daemon goes on with what is in flight
        runner = site.runner(self._observer.stepped, self._stopping, hands_over=self._home.shared)
        self._mount_guard = MountGuard(site.directories, self._mount_guard)
        for kind in site.kinds:
            self._changes.setdefault(kind, self._home.state.changes(kind, self._home.shard.has))
        return workload_of(site, runner, self._changes, self._mount_guard, left_out=loaded.problems)

    def _checks(self) -> list[Check]:
        checks = (check for wing in self._site.wings for check in wing.checks())
        shard = self._home.shard
        return [each for each in checks if shard.has(str(each.about or each.label))]

    def _sources(self) -> Sources:
        head = self._config.state_dir / "audit" / "head.json"
        return Sources(
            self._board,
            self._stopping.clock,
            lambda: self._work,
            lambda: read_head(head),
            self._home.shard,
        )

    def _complain(self, words: str) -> None:
        self._log("error", "observer.failed", words)


def _in_a_thread(name: str, job: Callable[[], None]) -> None:
    # a daemon thread: what hangs at the end must not keep the process; a rotation is safe in the
    # journal, and a look has nothing to lose
    threading.Thread(target=job, name=name, daemon=True).start()
