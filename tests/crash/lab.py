"""A renewal broken off at one system call: where those calls are, and what is there afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from certrotd.stores.digest import digested, undigested
from tests.crash.scenarios import Scenario
from tests.crash.trace import MUTATING, Call, Point, calls, points
from tests.parts.site import Run, Site

WORKERS = 2


class Driver:
    """Runs certrotd by forking from one interpreter; see driver.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(Path(__file__).with_name("driver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LANG": "C"},
        )

    def run(self, site: Site, *arguments: str, strace: Sequence[str] = ()) -> Run:
        """Runs certrotd on a site to its end, with that strace attached to it, if any."""
        argv = ["-c", str(site.path), *arguments]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argv": argv, "strace": list(strace)}) + "\n")
        self._process.stdin.flush()
        return Run(**json.loads(self._process.stdout.readline()))

    def break_off(self, site: Site, point: Point, fault: str, *arguments: str) -> Run:
        """Runs certrotd with that fault at that point, which it has to come to."""
        run = self.run(site, *arguments, strace=point.inject(site.directory, fault))
        hit = point.was_hit(site.directory) or run.code == -signal.SIGKILL
        assert hit, f"it did not come to that point: {run}"
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()


class Lab:
    """One scenario, its copies, and the calls it makes."""

    def __init__(
        self, directory: Path, scenario: Scenario, stack: ExitStack, *, workers: int = WORKERS
    ) -> None:
        self.scenario = scenario
        self._workers = workers
        self._directory = directory
        self._count = 0
        self._lock = threading.Lock()
        self._drivers: SimpleQueue[Driver] = SimpleQueue()
        self._template = Site(directory / "template")
        scenario.prepare(self._template)
        self._template.write()
        for _ in range(workers):
            driver = stack.enter_context(Driver())
            with self.site() as site:
                rehearsed = driver.run(site, *scenario.arguments)
                assert rehearsed.code == 0, rehearsed
            self._drivers.put(driver)
        self.trace = self._traced()
        self.points = points(self.trace)

    @contextmanager
    def site(self) -> Iterator[Site]:
        """A copy of what was prepared, removed afterwards."""
        with self._lock:
            self._count += 1
            directory = self._directory / f"copy-{self._count:05d}"
        shutil.copytree(self._template.directory, directory, symlinks=True)
        site = Site(directory)
        for path in (directory / "config.yaml", directory / "told.sh"):
            path.write_text(self._moved(path.read_text(), directory))
        for path in site.store.glob("*/state.json"):
            text = self._moved(json.dumps(undigested(path.read_bytes())), directory)
            path.write_bytes(digested(json.loads(text)))
        yield site
        shutil.rmtree(directory)

    def _moved(self, text: str, directory: Path) -> str:
        return text.replace(str(self._template.directory), str(directory))

    def _traced(self) -> list[Call]:
        """The calls of one run that nothing is done to."""
        with self.site() as site, self.driver() as driver:
            log = site.directory.with_name("trace")
            trace = ["strace", "-f", "-y", "-q", "-s", "0", "-o", str(log)]
            run = driver.run(
                site, *self.scenario.arguments, strace=[*trace, "-e", f"trace={','.join(MUTATING)}"]
            )
            assert run.code == 0, run
            return list(calls(log.read_text(), site.directory))

    @contextmanager
    def driver(self) -> Iterator[Driver]:
        """A driver for nobody else meanwhile."""
        driver = self._drivers.get()
        try:
            yield driver
        finally:
            self._drivers.put(driver)

    def visit(
        self,
        check: Callable[[Site, Driver, Point], Iterable[str]],
        points: Sequence[Point] | None = None,
    ) -> None:
        """Runs the check at every point (or those given), each on a copy of its own.

        Fails with all that it found, and says how many points there were.
        """
        chosen = self.points if points is None else points

        def one(point: Point) -> list[str]:
            with self.site() as site, self.driver() as driver:
                try:
                    found = list(check(site, driver, point))
                except (AssertionError, ValueError) as error:
                    found = [f"{type(error).__name__}: {error}"]
            return [f"{point.call} #{point.ordinal} {point.path}: {problem}" for problem in found]

        with ThreadPoolExecutor(self._workers) as pool:
            visited = list(pool.map(one, chosen))
        problems = [problem for found in visited for problem in found]
        counted = sum(call.mutates for call in self.trace)
        sys.stdout.write(f"\n{self.scenario.name}: {len(visited)} of {counted} points visited\n")
        shown = "\n".join(problems[:20])
        assert not problems, f"{len(problems)} problems at {len(visited)} points:\n{shown}"
        assert len(visited) == len(chosen)
        assert points is not None or len(visited) == counted > 50
