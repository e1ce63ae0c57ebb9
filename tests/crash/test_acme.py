"""An ACME renewal killed at every one of its system calls: nothing issued is lost or asked twice.

Two workers share the points, each with a CA and a name server of its own, so that each can count.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.found import Found
from tests.crash.lab import WORKERS, Driver, Lab
from tests.crash.scenarios import HOST, RENEWAL, Scenario, two_generations, with_copies_and_a_target
from tests.crash.test_renewal import FULL
from tests.crash.trace import Point
from tests.parts import Bind, Parts, Pebble, Zone, locate
from tests.parts.site import Site, issued, orders

Check = Callable[[Site, Driver, Point], Iterable[str]]
# Between the CA's answer to an order and the order's URL in the journal: open, truncate, write.
FORGETFUL = 3
SYNCS = 12
# Of the points of two kills, one of so many is visited by default.
EVERY = 1 if FULL else 7


@dataclass
class Bench:
    """A lab with the CA and the name server of its certificates, and the orders beyond one each."""

    bind: Bind
    pebble: Pebble
    lab: Lab
    twice: list[Point] = field(default_factory=list)

    def check(self, site: Site, driver: Driver, point: Point) -> Iterator[str]:
        """What is wrong after a kill at a point, and after the run that recovers from it."""
        found, before = Found(site), orders(self.pebble)
        killed = driver.break_off(site, point, "signal=KILL", *RENEWAL.arguments)
        assert killed.code == -9, killed
        yield from found.whole(RENEWAL)
        begun = found.open_journal
        recovered = driver.run(site, "rotate", "--all", "--json")
        assert recovered.code == 0, recovered
        yield from found.settled()
        if begun and found.live != RENEWAL.new:
            yield f"generation {found.live} is live"
        if left := self.bind.txt(f"_acme-challenge.{HOST}"):
            yield f"TXT records are left: {left}"
            self.bind.delete_txt(f"_acme-challenge.{HOST}")
        spent = orders(self.pebble) - before
        if spent > 2:
            yield f"{spent} orders"
        self.twice += [point] * (spent == 2)

    def check_twice(self, site: Site, driver: Driver, point: Point) -> Iterator[str]:
        """As check(), after the run that recovers was killed too, at one of its first syncs."""
        found, before, certificates = Found(site), orders(self.pebble), issued(self.pebble)
        driver.break_off(site, point, "signal=KILL", *RENEWAL.arguments)
        begun = found.open_journal
        second = Point("fsync", 1 + self.lab.points.index(point) % SYNCS, None, "")
        strace = second.inject(site.directory, "signal=KILL")
        again = driver.run(site, "rotate", "--all", strace=strace)
        assert again.code in (0, -9), again
        yield from found.whole(RENEWAL)
        recovered = driver.run(site, "rotate", "--all", "--json")
        assert recovered.code == 0, recovered
        yield from found.settled()
        if left := self.bind.txt(f"_acme-challenge.{HOST}"):
            yield f"TXT records are left: {left}"
            self.bind.delete_txt(f"_acme-challenge.{HOST}")
        spent = orders(self.pebble) - before
        if spent > 2:
            yield f"{spent} orders"
        self.twice += [point] * (spent == 2)
        given = issued(self.pebble) - certificates
        if given > 1 or (begun and given == 0):
            yield f"{given} certificates were issued for one rotation"


@pytest.fixture(scope="module")
def benches(module_parts: Parts, memory: Path) -> Iterator[list[Bench]]:
    """One for each worker."""
    for program in ("strace", "pebble", "named"):
        locate.require(program)
    with ExitStack() as stack:
        yield [_bench(module_parts, memory / f"acme-{n}", stack) for n in range(WORKERS)]


def _bench(parts: Parts, directory: Path, stack: ExitStack) -> Bench:
    bind = parts.start(Bind, zones=[Zone("example.test")])
    pebble = parts.start(Pebble, dns=bind.server, nonce_reject=0, retry_after=0)

    def prepare(site: Site) -> None:
        site.acme(pebble)
        site.rfc2136(bind)
        propagation = {"port": bind.port, "interval": "1s"}
        site.config["dns"] = {"resolvers": [bind.server], "propagation": propagation}
        with_copies_and_a_target(site)
        two_generations(site)

    scenario = Scenario(RENEWAL.name, prepare, RENEWAL.arguments, RENEWAL.old, RENEWAL.new)
    return Bench(bind, pebble, Lab(directory, scenario, stack, workers=1))


def visit(benches: list[Bench], check: Callable[[Bench], Check], *, every: int = 1) -> list[Point]:
    """Every point, or one of so many, by one of the benches; those that cost another order."""
    count = len(benches[0].lab.points)
    assert {len(other.lab.points) for other in benches[1:]} <= {count}
    assert count > 100

    def share(number: int) -> None:
        bench = benches[number]
        bench.twice.clear()
        bench.lab.visit(check(bench), bench.lab.points[::every][number :: len(benches)])

    with ThreadPoolExecutor(len(benches)) as pool:
        list(pool.map(share, range(len(benches))))
    return [point for bench in benches for point in bench.twice]


@pytest.mark.timeout(3600)
def test_a_kill_at_any_point_costs_at_most_one_order(benches: list[Bench]) -> None:
    """Rate limits are counted in orders; records left behind break the next validation."""
    twice = visit(benches, lambda bench: bench.check)
    assert len(twice) <= FORGETFUL, f"ordered again: {twice}"


@pytest.mark.timeout(3600)
def test_two_kills_lose_no_certificate_and_cost_at_most_one_order(benches: list[Bench]) -> None:
    """A machine that crashes once crashes twice; what was issued is fetched by the third run."""
    twice = visit(benches, lambda bench: bench.check_twice, every=EVERY)
    # the second kill too may fall between the CA's answer and the journal
    assert len(twice) <= 2 * FORGETFUL, f"ordered again: {twice}"
