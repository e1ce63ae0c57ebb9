"""Several daemons of one state, each at work on its shard."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from certrotd.state.shard import Shard
from tests.integration.daemon import stop
from tests.integration.test_http import get
from tests.integration.test_state_in_cluster import RULES
from tests.parts.kubernetes import ControlPlane
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site, Started
from tests.unit.daemon.http.scrape import value

SHARDS = 2
NAMES = [f"c{number}" for number in range(6)]
_LED = re.compile(r"looks after shard (\d) of 2")


def subjects(shard: int) -> set[str]:
    """The certificates of one."""
    return {name for name in NAMES if Shard(shard, SHARDS).has(f"certificate/{name}")}


@pytest.fixture
def sites(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """Three on one state and one store, each with a page."""
    namespace = control_plane.namespace()
    who = control_plane.service_account(namespace, "certrotd")
    control_plane.allow(namespace, "certrotd", *RULES)
    made = [Site(tmp_path_factory.mktemp(f"site{number}")) for number in range(3)]
    for site in made:
        path = who.write_kubeconfig(site.directory / "kubeconfig", namespace)
        site.config["state"] = {"type": "kubernetes", "kubeconfig": str(path), "shards": SHARDS}
        site.config["store_dir"] = str(made[0].store)
        site.config["http"] = {"listen": f"127.0.0.1:{free_port()}"}
        site.internal()
        for name in NAMES:
            site.certificate(name, f"{name}.example.test")
        site.write()
    return made


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """Ends what a test started, whatever became of it."""
    with ExitStack() as stack:
        yield stack


def start(site: Site, ends: ExitStack) -> Started:
    daemon = site.start("run")

    def end() -> None:
        if not daemon.is_over:
            stop(daemon)

    ends.callback(end)
    return daemon


def led(daemon: Started) -> int:
    """The shard that it has taken, once it has."""
    found = _LED.search(daemon.wait_for("looks after shard"))
    assert found
    return int(found[1])


def test_each_certificate_has_one_daemon_at_a_time(sites: list[Site], ends: ExitStack) -> None:
    """A third daemon stands by, and takes over the shard of one that is killed."""
    one, two = (start(site, ends) for site in sites[:2])
    first, second = led(one), led(two)
    assert {first, second} == {1, 2}
    spare = start(sites[2], ends)
    assert "each of the 2 shards has its daemon" in spare.wait_for("waits to take over")
    assert all(map(subjects, (first, second))), "the control: each has something to do"
    for daemon, shard in ((one, first), (two, second)):
        daemon.wait_for(*(f"{name}: done" for name in subjects(shard)))
    assert all(sites[2].status(name)["state"] == "ok" for name in NAMES)

    page = int(sites[0].config["http"]["listen"].rpartition(":")[2])
    assert f"this replica looks after shard {first} of 2" in get(page, "/").text
    metrics = get(page, "/metrics").text
    assert value(metrics, "certrotd_shard_info", number=str(first), of="2") == 1
    assert value(metrics, "certrotd_subjects", kind="certificate", state="ok") == len(
        subjects(first)
    )

    woken = sites[2].run("wake", *NAMES)
    assert "no daemon" not in woken.stderr
    one.signal(signal.SIGKILL)
    killed = one.end()
    assert led(spare) == first
    mine = sorted(subjects(first))[0]
    for site in sites:
        certificate = next(each for each in site.config["certificates"] if each["name"] == mine)
        certificate["names"].append("more.example.test")
        site.write()
    for daemon in (two, spare):
        daemon.signal(signal.SIGHUP)
    spare.wait_for(f"{mine}: done")
    ends_of = [stop(two), stop(spare)]
    assert [ended.code for ended in ends_of] == [0, 0]
    for daemon_log, shard in ((killed, first), (ends_of[0], second), (ends_of[1], first)):
        others = set(NAMES) - subjects(shard)
        assert not [name for name in others if f"{name}: " in daemon_log.stderr], shard


def test_a_shard_without_a_daemon_is_told_of(sites: list[Site], ends: ExitStack) -> None:
    """By a daemon that has another one, until somebody takes it; and by commands."""
    one = start(sites[0], ends)
    shard = led(one)
    missing = 3 - shard
    one.wait_for(f"no daemon looks after shard {missing} of 2")
    theirs, mine = min(subjects(missing)), min(subjects(shard))
    assert "no daemon runs" in sites[1].run("wake", theirs, mine).stderr
    assert "no daemon runs" not in sites[1].run("wake", mine).stderr
    two = start(sites[1], ends)
    assert led(two) == missing
    two.wait_for(f"{theirs}: done")

    def is_over() -> bool:
        page = int(sites[0].config["http"]["listen"].rpartition(":")[2])
        return value(get(page, "/metrics").text, "certrotd_troubles") == 0

    wait_until(is_over, what="the trouble is over")


def test_one_with_everything_waits_for_those_with_shards(
    sites: list[Site], ends: ExitStack
) -> None:
    """And with another number; both name who is at work."""
    one = start(sites[0], ends)
    led(one)
    del sites[1].config["state"]["shards"]
    sites[2].config["state"]["shards"] = 3
    for site in sites[1:]:
        site.write()
    everything, others = (start(site, ends) for site in sites[1:])
    assert f"process {one.pid} (certrotd run" in everything.wait_for("waits to take over")
    said = others.wait_for("waits to take over")
    assert "daemons with 2 shards: " in said
    assert f"process {one.pid} (certrotd run" in said
    assert stop(others).code == 0
    assert stop(one).code == 0
    everything.wait_for(f"started with {len(NAMES)} certificates")
