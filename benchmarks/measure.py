"""What running programs costs: wall time, processor time, peak memory."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

Argv = Sequence[str | Path]


class ProgramFailed(Exception):
    """A measured program did not do its work; the message carries the end of its output."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, seconds of processor (user and system), and peak memory in MiB."""

    wall: float
    cpu: float
    peak: float = 0.0


def run(argv: Argv, *, log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a program to its successful end; the processor time is its own and its children's.

    Output goes to `log`: a terminal or a pipe somebody has to read would be measured too.
    """
    with log.open("ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=variables(environment),
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise ProgramFailed(f"{argv[0]} ended with {process.returncode}:\n{tail}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def run_each(jobs: Sequence[Sequence[Callable[[], Cost]]]) -> Cost:
    """Runs lists of jobs side by side, the jobs of one list one after the other."""

    def one_after_the_other(lane: Sequence[Callable[[], Cost]]) -> list[Cost]:
        return [job() for job in lane]

    began = time.perf_counter()
    with ThreadPoolExecutor(len(jobs)) as pool:
        costs = [cost for lane in pool.map(one_after_the_other, jobs) for cost in lane]
    wall = time.perf_counter() - began
    return Cost(wall, sum(cost.cpu for cost in costs), max(cost.peak for cost in costs))


def median(argv: Argv, *, log: Path, times: int = 10) -> Cost:
    """The medians of several runs, after one that warms the page cache and compiles bytecode."""
    run(argv, log=log)
    costs = [run(argv, log=log) for _ in range(times)]
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.peak for cost in costs),
    )


def variables(more: Mapping[str, str] | None) -> dict[str, str]:
    """What a measured program is started with."""
    # As installed: bytecode is kept, output is buffered, and no proxy is between us and loopback.
    unwanted = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "HTTPS_PROXY", "https_proxy"}
    return {k: v for k, v in os.environ.items() if k not in unwanted} | dict(more or {})
