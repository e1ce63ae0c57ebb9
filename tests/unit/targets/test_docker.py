"""Containers are told in turn, or said to be unfit; an engine of the tests' own plays odd ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.config.context import Context
from certrotd.config.docker import DockerEntry
from certrotd.containers.chosen import Chosen
from certrotd.containers.container import Container, Mount, Network, container, crash, gives_up
from certrotd.containers.engine import Denied, DockerEngine, Ended, Gone
from certrotd.containers.fitness import Telling
from certrotd.containers.older import Copy
from certrotd.containers.probing import ContainerProbe
from certrotd.containers.streams import exit_code
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki.generation import LiveCertificate
from certrotd.state.ports import Fenced
from certrotd.targets.docker import DockerTarget, build

SHOP = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}


class MemoryEngine:
    """Containers that only exist here; ``then`` is what becomes of one that is told.

    Nobody can say what those in ``unknown`` are, nor run a program in those in ``locked``, nor
    send a signal to those in ``mute``.
    """

    def __init__(self, *found: Container) -> None:
        self.found = {each.name: each for each in found}
        self.log: list[str] = []
        self.then: Callable[[Container], Container] = lambda each: each
        self.ended = Ended(0, b"")
        self.said = "bye"
        self.files: dict[str, bytes] = {}
        self.unknown: dict[str, Failure] = {}
        self.locked: dict[str, Failure] = {}
        self.mute: dict[str, Failure] = {}
        self.host = "unix:///run/memory.sock"

    def ping(self) -> None:
        self.log.append("ping")

    def get(self, name: str) -> Container:
        if name not in self.found:
            raise Gone(f"there is no container {name}")
        if name in self.unknown:
            raise self.unknown[name]
        return self.found[name]

    def find(self, labels: Mapping[str, str]) -> list[str]:
        def fits(each: Container) -> bool:
            own = each.labels or {}
            return all(key in own and own[key] == (v or own[key]) for key, v in labels.items())

        return sorted(each.name for each in self.found.values() if fits(each))

    def kill(self, name: str, signal: str) -> None:
        self.may_kill(name)
        self._told(name, signal)

    def may_kill(self, name: str) -> None:
        if name in self.mute:
            raise self.mute[name]

    def restart(self, name: str, grace: int) -> None:
        self.found[name] = replace(self.found[name], status="running", restarts=0)
        self._told(name, f"restart within {grace}")

    def stop(self, name: str, grace: int) -> None:
        self.found[name] = replace(self.found[name], status="exited")
        self._told(name, f"stop within {grace}")

    def start(self, name: str) -> None:
        self.found[name] = replace(self.found[name], status="running", restarts=0)
        self._told(name, "start")

    def run(self, name: str, argv: Sequence[str], deadline: Deadline) -> Ended:
        assert deadline.remaining
        self.may_run(name)
        self.log.append(f"{name}: {' '.join(argv)}")
        return self.ended

    def may_run(self, name: str) -> None:
        if name in self.locked:
            raise self.locked[name]

    def put(self, name: str, folder: str, files: Mapping[str, bytes], owner: int) -> None:
        self.log.append(f"{name}: {folder} has {sorted(files)} of {owner}")

    def read(self, name: str, path: str) -> bytes | None:
        assert name in self.found
        return self.files.get(path)

    def starts(self) -> Iterator[str]:
        yield from ("", *self.found)

    def logs(self, name: str) -> str:
        assert name in self.found
        return self.said

    def _told(self, name: str, what: str) -> None:
        self.log.append(f"{name}: {what}")
        self.found[name] = self.then(self.found[name])


def made(engine: MemoryEngine, *names: str, **options: Any) -> DockerTarget:
    """A target of those by name, on a clock that stands still."""
    options = {"telling": Telling(signal="HUP"), **options}
    chosen = options.pop("chosen", Chosen(names))
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    return DockerTarget(engine, chosen, timeout=30, clock=clock, **options)


def live(folder: Path | str = "/store/web/live", name: str = "web") -> LiveCertificate:
    return LiveCertificate(name, ("a.example.test",), str(folder))


def running(name: str, **options: Any) -> Container:
    return Container(name, "running", **options)


class TestFound:
    """Each once, in the order of the options."""

    def test_by_name_service_label_and_mount(self) -> None:
        """Those of a label only for the certificates that it names."""
        engine = MemoryEngine(
            running("z"),
            running("shop-2", labels=SHOP),
            running("shop-1", labels=SHOP),
            running("mine", labels={"certrotd.certificate": "api, web"}),
            running("theirs", labels={"certrotd.certificate": "api"}),
            running("mounts", mounts=(Mount("/store", "/certs"),)),
            running("other", mounts=(Mount("/store/api", "/certs"),)),
        )
        chosen = Chosen(("z", "shop-2"), (("shop", "web"),), labelled=True, mounting=True)
        made(engine, chosen=chosen).apply_for((live(),))
        assert engine.log == [f"{n}: HUP" for n in ("z", "shop-2", "shop-1", "mine", "mounts")]

    def test_one_that_is_not_there_is_said(self) -> None:
        """Before anything is done."""
        with pytest.raises(Gone, match="no container web"):
            made(MemoryEngine(), "web").check()

    def test_none_at_all_is_warned_of(self) -> None:
        """They may be made later."""
        checked = made(MemoryEngine(), chosen=Chosen(labelled=True)).checked_for((live(),))
        assert checked.warnings == ["it finds no container: nobody is told"]

    def test_the_engine_is_asked_before_there_is_a_certificate(self) -> None:
        """Whether it answers."""
        engine = MemoryEngine()
        made(engine, "web").precheck()
        assert engine.log == ["ping"]


class TestUnfit:
    """What is not touched."""

    @pytest.mark.parametrize(
        ("found", "words"),
        [
            (Container("web", "paused"), "is paused (docker unpause web)"),
            (running("web", health="unhealthy"), "already: its health check fails"),
        ],
    )
    def test_it_is_said(self, found: Container, words: str) -> None:
        """And nobody is told."""
        engine = MemoryEngine(found)
        with pytest.raises(NeedsOperator) as caught:
            made(engine, "web").check()
        assert words in str(caught.value)
        assert engine.log == []

    @pytest.mark.parametrize(
        "found",
        [
            Container("web", "restarting", exit_code=3),
            running("web", restarts=2, started="2026-05-31T23:59:51.5Z", health="unhealthy"),
        ],
        ids=["restarting", "runs for a moment"],
    )
    def test_one_that_is_started_again_and_again_holds_nothing_up(self, found: Container) -> None:
        """The others are told; an undo asks nothing of it either."""
        engine = MemoryEngine(found, running("api"))
        target = made(engine, "web", "api")
        checked = target.checked_for((live(),))
        [words] = checked.warnings
        assert words.startswith("the container web is started again and again (docker logs web)")
        assert (checked.shown["running"], checked.nobody) == ({"api": ""}, False)
        assert target.behind_for((live(),)) == []
        engine.found["web"] = replace(found, status="restarting")
        for act in (
            lambda: target.apply_for((live(),)),
            lambda: target.revert_for((live(),), checked.shown),
        ):
            act()
            assert engine.log == ["api: HUP"]
            engine.log.clear()

    def test_one_that_runs_on_after_all_is_told(self) -> None:
        """It is waited for until then, and no longer than until it ends."""
        found = running("web", restarts=7, started="2026-05-31T23:59:58Z")
        engine = MemoryEngine(found)
        target = made(engine, "web")
        target.apply_for((live(),))
        assert engine.log == ["web: HUP"]
        assert 8 <= target.clock.monotonic() < 10

    def test_its_files_are_put_back_whatever_it_does(self, tmp_path: Path) -> None:
        """It may have been told forth, and starts with them again and again."""
        for name in ("fullchain.pem", "privkey.pem"):
            (tmp_path / name).write_text(name)
        engine = MemoryEngine(Container("web", "restarting"))
        target = made(engine, "web", copy=Copy("/etc/tls"))
        target.revert_for((live(tmp_path),), {"running": {}})
        assert engine.log == ["web: /etc/tls has ['fullchain.pem', 'privkey.pem'] of 0"]

    @pytest.mark.parametrize(
        ("restarts", "started"), [(1, "2026-06-01T00:00:00Z"), (9, "2026-05-31T23:59:49Z")]
    )
    def test_one_that_was_started_again_and_works_is_waited_for(
        self, restarts: int, started: str
    ) -> None:
        """Once is not again and again, and an engine counts since the container was made."""
        engine = MemoryEngine(running("web", restarts=restarts, started=started))
        assert made(engine, "web").checked_for((live(),)).warnings == []
        engine.then = lambda each: replace(each, status="exited", exit_code=1)
        with pytest.raises(NeedsOperator, match="it ended with exit code 1"):
            made(engine, "web").apply_for((live(),))

    def test_a_copy_below_a_tmpfs_is_refused(self) -> None:
        """Nobody in the container would see it; a volume in a tmpfs is none."""
        web = container(
            {
                "Name": "/web",
                "State": {"Status": "running"},
                "HostConfig": {"Tmpfs": {"/run": "size=1m"}},
                "Mounts": [
                    {"Type": "tmpfs", "Destination": "/tmp"},
                    {"Type": "volume", "Source": "/v/tls/_data", "Destination": "/run/tls"},
                ],
            }
        )
        for folder in ("/run/x", "/tmp", "/run"):
            with pytest.raises(NeedsOperator, match=f"{folder} in the container web is in a tmpfs"):
                made(MemoryEngine(web), "web", copy=Copy(folder)).checked_for((live(),))
        for folder in ("/run/tls/web", "/runs", "/etc"):
            engine = MemoryEngine(web)
            made(engine, "web", copy=Copy(folder)).checked_for((live(),))
            assert engine.log == [f"web: {folder} has [] of 0"]

    def test_one_that_was_paused_since_is_neither_told_nor_restarted(self) -> None:
        """A backup may hold it for a while: told later, or put back later."""
        engine = MemoryEngine(Container("web", "paused"), running("api"))
        target = made(engine, "web", "api")
        with pytest.raises(NeedsOperator, match="the container web is paused"):
            target.apply_for((live(),))
        with pytest.raises(NeedsOperator, match="the container web is paused"):
            target.revert_for((live(),), {"running": {"web": "", "api": ""}})
        assert engine.log == ["api: HUP"]

    def test_one_that_is_removed_when_it_ends_is_warned_of(self) -> None:
        """A restart that fails takes it away, with what it would have printed."""
        web = container(
            {
                "Name": "/web",
                "State": {"Status": "running"},
                "HostConfig": {"AutoRemove": True},
            }
        )
        engine = MemoryEngine(web)
        [words] = made(engine, "web", telling=Telling()).checked_for((live(),)).warnings
        assert "the container web was made with --rm" in words
        assert made(engine, "web").checked_for((live(),)).warnings == []
        engine.then = lambda each: replace(each, status="removing", exit_code=1)

        def silent(name: str) -> str:
            raise NeedsOperator(f"no logs of {name}")

        engine.logs = silent  # type: ignore[method-assign]
        with pytest.raises(NeedsOperator, match="it ended with exit code 1"):
            made(engine, "web", telling=Telling()).apply()
        engine.log.clear()
        made(engine, "web", telling=Telling()).revert_for((), {"running": {"web": ""}})
        assert engine.log == []  # it is as good as gone

    def test_what_does_not_run_is_left_alone(self) -> None:
        """With a warning."""
        engine = MemoryEngine(Container("web", "exited", exit_code=1), running("api"))
        checked = made(engine, "web", "api").checked_for((live(),))
        assert checked.warnings == ["the container web is exited: it is left alone"]
        assert checked.shown == {"running": {"api": ""}, "served": []}
        made(engine, "web", "api").apply()
        assert engine.log == ["api: HUP"]

    @pytest.mark.parametrize("source", ["/store/web/live", "/store/web/live/fullchain.pem"])
    def test_a_mount_of_live_is_refused_unless_it_is_restarted(self, source: str) -> None:
        """An engine resolves it once."""
        engine = MemoryEngine(running("web", mounts=(Mount(source, "/certs"),)))
        with pytest.raises(NeedsOperator, match=f"mounts {source}: until it is restarted"):
            made(engine, "web").checked_for((live(),))
        made(engine, "web", telling=Telling()).checked_for((live(),))
        made(engine, "web", copy=Copy("/etc/tls")).checked_for((live(),))

    def test_a_file_that_is_another_in_the_container_is_refused(self, tmp_path: Path) -> None:
        """Before, and when it turns out afterwards; files of others are not looked at."""
        store, elsewhere = tmp_path / "web" / "live", tmp_path / "etc"
        store.mkdir(parents=True)
        elsewhere.mkdir()
        copy, theirs = elsewhere / "web.pem", elsewhere / "clients.pem"
        for file in (store / "fullchain.pem", copy):
            file.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        theirs.write_bytes(b"-----BEGIN CERTIFICATE----- of the CA of its clients\n")
        mounts = (Mount(str(theirs), "/clients.pem"), Mount(str(copy), "/web.pem"))
        engine = MemoryEngine(running("web", mounts=mounts))
        engine.ended = Ended(0, copy.read_bytes())
        target, its = made(engine, "web"), (live(store),)
        target.checked_for(its)
        assert engine.log == ["web: cat /web.pem"]
        engine.ended = Ended(0, b"-----BEGIN OTHER")
        for act in (target.checked_for, target.apply_for):
            with pytest.raises(NeedsOperator, match=r"another file at /web\.pem than"):
                act(its)
        engine.ended = Ended(127, b"cat: not found")
        target.checked_for(its)

    def test_programs_that_nobody_may_run_are_said(self) -> None:
        """A proxy that denies them would be noticed after the swap else; a check asks itself."""
        engine = MemoryEngine(running("web"))
        engine.locked["web"] = NeedsOperator("it answers 403 to POST /containers/web/exec")
        for check in (None, ("try",)):
            telling = Telling(command=("reload",), check=check)
            with pytest.raises(NeedsOperator, match="answers 403"):
                made(engine, "web", telling=telling).check()
        made(engine, "web").check()
        assert engine.log == []

    def test_signals_that_nobody_may_send_are_said(self) -> None:
        """The same of them; whoever restarts it needs none."""
        engine = MemoryEngine(running("web"))
        engine.mute["web"] = Denied("it answers 403 to POST /containers/web/kill")
        with pytest.raises(Denied, match="answers 403"):
            made(engine, "web").check()
        made(engine, "web", telling=Telling()).check()
        made(engine, "web", telling=Telling(command=("reload",))).check()

    def test_a_restart_policy_that_a_signal_ends_is_warned_of(self) -> None:
        """An engine takes it for a wish that the container ends."""
        found = container(
            {
                "Name": "/web",
                "State": {"Status": "running"},
                "HostConfig": {"RestartPolicy": {"Name": "on-failure"}},
            }
        )
        for signal, warned in (("", True), ("SIGHUP", True), ("SIGQUIT", False)):
            engine = MemoryEngine(replace(found, stop_signal=signal))
            warnings = made(engine, "web").checked_for((live(),)).warnings
            assert any("is not started by its restart policy" in w for w in warnings) is warned
            assert made(engine, "web", telling=Telling()).checked_for((live(),)).warnings == []
        never = container({"HostConfig": {"RestartPolicy": {"Name": "no"}}})
        assert not gives_up(never, "HUP")

    def test_a_check_that_fails_is_said_with_its_last_lines(self) -> None:
        """In the container; nothing of its output can move the cursor."""
        engine = MemoryEngine(running("web"))
        engine.ended = Ended(1, b"nginx: odd\nnginx: \x1b[2Jfailed\n")
        telling = Telling(signal="HUP", check=("nginx", "-t"))
        for act in (
            made(engine, "web", telling=telling).check,
            made(engine, "web", telling=telling).apply,
        ):
            with pytest.raises(
                NeedsOperator, match="nginx -t in the container web ended"
            ) as caught:
                act()
            assert caught.value.message.isprintable()
            assert "exit code 1: nginx: odd | nginx: " in caught.value.message
        assert engine.log == ["web: nginx -t"] * 2


class TestTold:
    """And waited for."""

    def test_a_program_that_fails_in_it_ends_it(self) -> None:
        """Without any output, too."""
        engine = MemoryEngine(running("web"), running("api"))
        engine.ended = Ended(7, b"")
        with pytest.raises(NeedsOperator, match=r"in the container web ended with exit code 7$"):
            made(engine, "web", "api", telling=Telling(command=("reload",))).apply()
        assert engine.log == ["web: reload"]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"status": "exited", "exit_code": 1}, "it ended with exit code 1: bye"),
            ({"status": "restarting", "exit_code": 2}, "and is started again and again: bye"),
            ({"restarts": 1}, "is started again and again"),
            ({"health": "unhealthy"}, "its health check fails"),
        ],
    )
    def test_one_that_does_not_work_ends_it(self, change: dict[str, Any], words: str) -> None:
        """At once: the next is not told."""
        engine = MemoryEngine(running("web"), running("api"))
        engine.then = lambda each: replace(each, **change)
        with pytest.raises(NeedsOperator) as caught:
            made(engine, "web", "api", telling=Telling()).apply()
        assert words in caught.value.message
        assert engine.log == ["web: restart within 15"]

    def test_health_is_waited_for(self) -> None:
        """Until the deadline."""
        engine = MemoryEngine(running("web", health="healthy"))
        made(engine, "web", telling=Telling()).apply()
        engine.then = lambda each: replace(each, health="starting")
        target = made(engine, "web", telling=Telling())
        with pytest.raises(Transient, match="within 30 s: it is running, starting"):
            target.apply()
        assert target.clock.monotonic() == 30

    def test_who_says_nothing_is_not_quoted(self) -> None:
        """There is no empty quote."""
        engine = MemoryEngine(running("web"))
        engine.said = ""
        engine.then = lambda each: replace(each, status="exited")
        with pytest.raises(NeedsOperator, match=r"exit code 0 \(docker logs web\)$"):
            made(engine, "web").apply()

    def test_files_are_written_into_it_before(self, tmp_path: Path) -> None:
        """One that has no mount."""
        for name in ("fullchain.pem", "privkey.pem"):
            (tmp_path / name).write_text(name)
        engine = MemoryEngine(running("web"))
        made(engine, "web", copy=Copy("/etc/tls", 101)).apply_for((live(tmp_path),))
        written = "web: /etc/tls has ['fullchain.pem', 'privkey.pem'] of 101"
        assert engine.log == [written, "web: HUP"]

    def test_the_fence_comes_before_each_act(self) -> None:
        """A look is none."""
        engine = MemoryEngine(running("web"))

        def lost() -> None:
            raise Fenced("it is another's")

        with pytest.raises(Fenced):
            made(engine, "web").fenced(lost).apply()
        assert engine.log == []


class TestUndone:
    """The last one first, each whatever becomes of others."""

    def test_what_ran_before_runs_again(self) -> None:
        """What did not run is left alone; a check that fails is not asked."""
        engine = MemoryEngine(
            running("web"), Container("api", "exited"), Container("spare", "exited")
        )
        telling = Telling(signal="HUP", check=("false",))
        target = made(engine, "web", "api", "spare", telling=telling)
        target.revert_for((), {"running": {"web": "1", "api": "1"}})
        assert engine.log == ["api: restart within 15", "web: HUP"]

    def test_one_that_is_started_again_and_again_is_restarted(self) -> None:
        """Though nobody looked before."""
        engine = MemoryEngine(Container("web", "restarting"), Container("spare", "created"))
        made(engine, "web", "spare").revert_for((), {})
        assert engine.log == ["web: restart within 15"]

    def test_one_that_the_engine_cannot_say_what_it_is_holds_nothing_up(self) -> None:
        """Such as somebody's, where all are looked at for what they mount."""
        engine = MemoryEngine(running("theirs"), running("web", mounts=(Mount("/store", "/c"),)))
        engine.unknown["theirs"] = Transient("the engine cannot say what theirs is")
        with pytest.raises(Transient, match="what theirs is"):
            made(engine, chosen=Chosen(mounting=True)).revert_for((live(),), {})
        assert engine.log == ["web: HUP"]

    def test_one_that_was_removed_meanwhile_holds_nothing_up(self) -> None:
        """It reads what is live when it is made again; that it is gone is told."""
        engine = MemoryEngine(running("web"))
        shown = {"running": {"web": "1", "api": "1"}}
        target = made(engine, "web", "api")
        assert target.revert_for((), shown) == ["the container api is gone"]
        assert engine.log == ["web: HUP"]

        def removed(name: str, signal: str) -> None:
            raise Gone(f"there is no container {name}")

        engine.kill = removed  # type: ignore[method-assign]
        gone = ["the container api is gone", "the container web is gone"]
        assert target.revert_for((), shown) == gone

    def test_each_failure_is_said_and_the_others_are_told(self) -> None:
        """The first of them ends the undo, after all were told."""
        engine = MemoryEngine(running("web"), running("api"))
        engine.then = lambda each: replace(
            each, status="exited" if each.name == "api" else "running"
        )
        with pytest.raises(Failure, match="the container api does not work"):
            made(engine, "web", "api").revert_for((), {"running": {"web": "1", "api": "1"}})
        assert engine.log == ["api: HUP", "web: HUP"]

    def test_one_that_must_not_be_told_back_is_looked_at(self) -> None:
        """What a proxy denies by now it denied forth: its probe says what it has."""
        engine = MemoryEngine(running("web", network=Network(addresses=("10.0.0.2",))))
        engine.mute["web"] = Denied("it answers 403 to POST /containers/web/kill")
        proven: list[str] = []

        def prove(host: str, port: int, _live: LiveCertificate) -> None:
            proven.append(f"{host}:{port}")

        probe = ContainerProbe(443, "127.0.0.1", False, prove, lambda *_: "")
        shown = {"running": {"web": "1"}, "served": ["web"]}
        its = (replace(live(), fingerprint="ab"),)
        made(engine, "web", probes=(probe,)).revert_for(its, shown)
        assert proven == ["10.0.0.2:443"]
        with pytest.raises(Denied):
            made(engine, "web").revert_for(its, shown)
        with pytest.raises(Denied):
            made(engine, "web", probes=(probe,)).revert_for(its, {**shown, "served": []})


def test_a_program_whose_output_ended_is_waited_for() -> None:
    """It succeeded only once it has an exit code."""
    deadline = Deadline(ManualClock(datetime(2026, 6, 1, tzinfo=UTC)), 30)
    runs: dict[str, Any] = {"Running": True, "ExitCode": None}
    over: dict[str, Any] = {"Running": False, "ExitCode": 3}
    answers = iter([runs, over])
    assert exit_code(lambda: next(answers), deadline) == 3
    with pytest.raises(TimeoutError):
        exit_code(lambda: runs, deadline)


def test_what_a_program_printed_is_in_no_repr() -> None:
    """It may be the private key that a container mounts."""
    assert repr(Ended(0, b"-----BEGIN PRIVATE KEY-----")) == "Ended(code=0)"


def test_a_container_is_read_of_what_the_engine_says() -> None:
    """Whatever is missing; an engine without health checks says "none"."""
    found = container(
        {
            "Name": "/web",
            "RestartCount": 2,
            "State": {"Status": "running", "StartedAt": "t", "Health": {"Status": "none"}},
            "Config": {"Labels": None},
            "Mounts": [{"Source": "/a", "Destination": "/b"}, {"Destination": "/tmpfs"}],
        }
    )
    mount = Mount("/a", "/b")
    assert found == running("web", started="t", restarts=2, labels={}, mounts=(mount,))
    assert container({}) == Container("", "", labels={})
    assert crash(found, found) is None


@pytest.mark.parametrize(
    ("written", "chosen", "telling"),
    [
        ({"containers": ["web"]}, Chosen(("web",)), Telling(signal="HUP")),
        (
            {"services": ["shop/web"], "mode": "exec", "command": ["x"], "check": ["y"]},
            Chosen(services=(("shop", "web"),)),
            Telling(command=("x",), check=("y",)),
        ),
        ({"labelled": True, "mode": "restart"}, Chosen(labelled=True), Telling()),
    ],
)
def test_an_entry_of_the_configuration_becomes_the_target(
    written: dict[str, object], chosen: Chosen, telling: Telling
) -> None:
    """Nothing is connected to."""
    more = {"copy_to": {"folder": "/srv", "owner": 7}, "timeout": "5s"}
    entry = TypeAdapter(DockerEntry).validate_python({"type": "docker", **written, **more})
    clock = SystemClock()
    target = build(entry, Context("x", Path("/var/lib"), clock))
    assert isinstance(target.engine, DockerEngine)
    assert (target.chosen, target.telling, target.copy) == (chosen, telling, Copy("/srv", 7))
    assert (target.timeout, target.clock, entry.programs, entry.lock_wait) == (5, clock, False, 120)
