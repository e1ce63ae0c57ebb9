"""Adapters are built once, when first used."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from certrotd.certs.wiring.shelf import Shelf
from certrotd.certs.world import WhoRevokes
from certrotd.clock import Deadline, SystemClock
from certrotd.daemon.wiring import open_site
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.generation import LiveCertificate
from tests.builders import meta, soon
from tests.fakes.subjects import wing_of


@dataclass
class Adapter:
    """Counts what is asked of it."""

    name: str
    problem: str = ""
    asked: int = 0
    closed: int = 0

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:
        self.asked += 1
        if self.problem:
            raise NeedsOperator(self.problem)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Workshop:
    """Builds adapters, and keeps them in the order they were asked for."""

    built: list[Adapter] = field(default_factory=list)

    def shelf(self, *names: str) -> Shelf[Adapter]:
        """A shelf of these entries; what an entry is becomes the adapter's problem."""
        return Shelf(dict.fromkeys(names, ""), self.build)

    def build(self, name: str, entry: str) -> Adapter:
        self.built.append(Adapter(name, entry))
        return self.built[-1]


class TestShelf:
    """Adapters of one kind by name."""

    def test_an_adapter_is_not_built_before_it_is_used(self) -> None:
        """Start-up does not pay for a vendor's SDK that today's work has no need of."""
        workshop = Workshop()
        shelf = workshop.shelf("a", "b")
        assert workshop.built == []
        assert shelf.get("b").name == "b"
        assert [adapter.name for adapter in workshop.built] == ["b"]

    def test_an_adapter_is_built_once_however_many_ask(self) -> None:
        """One connection pool, one account, one responder: also for eight threads at once."""
        workshop, start = Workshop(), threading.Barrier(8)
        shelf = workshop.shelf("a")

        def ask(_: int) -> int:
            start.wait(timeout=10)
            return id(shelf.get("a"))

        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(ask, range(8)))
        assert (len(found), len(workshop.built)) == (1, 1)

    def test_a_removed_adapter_is_none_or_reported(self) -> None:
        """A journal may name what has been removed since."""
        shelf = Workshop().shelf("a")
        assert shelf.find("gone") is None
        assert shelf.find("a") is shelf.get("a")
        with pytest.raises(NeedsOperator, match="no longer has 'gone'"):
            shelf.get("gone")

    def test_an_adapter_that_passed_its_preflight_is_not_asked_again(self) -> None:
        """A thousand certificates of one CA cost it one question."""
        workshop = Workshop()
        shelf = workshop.shelf("a")
        for _ in range(3):
            shelf.ready("a", soon())
        assert workshop.built[0].asked == 1

    def test_an_adapter_that_failed_its_preflight_is_asked_again(self) -> None:
        """A name server that was away for a minute must not fail the whole run."""
        workshop = Workshop()
        shelf = Shelf({"a": "away"}, workshop.build)
        for _ in range(2):
            with pytest.raises(NeedsOperator, match="away"):
                shelf.ready("a", soon())
        workshop.built[0].problem = ""
        shelf.ready("a", soon())
        assert workshop.built[0].asked == 3

    def test_in_a_dry_run_an_answer_stands(self) -> None:
        """A thousand certificates of a CA that is away cost one wait, not a thousand."""
        workshop = Workshop()
        shelf = Shelf({"a": "away"}, workshop.build, dry=True)
        for _ in range(2):
            with pytest.raises(NeedsOperator, match="away"):
                shelf.ready("a", soon())
        assert workshop.built[0].asked == 1
        shelf = Shelf({"a": "away"}, workshop.build, dry=True)
        shelf.ready("a", soon(), ask=False)
        assert workshop.built[1].asked == 0

    def test_an_adapter_that_hangs_does_not_hold_the_others(self) -> None:
        """A CA that is down must not keep certificates of another one waiting."""
        let_go, asked = threading.Event(), threading.Event()

        class Hanging(Adapter):
            def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:
                asked.set()
                let_go.wait(10)

        shelf = Shelf({"slow": "", "other": ""}, Hanging)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(shelf.ready, "slow", soon())
            assert asked.wait(10)
            assert pool.submit(shelf.get, "other").result(timeout=5).name == "other"
            with pytest.raises(Transient, match="'slow' is still being checked"):
                shelf.ready("slow", Deadline(SystemClock(), 0.05))
            let_go.set()
            first.result(timeout=10)
        shelf.ready("slow", soon())

    def test_closing_closes_what_was_built_and_builds_nothing(self) -> None:
        """Sockets are let go of; what was never used has none."""
        workshop = Workshop()
        shelf = workshop.shelf("a", "b")
        shelf.get("a")
        shelf.close()
        assert [(adapter.name, adapter.closed) for adapter in workshop.built] == [("a", 1)]

    def test_an_adapter_without_powers_is_fine(self) -> None:
        """Asking early and closing are optional."""
        shelf = Shelf({"a": ""}, lambda _name, _entry: object())
        shelf.ready("a", soon())
        shelf.close()

    def test_all_adapters_are_those_of_every_entry(self) -> None:
        """Solvers that are servers are started before anybody is asked."""
        assert [adapter.name for adapter in Workshop().shelf("a", "b").all()] == ["a", "b"]


def test_the_dns_has_its_own_time_and_not_the_cas(tmp_path: Path) -> None:
    """A zone whose secondaries take ten minutes says so there, and the CA's stays short."""
    path = tmp_path / "certrotd.yaml"
    path.write_text(f"""
state_dir: {tmp_path}
issuers: {{ca: {{type: acme, directory: "https://ca.example/dir", timeout: 1m}}}}
solvers: {{hook: {{type: exec, command: [/bin/true], timeout: 4m}}}}
dns: {{propagation: {{timeout: 15m}}}}
certificates: [{{name: web, names: [www.example.org], solver: hook}}]
""")
    with open_site(path, clock=SystemClock(), command="test") as site:
        world = wing_of(site).world(site.config.certificates[0])
    assert (world.order_time, world.dns_time, world.wait_time) == (60.0, 240.0, 900.0)


def test_which_ca_is_asked_to_revoke_is_told_and_where_that_is_a_guess(tmp_path: Path) -> None:
    """A pair from elsewhere does not say who issued it; what certrotd ordered does."""
    path = tmp_path / "certrotd.yaml"
    path.write_text(f"""
state_dir: {tmp_path}
issuers:
  first: {{type: acme, directory: "https://ca.example/dir"}}
  second: {{type: acme, directory: "https://other.example/dir"}}
solvers: {{hook: {{type: exec, command: [/bin/true]}}}}
certificates: [{{name: web, names: [www.example.org], solver: hook, issuer: second}}]
""")
    with open_site(path, clock=SystemClock(), command="test") as site:
        wing = wing_of(site)
        world = wing.world(site.config.certificates[0])
        (site.config.store_dir / "gone" / "generations").mkdir(parents=True)
        left = wing.leftover("gone")
        assert left is not None
        gone = left.managed.world()
    adopted = meta(origin="adopted")
    issued = meta(origin="issued", issuer="second", authority="https://other.example/dir")
    said = world.who_revokes(adopted)
    assert (said.guessed, "second is asked, its issuer" in said.words) == (True, True)
    said = gone.who_revokes(adopted)
    assert "first is asked, the first of the configuration" in said.words
    assert f"revoke --file {site.config.store_dir}/gone/live/cert.pem --issuer NAME" in said.words
    for each in (world, gone):
        assert each.who_revokes(issued) == WhoRevokes("second is asked, the CA that issued it")


def test_a_rotation_in_flight_knows_what_is_configured_now(tmp_path: Path) -> None:
    """What was ordered before a reload need not be kept where nobody asks for it any more."""
    path = tmp_path / "certrotd.yaml"
    path.write_text(f"""
state_dir: {tmp_path}
issuers: {{ca: {{type: internal}}}}
certificates: [{{name: web, names: [www.example.org, example.org]}}]
""")
    with open_site(path, clock=SystemClock(), command="test") as site:
        world = wing_of(site).world(site.config.certificates[0])
    assert world.wants("ca", ("example.org", "www.example.org"))
    assert not world.wants("other", ("example.org", "www.example.org"))
    assert not world.wants("ca", ("example.org",))


def test_only_a_target_that_goes_back_workload_by_workload_is_of_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One program is as good as any of its handshakes."""

    class Workloads:
        def revert_for(self, certificates: Sequence[LiveCertificate]) -> None: ...

    monkeypatch.setattr("certrotd.targets.kubernetes.build", lambda *_: Workloads())
    path = tmp_path / "certrotd.yaml"
    path.write_text(f"""
state_dir: {tmp_path}
issuers: {{ca: {{type: internal}}}}
targets:
  shop: {{type: kubernetes, selector: a=b, probe: [{{address: shop.example.org:443}}]}}
  mail: {{type: command, command: [/bin/true], probe: [{{address: mail.example.org:443}}]}}
certificates: [{{name: web, names: [example.org], targets: [shop, mail]}}]
""")
    with open_site(path, clock=SystemClock(), command="test") as site:
        world = wing_of(site).world(site.config.certificates[0])
    bounds = [world.target(name) for name in ("shop", "mail")]
    assert [bound and bound.several for bound in bounds] == [True, False]
