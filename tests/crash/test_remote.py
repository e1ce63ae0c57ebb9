"""certrotd is killed at what it sends to another host: there is always one whole pair there."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from tests.crash.lab import Driver
from tests.crash.test_renewal import FULL
from tests.parts import Parts, locate
from tests.parts.site import Site, matching, snapshot
from tests.parts.sshd import Sshd

FIRST = 10
"""What is sent before is the key exchange and the login."""
EVERY = 1 if FULL else 9


def killing(number: int, log: Path) -> list[str]:
    """How strace kills it before what it sends as the so many-th."""
    inject = f"inject=sendto:signal=KILL:when={number}"
    common = ["strace", "-f", "-q", "-o", str(log), "-e", "signal=none"]
    return [*common, "-e", "trace=sendto", "-e", inject]


def test_a_delivery_killed_at_any_moment_leaves_a_whole_pair_and_is_finished_or_undone(
    tmp_path: Path, memory: Path
) -> None:
    """The next run brings what is live here, sweeps what was half written, and orders nothing."""
    locate.require("strace")
    with ExitStack() as stack:
        sshd = Parts(tmp_path, stack).start(Sshd)
        there = memory / "there"
        there.mkdir(mode=0o755)
        site = Site(memory / "site")
        site.internal()
        site.config["hosts"] = {"edge": sshd.entry()}
        deliver = [{"host": "edge", "directory": str(there), "keep": 1}]
        site.certificate("web", "example.test", deliver=deliver)
        site.write()
        driver = stack.enter_context(Driver())
        assert driver.run(site, "rotate", "--all").code == 0
        number, generation = FIRST, 1
        while True:
            strace = killing(number, tmp_path / "strace")
            run = driver.run(site, "rotate", "web", "--force", "--json", strace=strace)
            generation += 1
            live = there / os.readlink(there / "live")
            matching(live / "privkey.pem", live / "fullchain.pem")
            if run.code != -signal.SIGKILL:
                assert run.code == 0, run
                break
            recovered = driver.run(site, "rotate", "web", "--json")
            assert recovered.code == 0, (number, recovered)
            chain = (there / "live" / "fullchain.pem").read_bytes()
            assert chain == (site.live("web") / "fullchain.pem").read_bytes(), number
            assert site.generation("web") == generation, number
            left = [name for name in snapshot(there) if ".certrotd-tmp" in name]
            assert left == [], number
            number += EVERY
        assert number > FIRST + 60, "it is killed at too few moments"
