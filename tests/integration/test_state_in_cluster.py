"""certrotd with its state in a cluster: several replicas, of which one is at work."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.daemon import HOST, reload, running, stop
from tests.integration.test_http import Reply, get
from tests.parts.kubernetes import ControlPlane
from tests.parts.process import free_port, wait_until
from tests.parts.site import Gate, Site
from tests.unit.daemon.http.scrape import value

DOCS = Path(__file__).parents[2] / "docs/cluster-state.md"
[RULES] = [
    block["rules"]
    for text in DOCS.read_text().split("```yaml\n")[1:]
    if (block := yaml.safe_load(text.partition("```")[0])).get("kind") == "Role"
]
"""The rights that the docs give it: these tests run with no others."""


@pytest.fixture
def replicas(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, Site]:
    """Two, on the same store, by the account of the chart."""
    namespace = control_plane.namespace()
    who = control_plane.service_account(namespace, "certrotd")
    control_plane.allow(namespace, "certrotd", *RULES)
    one, other = (Site(tmp_path_factory.mktemp(name)) for name in ("one", "other"))
    for site in (one, other):
        path = who.write_kubeconfig(site.directory / "kubeconfig", namespace)
        site.config["state"] = {"type": "kubernetes", "kubeconfig": str(path)}
        site.config["store_dir"] = str(one.store)
        site.internal()
        site.certificate("web", HOST)
    one.rotate()
    other.store = one.store
    return one, other


@pytest.fixture
def gate(replicas: tuple[Site, Site]) -> Iterator[Gate]:
    """What holds up the target of the certificate, of whichever replica."""
    gate = replicas[0].gate("slow")
    replicas[1].config["targets"] = replicas[0].config["targets"]
    for each in replicas:
        each.config["certificates"][0]["targets"] = ["slow"]
    yield gate
    gate.open()


def kept(site: Site) -> set[str]:
    """What there is in its own state directory."""
    return {each.name for each in site.state.iterdir()}


def test_what_one_has_rotated_the_other_knows(replicas: tuple[Site, Site]) -> None:
    """Journal and history are not in the directory of either."""
    one, other = replicas
    [row] = other.run("history", "web", "--json").json
    assert row["outcome"] == "finished"
    assert other.status("web")["decision"] == "wait"
    assert other.rotate("--force").row("web")["result"] == "done"
    assert len(one.run("history", "web", "--json").json) == 2
    assert kept(one).isdisjoint({"journal", "history", "internal"}), kept(one)
    assert "audit" in kept(one), "the control: what stays with each"


def test_who_is_at_work_is_said_by_the_other(replicas: tuple[Site, Site], gate: Gate) -> None:
    """By host and process, for that is elsewhere."""
    one, other = replicas
    first = one.start("rotate", "web", "--force", "--json")
    gate.wait()
    second = other.run("rotate", "--all", "--wait", "0s")
    assert second.code == 1
    assert f"process {first.pid} (certrotd rotate, since " in second.stdout
    assert other.status("web")["state"] == "in flight"
    gate.open()
    assert first.end().row("web")["result"] == "done"
    assert other.status("web")["state"] == "ok"


def test_the_other_goes_on_with_what_a_kill_left(replicas: tuple[Site, Site], gate: Gate) -> None:
    """Once the Lease ran out; what was in flight is finished, and nothing is issued twice."""
    one, other = replicas
    first = one.start("rotate", "web", "--force")
    gate.wait()
    first.signal(signal.SIGKILL)
    first.end()
    gate.open()
    assert "is in use by" in other.run("rotate", "--all", "--wait", "0s").stdout
    wait_until(lambda: other.run("rotate", "--all").code == 0, what="its Lease runs out")
    assert (one.generation("web"), one.generations("web")) == (2, [1, 2])
    assert other.status("web")["state"] == "ok"


def test_one_daemon_of_two_is_at_work_and_the_other_takes_over(
    replicas: tuple[Site, Site],
) -> None:
    """At once where the first ends well; it reads its configuration as it is by then."""
    one, other = replicas
    with running(one) as first:
        second = other.start("run")
        said = second.wait_for("waits to take over")
        assert f"process {first.pid} (certrotd run" in said
        other.certificate("www", "www.example.test")
        other.write()
        assert "a daemon" not in other.run("wake", "web").stderr
        assert stop(first).code == 0
    second.wait_for("started with 2 certificates")
    second.wait_for("www: done")
    assert stop(second).code == 0
    assert "no daemon runs on this state:" in one.run("wake", "web").stderr


def test_who_waits_to_take_over_ends_when_it_is_told(replicas: tuple[Site, Site]) -> None:
    """A rollout of certrotd itself does not wait for the other."""
    one, other = replicas
    with running(one):
        second = other.start("run")
        second.wait_for("waits to take over")
        assert stop(second).code == 0


def test_commands_work_beside_a_replica_that_waits(replicas: tuple[Site, Site]) -> None:
    """Its directory is a new one: no daemon has ever been at work there."""
    one, other = replicas
    assert not other.state.exists()
    with running(one):
        second = other.start("run")
        second.wait_for("waits to take over")
        other.rotate()
        assert stop(second).code == 0


def test_a_replica_that_waits_is_healthy_and_says_who_is_at_work(
    replicas: tuple[Site, Site],
) -> None:
    """Else the kubelet would restart it; and its page is that of the daemon once it takes over."""
    one, other = replicas
    port = free_port()
    other.config["http"] = {"listen": f"127.0.0.1:{port}"}
    with running(one) as first:
        second = other.start("run")
        second.wait_for("the status page is at")
        for path in ("/livez", "/readyz"):
            assert get(port, path) == Reply(200, "ok: stands by\n")
        assert value(get(port, "/metrics").text, "certrotd_standing_by") == 1
        page = get(port, "/")
        assert page.status == 503
        assert f"process {first.pid}" in page.text
        assert stop(first).code == 0
    second.wait_for("started with 1 certificate")

    def at_work() -> bool:
        with suppress(OSError):  # the one page is closed a moment before the other is opened
            return get(port, "/readyz").text == "ok\n"
        return False

    wait_until(at_work, what="it is at work")
    assert get(port, "/").status == 200
    assert "certrotd_standing_by" not in get(port, "/metrics").text
    assert stop(second).code == 0


def test_a_frozen_daemon_ends_when_it_thaws(replicas: tuple[Site, Site]) -> None:
    """Another is at work by then; it says so, and does nothing more."""
    one, other = replicas
    first = one.start("run")
    first.wait_for("started with")
    first.signal(signal.SIGSTOP)
    with running(other):
        first.signal(signal.SIGCONT)
        ended = first.end()
    assert ended.code == 1
    assert "another daemon may be at work" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_reload_does_not_move_the_state(replicas: tuple[Site, Site]) -> None:
    """As with the directory."""
    one, _ = replicas
    with running(one) as daemon:
        one.config["state"] = {**one.config["state"], "instance": "another"}
        reload(one, daemon)
        daemon.wait_for("state changed: restart certrotd")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kubeconfig": None}, "this is no pod with a ServiceAccount"),
        ({"namespace": "kube-system"}, "cannot "),
        ({"instance": "Certrotd"}, "state.instance: must be a name of lower-case letters"),
        ({"type": "etcd"}, "state.type"),
    ],
)
def test_a_state_that_cannot_be_had_is_one_line(
    replicas: tuple[Site, Site], change: dict[str, Any], words: str
) -> None:
    """And nothing is rotated without it."""
    one, _ = replicas
    before = one.generations("web")
    one.config["state"] = {**one.config["state"], **change}
    run = one.run("rotate", "web", "--force")
    assert run.code in (1, 2)
    assert words in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert one.generations("web") == before


def test_a_kubeconfig_that_is_not_there_is_said_by_the_check(
    replicas: tuple[Site, Site], tmp_path: Path
) -> None:
    """With its line."""
    one, _ = replicas
    one.config["state"]["kubeconfig"] = str(tmp_path / "none")
    run = one.run("config", "check")
    assert f"state.kubeconfig: {tmp_path}/none cannot be read" in run.stdout + run.stderr
