"""A target of many certificates is told by one at a time, and once for all that come together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from certrotd.certs.target_ports import Target
from certrotd.certs.wiring.shared_targets import Groups, SharedTarget
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.generation import Checked, LiveCertificate
from certrotd.state.ports import Fenced, Lease

Lock = Callable[[], AbstractContextManager[Lease]]


@dataclass(frozen=True)
class Held:
    """A lock that is held, unless it is ``lost``."""

    lost: str = ""
    token: int = 1

    def check(self) -> None:
        if self.lost:
            raise Fenced(self.lost)


def free() -> AbstractContextManager[Lease]:
    """A lock that nobody else wants."""
    return nullcontext(Held())


def about(certificate: str = "web") -> LiveCertificate:
    """A certificate that a target is told for."""
    return LiveCertificate(certificate, (f"{certificate}.test",), f"/store/{certificate}")


def shared(
    target: Target, lock: Lock, *, certificate: str = "web", groups: Groups | None = None
) -> SharedTarget:
    """The target of one certificate."""
    return SharedTarget(
        target,
        lock,
        name="nginx",
        about=lambda: about(certificate),
        groups=groups or Groups(),
    )


def noting(done: list[str]) -> Lock:
    """A lock that notes when it is taken and let go of."""

    @contextmanager
    def lock() -> Iterator[Lease]:
        done.append("locked")
        try:
            yield Held()
        finally:
            done.append("unlocked")

    return lock


class TestSharedTarget:
    """One nginx for many certificates."""

    def test_telling_is_under_the_lock_and_asking_is_not(self) -> None:
        """A check changes nothing, so that it need not wait behind a slow reload."""
        done: list[str] = []
        target = shared(Told(done), noting(done))
        target.check()
        target.apply()
        assert done == ["check", "locked", "apply", "unlocked"]

    def test_a_failed_check_is_repeated_under_the_lock(self) -> None:
        """Another certificate's files may have been replaced while it read them."""
        done: list[str] = []
        told = Told(done, wrong=["key values mismatch"])
        shared(told, noting(done)).check()
        assert done == ["check", "locked", "check", "unlocked"]

    def test_a_check_that_also_fails_under_the_lock_is_raised(self) -> None:
        """The control of the test above."""
        told = Told([], wrong=["it is down", "it is down"])
        with pytest.raises(NeedsOperator, match="it is down"):
            shared(told, noting([])).check()

    def test_the_lock_is_let_go_of_when_telling_fails(self) -> None:
        """Else one bad reload would stop every certificate of that service."""
        mutex = threading.Lock()

        @contextmanager
        def lock() -> Iterator[Lease]:
            with mutex:
                yield Held()

        target = shared(Told([], problem="it is down"), lock)
        for _ in range(2):
            with pytest.raises(NeedsOperator, match="it is down"):
                target.apply()
        assert not mutex.locked()

    @pytest.mark.parametrize("early", [True, False])
    def test_a_target_that_can_tell_something_early_is_let(self, early: bool) -> None:
        """And one that cannot is content."""
        done: list[str] = []
        shared(ToldEarly(done) if early else Told(done), free).precheck()
        assert done == (["precheck"] if early else [])

    @pytest.mark.parametrize("cautious", [True, False])
    def test_a_target_that_warns_is_heard(self, cautious: bool) -> None:
        """And one that has nothing to say is not asked."""
        target = Workloads([]) if cautious else Told([])
        found = shared(target, free).checked()
        assert found == (Checked(["slow"], {"pods": ["web"]}) if cautious else Checked())

    def test_a_target_that_can_go_back_is_told_so_under_the_lock(self) -> None:
        """With the certificate that is live again, and what it had shown before."""
        done: list[str] = []
        shared(Workloads(done), noting(done)).revert({"pods": ["web"]})
        assert done == ["locked", "revert web by ['web']", "unlocked"]

    def test_a_target_that_cannot_is_told_again(self) -> None:
        """Its files are the old ones by then."""
        done: list[str] = []
        shared(Told(done), noting(done)).revert({})
        assert done == ["locked", "apply", "unlocked"]


class TestFencing:
    """A target that takes long looks between its acts whether it still may."""

    @pytest.mark.parametrize(("act", "given"), [("apply", ()), ("revert", ({},))])
    @pytest.mark.parametrize("whose", ["", "rotation", "target"])
    def test_a_lock_that_is_lost_in_between_ends_it(
        self, act: str, given: tuple[Any, ...], whose: str
    ) -> None:
        """That of the rotation as well as its own; the control has both."""
        done: list[str] = []
        lease = Held("another has it" if whose == "target" else "")
        target = shared(Waves(done), lambda: nullcontext(lease)).fenced(
            Held("another has it" if whose == "rotation" else "").check
        )
        if not whose:
            getattr(target, act)(*given)
            assert done == [act, act]
            return
        with pytest.raises(Fenced, match="another has it"):
            getattr(target, act)(*given)
        assert done == [act]

    def test_one_that_is_told_in_a_single_act_is_told_as_before(self) -> None:
        """Its rotation looked just before."""
        done: list[str] = []
        shared(Told(done), free).fenced(Held("lost").check).apply()
        assert done == ["apply"]


@dataclass
class Told:
    """A target that notes down what is asked of it."""

    done: list[str]
    problem: str = ""
    wrong: list[str] = field(default_factory=list)

    def check(self) -> None:
        self.done.append("check")
        if self.wrong:
            raise NeedsOperator(self.wrong.pop(0))

    def apply(self) -> None:
        self.done.append("apply")
        if self.problem:
            raise NeedsOperator(self.problem)


@dataclass
class ToldEarly(Told):
    """One that is asked before there is a certificate."""

    def precheck(self) -> None:
        self.done.append("precheck")


@dataclass
class Workloads(Told):
    """A target that goes back by itself, and warns."""

    def checked_for(self, certificates: Sequence[LiveCertificate]) -> Checked:
        self.check()
        return Checked(["slow"], {"pods": [each.certificate for each in certificates]})

    def revert_for(self, certificates: Sequence[LiveCertificate], shown: Mapping[str, Any]) -> None:
        self.done += [f"revert {each.certificate} by {shown['pods']}" for each in certificates]


@dataclass
class Waves(Told):
    """A target that is told in two acts."""

    check_between: Callable[[], None] = lambda: None
    together = True

    def fenced(self, check: Callable[[], None]) -> Waves:
        return Waves(self.done, check_between=check)

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        self._act("apply")

    def revert_for(self, certificates: Sequence[LiveCertificate], shown: Mapping[str, Any]) -> None:
        self._act("revert")

    def _act(self, act: str) -> None:
        self.done.append(act)
        self.check_between()
        self.done.append(act)


@dataclass
class Program(Told):
    """A target that is told which certificates it is told for."""

    together: bool = False
    told: list[list[str]] = field(default_factory=list)

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        self.told.append(sorted(each.certificate for each in certificates))


@dataclass
class Slow(Told):
    """A target that takes until it is let go on; ``begun`` counts."""

    go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def apply(self) -> None:
        self.begun.release()
        assert self.go.wait(60)
        super().apply()


class Bench:
    """Rotations in threads, which all have one target."""

    def __init__(self, target: Target, *, gather: float = 60.0) -> None:
        self.groups = Groups(gather=gather)
        self._target = target
        self._mutex = threading.Lock()
        self._pool = ThreadPoolExecutor(32)
        self._underway = ExitStack()

    @contextmanager
    def running(self, *certificates: str) -> Iterator[None]:
        """While these are under way to the target."""
        with self._pool, self._underway:
            for each in certificates:
                self._underway.enter_context(self.groups.rotating(each, ("nginx",)))
            yield

    def tell(self, certificate: str) -> Future[None]:
        """One of them tells it."""
        target = shared(self._target, self._lock, certificate=certificate, groups=self.groups)
        return self._pool.submit(target.apply)

    @contextmanager
    def _lock(self) -> Iterator[Lease]:
        with self._mutex:
            yield Held()


NAMES = [f"c{number}" for number in range(20)]


class TestGroups:
    """Twenty certificates of one nginx, renewed together."""

    def test_running_rotations_share_one_reload(self) -> None:
        """Reloads are not for nothing: each leaves old workers behind."""
        told = Told([])
        bench = Bench(told)
        with bench.running(*NAMES):
            for each in [bench.tell(name) for name in NAMES]:
                each.result(60)
        assert told.done == ["apply"]

    def test_a_single_rotation_waits_for_nobody(self) -> None:
        """Nor for those that have another target, or were told already."""
        told = Told([])
        bench = Bench(told)
        with bench.running("web"), bench.groups.rotating("mail", ("postfix",)):
            for _ in range(2):
                bench.tell("web").result(60)
        assert told.done == ["apply", "apply"]

    def test_a_rotation_that_gives_up_is_not_waited_for(self) -> None:
        """Its order failed."""
        told = Told([])
        bench = Bench(told)
        with bench.running("web"):
            with bench.groups.rotating("mail", ("nginx",)):
                waiting = bench.tell("web")
                time.sleep(0.05)
                assert not waiting.done()
            waiting.result(60)

    def test_a_slow_rotation_is_not_waited_for_either(self) -> None:
        """Its CA may take minutes."""
        bench = Bench(Told([]), gather=0.01)
        with bench.running("web", "slow"):
            bench.tell("web").result(60)

    def test_a_rotation_that_comes_during_a_reload_gets_another_reload(self) -> None:
        """It may have swapped after the files were read; all who wait meanwhile share the next."""
        slow = Slow([])
        bench = Bench(slow, gather=0)
        with bench.running(*NAMES):
            first = bench.tell(NAMES[0])
            assert slow.begun.acquire(timeout=60)
            others = [bench.tell(name) for name in NAMES[1:]]
            time.sleep(0.1)
            assert not any(each.done() for each in others)
            slow.go.set()
            for each in (first, *others):
                each.result(60)
        assert 2 <= len(slow.done) <= 3

    def test_a_failure_is_everybody_s(self) -> None:
        """Nobody takes for told what was not; the next try is a new one."""
        told = Told([], problem="it is down")
        bench = Bench(told)
        with bench.running(*NAMES):
            for each in [bench.tell(name) for name in NAMES]:
                with pytest.raises(NeedsOperator, match="it is down"):
                    each.result(60)
            told.problem = ""
            bench.tell(NAMES[0]).result(60)
        assert told.done == ["apply", "apply"]

    def test_an_interrupted_rotation_leaves_nobody_waiting(self) -> None:
        """Control-C reaches one thread alone."""

        class Interrupted(Told):
            def apply(self) -> None:
                raise KeyboardInterrupt

        bench = Bench(Interrupted([]))
        with bench.running("a", "b"):
            ends = [each.exception(60) for each in (bench.tell("a"), bench.tell("b"))]
        assert {type(each) for each in ends} == {KeyboardInterrupt, Transient}

    def test_a_program_runs_for_each_certificate_unless_it_may_for_all(self) -> None:
        """It may copy the files of the one that it is told of."""
        each, all_ = Program([]), Program([], together=True)
        for program in (each, all_):
            bench = Bench(program)
            with bench.running("a", "b", "c"):
                for telling in [bench.tell(name) for name in ("a", "b", "c")]:
                    telling.result(60)
        assert sorted(each.told) == [["a"], ["b"], ["c"]]
        assert all_.told == [["a", "b", "c"]]
