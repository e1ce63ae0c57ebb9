"""The change of an account's key, killed at every system call: the account is never lost.

Each kill is of an account of its own, for the CA remembers what was done to it before.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.lab import WORKERS, Driver
from tests.crash.trace import MUTATING, Point, calls, points
from tests.parts import Bind, Parts, Pebble, Zone, locate
from tests.parts.site import Site

ROLLOVER = ("account", "rollover", "ca")
SETTLED = {"account.json", "account.key"}


class Bench:
    """A CA, a name server, and sites that each have an account there."""

    def __init__(self, parts: Parts, directory: Path) -> None:
        self.bind = parts.start(Bind, zones=[Zone("example.test")])
        self.pebble = parts.start(Pebble, dns=self.bind.server, nonce_reject=20, retry_after=0)
        self._directory = directory
        self._count = 0

    def site(self, driver: Driver, name: str) -> Site:
        """One with a new account, of which nothing was issued yet."""
        site = Site(self._directory / name)
        site.acme(self.pebble)
        site.rfc2136(self.bind)
        propagation = {"port": self.bind.port, "interval": "1s"}
        site.config["dns"] = {"resolvers": [self.bind.server], "propagation": propagation}
        site.certificate("web", f"{name}.example.test")
        site.write()
        made = driver.run(site, "account", "new", "ca")
        assert made.code == 0, made
        return site

    def accounts(self) -> int:
        """How many the CA has registered."""
        return self.pebble.log_file.read_text(errors="replace").count("accounts in memory")


@pytest.fixture(scope="module")
def bench(module_parts: Parts, memory: Path) -> Bench:
    """The servers."""
    for program in ("strace", "pebble", "named"):
        locate.require(program)
    return Bench(module_parts, memory / "account")


@pytest.fixture(scope="module")
def drivers(bench: Bench) -> Iterator[Sequence[Driver]]:
    """One for each worker, everything loaded."""
    with Driver() as first, Driver() as second:
        made = [first, second][:WORKERS]
        for number, driver in enumerate(made):
            bench.site(driver, f"rehearsal-{number}")
        yield made


def traced(bench: Bench, driver: Driver) -> list[Point]:
    """The points of a change that nothing is done to."""
    site = bench.site(driver, "traced")
    log = site.directory.with_name("trace")
    argv = ["strace", "-f", "-y", "-q", "-s", "0", "-o", str(log)]
    argv += ["-e", f"trace={','.join(MUTATING)}"]
    run = driver.run(site, *ROLLOVER, strace=argv)
    assert run.code == 0, run
    return points(list(calls(log.read_text(), site.directory)))


def check(bench: Bench, driver: Driver, name: str, point: Point) -> Iterator[str]:
    """What is wrong after a kill at a point, after the next issuance, and after a second change."""
    site = bench.site(driver, name)
    folder = site.state / "accounts" / "ca"
    before = json.loads((folder / "account.json").read_text())
    killed = driver.break_off(site, point, "signal=KILL", *ROLLOVER)
    assert killed.code == -9, killed
    if exposed := [each.name for each in folder.iterdir() if each.stat().st_mode & 0o077]:
        yield f"others may read {exposed}"
    issued = driver.run(site, "rotate", "--all", "--json")
    if issued.code:
        yield f"nothing is issued: {issued}"
    again = driver.run(site, *ROLLOVER, "--json")
    if again.code:
        yield f"it is not finished: {again}"
    elif again.json["url"] != before["url"]:
        yield f"it is another account: {again.json['url']}"
    if (left := {each.name for each in folder.iterdir()}) != SETTLED:
        yield f"left: {left}"


@pytest.mark.timeout(1800)
def test_an_account_survives_a_kill_at_any_point_of_a_change_of_its_key(
    bench: Bench, drivers: Sequence[Driver]
) -> None:
    """Whoever loses it loses what CAA records, bindings and dns-persist-01 records name."""
    found = traced(bench, drivers[0])
    made = bench.accounts()

    def share(number: int) -> list[str]:
        problems = []
        for index, point in list(enumerate(found))[number :: len(drivers)]:
            try:
                said = list(check(bench, drivers[number], f"p{index}", point))
            except (AssertionError, ValueError, OSError) as error:
                said = [f"{type(error).__name__}: {error}"]
            problems += [f"{point.call} #{point.ordinal} {point.path}: {each}" for each in said]
        return problems

    with ThreadPoolExecutor(len(drivers)) as pool:
        problems = [each for some in pool.map(share, range(len(drivers))) for each in some]
    sys.stdout.write(f"\naccount: {len(found)} points visited\n")
    shown = "\n".join(problems[:20])
    assert not problems, f"{len(problems)} problems at {len(found)} points:\n{shown}"
    assert {point.path for point in found} >= {
        "state/accounts/ca/account.next.key",
        "state/accounts/ca/account.key",
    }
    assert len(found) > 20
    assert bench.accounts() == made + len(found), "an account was registered again"
