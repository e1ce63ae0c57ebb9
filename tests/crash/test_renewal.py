"""A renewal broken off at every one of its system calls, by the kernel or by the disk.

The points are not sampled: a plain trace of the same run lists every call that changes something,
and each is visited. A renewal here is one with copies, a target that reads them, and an old
generation to prune.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.found import Found
from tests.crash.lab import HOST, NAME, Driver, Lab, Scenario
from tests.crash.trace import Point
from tests.parts import locate
from tests.parts.site import Site

ERRORS = {
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
}
pytestmark = pytest.mark.timeout(300)


def configured(site: Site) -> None:
    """One certificate of the internal issuer, with copies and a target that logs what it reads."""
    etc = site.directory / "etc"
    etc.mkdir()
    site.internal()
    site.config["concurrency"] = 1
    copies = {"privkey": str(etc / "tls.key"), "fullchain": str(etc / "tls.pem"), "mode": "0600"}
    site.certificate(NAME, HOST, keep=1, install=[copies], targets=["told"])
    log = site.directory / "told.log"
    read = f"cat {etc}/tls.key {etc}/tls.pem >> {log}\necho told >> {log}"
    site.command("told", f"umask 077\n{read}")


def with_two_generations(site: Site) -> None:
    """The third one prunes the first."""
    configured(site)
    site.rotate()
    (site.directory / "told.log").unlink()
    site.rotate("--force")


def with_a_state_directory(site: Site) -> None:
    """Only what a look at the status makes."""
    configured(site)
    assert site.run("status").code == 0
    site.state.mkdir(mode=0o700, exist_ok=True)


RENEWAL = Scenario("renewal", with_two_generations, ("rotate", "--all", "--force"), 2, 3)
FIRST = Scenario("first", with_a_state_directory, ("rotate", "--all"), None, 1)
ROLLBACK = Scenario("rollback", with_two_generations, ("rollback", NAME), 2, 1)


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory where there is one: what is counted is calls, not the disk."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="certrotd-crash-", dir=memory) as directory:
            yield Path(directory)
    else:
        yield tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="module", params=[RENEWAL, FIRST, ROLLBACK], ids=lambda each: each.name)
def lab(request: pytest.FixtureRequest, fast: Path) -> Iterator[Lab]:
    """Each scenario, traced once."""
    locate.require("strace")
    with ExitStack() as stack:
        yield Lab(fast / request.param.name, request.param, stack)


def test_a_kill_at_any_point_is_recovered_from(lab: Lab) -> None:
    """SIGKILL, an out-of-memory kill: readers find a pair, and the next run needs nobody."""

    def check(site: Site, driver: Driver, point: Point) -> Iterator[str]:
        killed = driver.run(
            site, *lab.scenario.arguments, strace=point.inject(site.directory, "signal=KILL")
        )
        assert killed.code == -9, f"it was not killed there but ended with {killed}"
        yield from whole(lab, site)
        begun, live = Found(site).open_journal, Found(site).live
        recovered = driver.run(site, "rotate", "--all", "--json")
        assert recovered.code == 0, recovered
        yield from Found(site).settled()
        expected = lab.scenario.new if begun or lab.scenario.old is None else live
        if Found(site).live != expected:
            yield f"generation {Found(site).live} is live, not {expected}"

    report(lab, *lab.visit(check, lab.points))


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_at_any_point_is_said_undone_and_made_up_for(lab: Lab, error: str) -> None:
    """A full disk, a broken one, a wrong permission."""

    def check(site: Site, driver: Driver, point: Point) -> Iterator[str]:
        arguments = (*lab.scenario.arguments, "--json")
        strace = point.inject(site.directory, f"error={error}")
        failed = driver.run(site, *arguments, strace=strace)
        yield from whole(lab, site)
        found = Found(site)
        [row] = failed.json
        if failed.code != 0:
            if failed.code != 1 or ERRORS[error] not in row["why"]:
                yield f"it ended with {failed}"
            if not row["why"].isprintable() or "Traceback" in failed.stderr:
                yield f"it is not one line: {row['why']!r}"
        # Either everything was committed and only cleaning up failed, or the old pair is back
        # everywhere: what is live is what was installed, told and recorded.
        if found.live == lab.scenario.new:
            if lab.scenario.old is not None and found.recorded != lab.scenario.new:
                yield "the new generation is live and not recorded as proven"
        elif failed.code == 0:
            yield f"it calls that a success: {row}"
        if lab.scenario.old is not None and found.copies != {found.live}:
            yield f"live is {found.live}, the copies are of {found.copies}"
        if lab.scenario.old is not None and found.told[-1:] != [found.live]:
            yield f"live is {found.live}, the target was told of {found.told}"

        mended = driver.run(site, "rotate", "--all", "--json")
        assert mended.code == 0, f"after {row}: {mended}"
        yield from Found(site).settled()

    report(lab, *lab.visit(check, lab.points))


def whole(lab: Lab, site: Site) -> Iterator[str]:
    """What is wrong for somebody who reads the files at this moment."""
    found = Found(site)
    if found.live not in (lab.scenario.old, lab.scenario.new):
        yield f"generation {found.live} is live"
    if not found.copies <= {0, lab.scenario.old, lab.scenario.new}:
        yield f"the copies are of {found.copies}"
    if 0 in found.told:
        yield f"the target was told of {found.told}"
    if exposed := found.exposed:
        yield f"readable by others: {exposed}"


def report(lab: Lab, visited: int, problems: list[str]) -> None:
    """Fails with every problem, and says how many points there were."""
    counted = sum(call.mutates for call in lab.trace)
    sys.stdout.write(f"\n{lab.scenario.name}: {visited} of {counted} points visited\n")
    shown = "\n".join(problems[:20])
    assert not problems, f"{len(problems)} problems at {visited} points:\n{shown}"
    assert visited == counted > 50
