"""What the list of system calls itself proves: their order, and that the driver makes the same."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.lab import Lab
from tests.crash.scenarios import FIRST, RENEWAL
from tests.crash.trace import MUTATING, Call, calls
from tests.parts import locate
from tests.parts.site import snapshot

_VARYING = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


@pytest.fixture(scope="module")
def lab(memory: Path) -> Iterator[Lab]:
    """A renewal."""
    locate.require("strace")
    with ExitStack() as stack:
        yield Lab(memory / "trace", RENEWAL, stack)


def test_the_driver_makes_the_calls_that_the_program_makes(lab: Lab) -> None:
    """What is broken off in this tier is the real thing, only without its start."""
    with lab.site() as site:
        log = site.directory.with_name("trace")
        trace = ["strace", "-f", "-y", "-q", "-s", "0", "-o", str(log)]
        program = site.command_line(*lab.scenario.arguments)
        subprocess.run(
            [*trace, "-e", f"trace={','.join(MUTATING)}", *program],
            check=True,
            capture_output=True,
        )
        real = list(calls(log.read_text(), site.directory))
    assert shown(real) == shown(lab.trace)
    assert len(shown(real)) > 100


def test_nothing_is_put_in_place_before_it_is_on_the_disk(lab: Lab) -> None:
    """A power failure keeps what was synced: no rename may come before its content is.

    And no record of the journal before the names that it speaks of.
    """
    unsynced, names = set[str](), set[str]()
    renames = 0
    for call in lab.trace:
        path = call.paths[-1]
        match call.name:
            case "write" | "fchmod" | "ftruncate":
                unsynced.add(path)
            case "fsync":
                unsynced.discard(path)
                names.discard(path)
            case "rename" | "renameat" if path == "state/audit/head.json":
                unsynced.discard(call.paths[0])  # by design: it may lag, for the log is synced
            case "rename" | "renameat":
                renames += 1
                moved = call.paths[0]
                late = [each for each in unsynced if each == moved or each.startswith(f"{moved}/")]
                assert not late, f"{moved} is renamed before {late} is synced"
                names.add(str(Path(path).parent))
            case "pwrite64" if "/journal/" in path:
                assert not names, f"the journal goes on before {names} is synced"
                names.clear()
    assert renames >= 6
    assert not names


def test_an_order_of_calls_that_loses_data_is_noticed(lab: Lab) -> None:
    """The negative control: without its syncs, the same list of calls must not pass."""
    kept = lab.trace
    lab.trace = [call for call in kept if call.name != "fsync"]
    try:
        with pytest.raises(AssertionError, match="before"):
            test_nothing_is_put_in_place_before_it_is_on_the_disk(lab)
    finally:
        lab.trace = kept


def test_each_kind_of_change_is_among_the_points(lab: Lab) -> None:
    """A set of calls that misses one would make every other test here blind to it."""
    seen = Counter(call.name for call in lab.trace if call.mutates)
    expected = {"openat", "write", "pwrite64", "fsync", "rename", "renameat", "symlinkat"}
    expected |= {"mkdir", "rmdir", "unlink", "unlinkat", "fchmod", "ftruncate"}
    assert expected <= set(seen)


def test_a_look_changes_nothing(memory: Path) -> None:
    """Status and plan may be asked by a monitoring system that must not touch anything."""
    with ExitStack() as stack:
        lab = Lab(memory / "look", FIRST, stack)
        with lab.site() as site, lab.driver() as driver:
            shutil.rmtree(site.state)
            before = snapshot(site.directory)
            for command in ("status", "plan", "history", "rotate --all --dry-run"):
                assert driver.run(site, *command.split()).code == 0
            assert snapshot(site.directory) == before


def shown(trace: list[Call]) -> list[str]:
    """Changes as text, without what differs from run to run."""
    return [
        _VARYING.sub("ID", f"{call.name} {' '.join(call.paths)}") for call in trace if call.mutates
    ]
