"""What ``certrotd run`` costs with 10,000 certificates that are not due.

Start, memory, idling, what a scrape of its metrics takes, and memory after reloads.
"""

import os
import signal
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.listing import CERTROTD
from benchmarks.measure import ProgramFailed, variables

READY = 120.0
SETTLE = 5.0
IDLE = 20
SCRAPES = 10
RELOADS = 20
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Service:
    """Seconds from the start to ready, MiB resident then and at most, and of each idle second
    the milliseconds of processor, all threads together.

    ``scrape`` is the milliseconds until all of /metrics is there (the median of ten), and
    ``scraped`` how many MB that are. ``reloaded`` is the MiB resident after twenty reloads.
    """

    certificates: int
    ready: float
    resident: float
    peak: float
    idle: float
    scrape: float
    scraped: float
    reloaded: float


def measure(config: Path, *, certificates: int) -> Service:
    """Starts the daemon as a service manager would, waits until it is ready, and lets it idle."""
    place, page = config.parent / "notify", config.parent / "http"
    served = config.with_name("served.yaml")
    served.write_text(f"{config.read_text()}\nhttp: {{listen: 'unix:{page}'}}\n")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (config.parent / "run.log").open("wb") as log,
    ):
        manager.bind(str(place))
        manager.settimeout(READY)
        began = time.perf_counter()
        process = subprocess.Popen(
            [CERTROTD, "-c", served, "run"],
            stdin=subprocess.DEVNULL,
            stderr=log,
            # as deploy/systemd/certrotd.service sets it
            env=variables({"NOTIFY_SOCKET": str(place), "MALLOC_ARENA_MAX": "1"}),
        )
        try:
            while b"READY=1" not in manager.recv(65536).splitlines():
                pass
            ready = time.perf_counter() - began
            time.sleep(SETTLE)
            resident, peak = _memory(process.pid)
            spent = _processor(process.pid)
            time.sleep(IDLE)
            idle = (_processor(process.pid) - spent) / IDLE * 1000
            scrapes = [_scrape(page) for _ in range(SCRAPES)]
            for number in range(RELOADS):
                process.send_signal(signal.SIGHUP)
                _await_reload(config, number + 1)
            time.sleep(SETTLE)
            reloaded, _ = _memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(READY)
    if code != 0:
        raise ProgramFailed(f"certrotd run ended with {code}:\n{_tail(config)}")
    scrape = statistics.median(took for took, _ in scrapes) * 1000
    scraped = scrapes[-1][1] / 1e6
    return Service(certificates, ready, resident, peak, idle, scrape, scraped, reloaded)


def _await_reload(config: Path, times: int) -> None:
    """Wait until the log says that so many reloads are in force."""
    deadline = time.monotonic() + READY
    while (config.parent / "run.log").read_bytes().count(b" reloaded: ") < times:
        if time.monotonic() > deadline:
            raise ProgramFailed(f"reload {times} is not in force:\n{_tail(config)}")
        time.sleep(0.05)


def _scrape(page: Path) -> tuple[float, int]:
    """Seconds and octets of one answer, read to its end."""
    began, octets = time.perf_counter(), 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(page))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while part := connection.recv(1 << 20):
            octets += len(part)
    return time.perf_counter() - began, octets


def _memory(pid: int) -> tuple[float, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024


def _processor(pid: int) -> float:
    """Seconds of processor of all threads so far, user and system; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def _tail(config: Path) -> str:
    return (config.parent / "run.log").read_text(errors="replace")[-2000:]
