"""Rotations broken off at every one of their system calls, by the kernel or by the disk.

The points are not sampled: a plain trace of the same run lists every call that changes something,
and each is visited. ``scripts/test all`` (CERTROTD_DEMAND=all) does so with every fault, and by
default it is a kill in each scenario and a full disk in a renewal.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest

from tests.crash.found import Found
from tests.crash.lab import Driver, Lab
from tests.crash.scenarios import FIRST, INSTALLED, RENEWAL, ROLLBACK, Scenario
from tests.crash.trace import Point
from tests.parts import locate
from tests.parts.site import Site

ERRORS = {
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
}
pytestmark = pytest.mark.timeout(3600)


FULL = os.environ.get("CERTROTD_DEMAND") == "all"
in_full = pytest.mark.skipif(not FULL, reason="visited by scripts/test all")
# Of the points of the two longest tests, how many are visited by default: one of so many.
EVERY = 1 if FULL else 6
# The second of two renames that come right after one another: a pair is mixed for no longer.
BETWEEN = 1
# Every kind of fault for a renewal; a kill and a full disk for the others, which share its steps.
SCENARIOS = (RENEWAL, FIRST, ROLLBACK)
FAULTS = [
    (RENEWAL, "ENOSPC"),
    *(
        pytest.param(scenario, error, marks=in_full)
        for scenario, error in (
            (RENEWAL, "EIO"),
            (RENEWAL, "EACCES"),
            (FIRST, "ENOSPC"),
            (ROLLBACK, "ENOSPC"),
        )
    ),
]


def named(value: object) -> str | None:
    """What a parameter is called in a test's name."""
    return value.name if isinstance(value, Scenario) else None


@pytest.fixture(scope="module")
def labs(memory: Path) -> Iterator[Callable[[Scenario], Lab]]:
    """Each scenario, traced once for all tests."""
    locate.require("strace")
    with ExitStack() as stack:
        yield cache(lambda scenario: Lab(memory / scenario.name, scenario, stack))


@pytest.fixture
def lab(request: pytest.FixtureRequest, labs: Callable[[Scenario], Lab]) -> Lab:
    """The scenario of a test."""
    return labs(request.param)


@pytest.mark.parametrize("lab", SCENARIOS, indirect=True, ids=named)
def test_a_kill_at_any_point_is_recovered_from(lab: Lab) -> None:
    """SIGKILL, an out-of-memory kill: readers find a pair, and the next run needs nobody."""
    scenario = lab.scenario

    def check(site: Site, driver: Driver, point: Point) -> Iterator[str]:
        found = Found(site)
        killed = driver.break_off(site, point, "signal=KILL", *scenario.arguments)
        assert killed.code == -9, killed
        yield from found.whole(scenario)
        begun, live = found.open_journal, found.live
        recovered = driver.run(site, "rotate", "--all", "--json")
        assert recovered.code == 0, recovered
        yield from found.settled()
        expected = scenario.new if begun or scenario.old is None else live
        if found.live != expected:
            yield f"generation {found.live} is live, not {expected}"

    lab.visit(check)


@pytest.mark.parametrize("lab", [INSTALLED], indirect=True, ids=named)
def test_an_installed_pair_is_whole_again_after_a_kill_at_any_point_of_its_replacement(
    lab: Lab,
) -> None:
    """Copies at three other places, in each shape: mixed in one short span, and never left so."""
    scenario, mixed = lab.scenario, list[Point]()

    def check(site: Site, driver: Driver, point: Point) -> Iterator[str]:
        found = Found(site, scenario)
        driver.break_off(site, point, "signal=KILL", *scenario.arguments)
        yield from found.whole(scenario)
        seen = found.by_shape
        mixed.extend([point] * seen["privkey"].isdisjoint(seen["fullchain"]))
        recovered = driver.run(site, "rotate", "--all", "--json")
        assert recovered.code == 0, recovered
        yield from found.settled()
        if found.live != scenario.new:
            yield f"generation {found.live} is live, not {scenario.new}"

    folders = ("etc/", "srv/", "opt/")
    replacing = [
        point
        for point in lab.points
        if point.path.startswith(folders) or "/displaced" in point.path or "live" in point.path
    ]
    assert len(replacing) >= 30
    lab.visit(check, replacing)
    assert 0 < len(mixed) <= BETWEEN, mixed


@pytest.mark.parametrize("lab", [RENEWAL, INSTALLED], indirect=True, ids=named)
def test_a_kill_in_the_middle_of_recovering_is_recovered_from(lab: Lab) -> None:
    """A machine that crashes once crashes twice: recovery is cut off like anything else.

    After each first kill the second falls on another of the first twelve syncs of the recovery;
    where it comes to fewer, it ends by itself.
    """
    scenario, syncs = lab.scenario, cycle(range(1, 13))
    second = {
        point: Point("fsync", number, None, "")
        for point, number in zip(lab.points, syncs, strict=False)
    }

    def check(site: Site, driver: Driver, point: Point) -> Iterator[str]:
        found = Found(site, scenario)
        driver.break_off(site, point, "signal=KILL", *scenario.arguments)
        strace = second[point].inject(site.directory, "signal=KILL")
        again = driver.run(site, "rotate", "--all", strace=strace)
        assert again.code in (0, -9), again
        yield from found.whole(scenario)
        recovered = driver.run(site, "rotate", "--all", "--json")
        assert recovered.code == 0, recovered
        yield from found.settled()

    lab.visit(check, lab.points[::EVERY])


@pytest.mark.parametrize(("lab", "error"), FAULTS, indirect=["lab"], ids=named)
def test_an_error_at_any_point_is_said_undone_and_made_up_for(lab: Lab, error: str) -> None:
    """A full disk, a broken one, a wrong permission: one line of why, and no half state."""
    scenario = lab.scenario

    def check(site: Site, driver: Driver, point: Point) -> Iterator[str]:
        found = Found(site)
        failed = driver.break_off(site, point, f"error={error}", *scenario.arguments, "--json")
        [row] = failed.json
        if failed.code != 0:
            if failed.code != 1 or ERRORS[error] not in row["why"]:
                yield f"it ended with {failed}"
            if not row["why"].isprintable() or "Traceback" in failed.stderr:
                yield f"it is not one line: {row['why']!r}"
        yield from found.whole(scenario)
        # Either everything was committed and only cleaning up failed, or the old pair is back:
        # in both cases what is live is also what is installed, told and recorded. Without an old
        # pair a whole new one stays, for there is nothing better (ADR 5).
        if failed.code == 0 and found.live != scenario.new:
            yield f"it calls that a success: {row}"
        if scenario.old is not None:
            yield from found.consistent()

        mended = driver.run(site, "rotate", "--all", "--json")
        assert mended.code == 0, f"after {row}: {mended}"
        yield from found.settled()

    lab.visit(check)
