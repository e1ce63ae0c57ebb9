"""Pods that keep running are told once they have the new files, and one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from certrotd.errors import Failure, NeedsOperator, ProofFailed, Transient
from certrotd.kube.api import Api, Missing
from certrotd.kube.exec import Ran, exit_code
from certrotd.kube.pod_proof import PodProof
from certrotd.kube.pods import Pods
from certrotd.kube.reloads import Program, Reloads, container_names
from certrotd.kube.rollout import Gone, Rollouts
from certrotd.kube.shown import Shown
from certrotd.kube.workloads import Reference, workload
from certrotd.pki.facts import fingerprint
from tests.builders import NEW, OLD
from tests.unit.kube.memory_api import NAMESPACE, MemoryApi, replica, workload_object

WEB = Reference("deployment", "web")
NEW_LEAF, OLD_LEAF = fingerprint(NEW.certificate), fingerprint(OLD.certificate)
RELOAD = Program(("reload", "it"), ("/tls/tls.crt",), "main")
ALL = Shown(some=True)
RUNS = [{"name": "main", "state": {"running": {}}}]


class Containers:
    """What each pod has in its file, and which were told; as exec.run."""

    def __init__(self, api: MemoryApi) -> None:
        self.api = api
        self.files = {each["metadata"]["name"]: NEW.fullchain_pem for each in api.pods}
        self.told: list[str] = []
        self.codes: dict[str, int] = {}
        self.then: Callable[[str], object] = lambda _pod: None

    def __call__(
        self,
        api: Api,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        seconds: float,
    ) -> Ran:
        assert (namespace, container) == (NAMESPACE, "main")
        assert api
        assert seconds >= 1
        self.then(pod)
        if argv[0] == "cat":
            assert argv[1:] == ("--", "/tls/tls.crt")
            there = pod in self.files
            return Ran(int(not there), self.files.get(pod, b""), b"" if there else b"no such file")
        self.told.append(pod)
        return Ran(self.codes.get(pod, 0), b"", b"first\nconfiguration test failed\n")


@pytest.fixture
def api() -> MemoryApi:
    """A Deployment of three pods."""
    made = MemoryApi(("deployment", workload_object()))
    made.pods = [replica(name, ready=True, containerStatuses=RUNS) for name in "cab"]
    return made


@pytest.fixture
def containers(api: MemoryApi) -> Containers:
    """All have the new files."""
    return Containers(api)


def reloads(
    api: MemoryApi, containers: Containers | None, program: Program | None = RELOAD
) -> Reloads:
    """Those of the API in memory."""
    rollouts = Rollouts(cast("Api", api), NAMESPACE, 30.0)
    return Reloads(rollouts, program, containers) if containers else Reloads(rollouts, program)


def proof(api: MemoryApi, look: Callable[[str], None]) -> PodProof:
    """By that alone."""
    return PodProof(Pods(cast("Api", api), NAMESPACE), [look])


def test_every_pod_is_told_and_proven_one_after_the_other(
    api: MemoryApi, containers: Containers
) -> None:
    """In the order of their names."""
    seen: list[str] = []

    def look(address: str) -> None:
        seen.append(f"{address[-1]} after {len(containers.told)}")

    reloads(api, containers).forward(WEB, [NEW_LEAF], proof(api, look))
    assert containers.told == ["a", "b", "c"]
    assert seen == ["a after 1", "b after 2", "c after 3"]
    assert api.reasons() == ["RotationReload", "RotationReloaded"]


@pytest.mark.parametrize("before", [None, OLD.fullchain_pem, b"garbage"])
def test_nobody_is_told_before_the_files_are_there(
    api: MemoryApi, containers: Containers, before: bytes | None
) -> None:
    """The first pod shows it: the others are not even asked."""
    asked: list[str] = []

    def then(pod: str) -> None:
        asked.append(pod)
        if api.clock.monotonic() >= 20:
            containers.files = dict.fromkeys("abc", NEW.fullchain_pem)

    containers.files, containers.then = {} if before is None else dict.fromkeys("abc", before), then
    reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    assert api.clock.monotonic() == 20
    assert asked[:20] == ["a"] * 20
    assert containers.told == ["a", "b", "c"]


def test_files_that_never_come_end_at_the_deadline(api: MemoryApi, containers: Containers) -> None:
    """Nobody was told."""
    containers.files["a"] = OLD.fullchain_pem
    with pytest.raises(Transient) as caught:
        reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    assert str(caught.value) == (
        "deployment/web is not reloaded within 30 s: "
        "/tls/tls.crt in a/main is not the certificate that it waits for"
    )
    assert not containers.told
    assert api.reasons() == ["RotationReload", "RotationReloadFailed"]


def test_a_program_that_fails_ends_it_at_the_first_pod(
    api: MemoryApi, containers: Containers
) -> None:
    """With its last words."""
    containers.codes["a"] = 1
    words = "reload in a/main fails with exit code 1: configuration test failed"
    with pytest.raises(NeedsOperator, match=words):
        reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    assert containers.told == ["a"]


def test_on_the_way_back_one_that_fails_keeps_no_other_from_it(
    api: MemoryApi, containers: Containers
) -> None:
    """And is told of in the end."""
    containers.files = dict.fromkeys("abc", OLD.fullchain_pem)
    containers.codes["a"] = 1
    with pytest.raises(NeedsOperator, match="reload in a/main fails"):
        reloads(api, containers).back(WEB, [OLD_LEAF], None, ALL)
    assert containers.told == ["a", "b", "c"]
    assert api.reasons() == ["RotationUndo", "RotationUndoFailed"]
    containers.codes.clear()
    reloads(api, containers).back(WEB, [OLD_LEAF], None, ALL)
    assert api.reasons()[2:] == ["RotationUndo", "RotationUndone"]


@pytest.mark.parametrize("files", [{}, {"c": NEW.fullchain_pem}])
def test_on_the_way_back_files_that_never_had_it_end_at_the_deadline(
    api: MemoryApi, containers: Containers, files: dict[str, bytes]
) -> None:
    """With a wrong path in ``files`` the program ran in no pod: there is nothing to undo."""
    containers.files = files
    reloads(api, containers).back(WEB, [OLD_LEAF], None, Shown())
    assert not containers.told
    assert api.clock.monotonic() == 30
    assert api.reasons() == ["RotationUndo", "RotationUndone"]
    assert "no pod showed its certificate before" in api.events[-1]["message"]
    with pytest.raises(Transient, match="is not reloaded within 30 s"):
        reloads(api, containers).back(WEB, [OLD_LEAF], None, ALL)


def test_on_the_way_back_only_pods_that_showed_it_before_are_asked(
    api: MemoryApi, containers: Containers
) -> None:
    """With a program and without: a wrong probe leaves nobody waiting for a person."""
    looked: list[str] = []

    def look(address: str) -> None:
        looked.append(address[-1])
        if address.endswith("a"):
            raise ProofFailed(f"{address} never showed it")

    containers.files = dict.fromkeys("abc", OLD.fullchain_pem)
    for before, asked in ((Shown(), []), (Shown(True, frozenset("a")), ["b", "c"])):
        for program in (RELOAD, None):
            made = reloads(api, containers, program)
            made.back(WEB, [OLD_LEAF], replace(proof(api, look), before=before), before)
            assert (sorted(looked), api.clock.monotonic()) == (asked, 0)
            looked.clear()
    assert containers.told == ["a", "b", "c"] * 2


def test_a_pod_that_serves_something_else_ends_it(api: MemoryApi, containers: Containers) -> None:
    """Before the next one is told."""

    def look(address: str) -> None:
        raise ProofFailed(f"{address} does not serve it")

    with pytest.raises(ProofFailed, match="the pod a of deployment/web"):
        reloads(api, containers).forward(WEB, [NEW_LEAF], proof(api, look))
    assert containers.told == ["a"]


@pytest.mark.parametrize("failure", [Transient("lost"), Missing("the pod is gone")])
def test_what_is_lost_is_tried_again(
    api: MemoryApi, containers: Containers, failure: Failure
) -> None:
    """To reload twice does no harm."""
    left = [failure, failure]

    def then(_pod: str) -> None:
        if left:
            raise left.pop()

    containers.then = then
    reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    assert containers.told == ["a", "b", "c"]


def test_pods_that_come_or_start_meanwhile_are_told_too(
    api: MemoryApi, containers: Containers
) -> None:
    """A container that does not run yet is waited for."""
    api.pods[1]["status"]["containerStatuses"] = [{"name": "main", "state": {"waiting": {}}}]
    came = replica("d", ready=True, containerStatuses=RUNS)
    containers.files["d"] = NEW.fullchain_pem

    def then(what: str, _path: str) -> None:
        if what == "list" and api.clock.monotonic() == 5:
            api.pods[1:] = [replica("a", ready=True, containerStatuses=RUNS), came]

    api.then = then
    reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    assert containers.told == ["a", "c", "d"]
    assert api.clock.monotonic() == 5


def test_no_pod_at_all_is_waited_for(api: MemoryApi, containers: Containers) -> None:
    """Unless there should be none."""
    api.pods = []
    with pytest.raises(Transient, match="it has no pods"):
        reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    next(iter(api.objects.values()))["spec"]["replicas"] = 0
    reloads(api, containers).forward(WEB, [NEW_LEAF], None)


def test_without_a_program_only_the_proof_tells(api: MemoryApi) -> None:
    """Patiently: the kubelet takes its time."""

    def look(address: str) -> None:
        if api.clock.monotonic() < 20:
            raise ProofFailed(f"{address} does not serve it")

    reloads(api, None, None).forward(WEB, [NEW_LEAF], proof(api, look))
    assert api.clock.monotonic() == 20
    reloads(api, None, None).back(WEB, [], None, ALL)
    assert api.reasons()[2:] == ["RotationUndo", "RotationUndone"]


@pytest.mark.parametrize("program", [RELOAD, None])
def test_pods_that_break_when_they_reload_end_it(
    api: MemoryApi, containers: Containers, program: Program | None
) -> None:
    """They drop out of their Service, and those that are left prove nothing about them."""
    found = next(iter(api.objects.values()))
    found["status"]["availableReplicas"] = 1
    made = reloads(api, containers, program)
    with pytest.raises(Transient) as caught:
        made.forward(WEB, [NEW_LEAF], None)
    assert str(caught.value) == (
        "deployment/web is not whole after its pods have reloaded: 3 of 3 pods updated, "
        "1 available (kubectl -n shop describe deployment/web)"
    )
    assert api.reasons() == ["RotationReload", "RotationReloadFailed"]
    containers.files = dict.fromkeys("abc", OLD.fullchain_pem)
    made.back(WEB, [OLD_LEAF], None, ALL)


def test_on_the_way_back_a_pod_that_does_not_run_is_left_out(
    api: MemoryApi, containers: Containers
) -> None:
    """It finds no node, or waits: it reads the old files when it starts."""
    containers.files = dict.fromkeys("abc", OLD.fullchain_pem)
    api.pods[1] = replica("a", phase="Pending")
    reloads(api, containers).back(WEB, [OLD_LEAF], None, ALL)
    assert containers.told == ["b", "c"]
    api.pods = []
    reloads(api, containers).back(WEB, [OLD_LEAF], None, ALL)
    assert api.clock.monotonic() == 0


def test_on_the_way_back_a_proof_does_not_wait_for_pods_that_are_not_ready(api: MemoryApi) -> None:
    """The same without a program; the control is the way forward."""
    api.pods[1] = replica("a", phase="Pending")
    made = reloads(api, None, None)
    made.back(WEB, [OLD_LEAF], proof(api, lambda _address: None), ALL)
    assert api.clock.monotonic() == 0
    with pytest.raises(Transient, match="only 2 of 3 pods"):
        made.forward(WEB, [NEW_LEAF], proof(api, lambda _address: None))


def test_a_workload_that_is_gone_has_nothing_to_go_back_to(
    api: MemoryApi, containers: Containers
) -> None:
    """Forward it is named; somebody may delete it in the middle."""
    api.objects.clear()
    with pytest.raises(Gone):
        reloads(api, containers).back(WEB, [OLD_LEAF], None, ALL)
    assert not api.events
    with pytest.raises(NeedsOperator, match="there is no deployment/web"):
        reloads(api, containers).forward(WEB, [NEW_LEAF], None)


def test_pods_are_counted_anew(api: MemoryApi, containers: Containers) -> None:
    """The workload is scaled to nothing while its pods are waited for."""
    api.pods = []

    def then(_what: str, _path: str) -> None:
        if api.clock.monotonic() == 5:
            next(iter(api.objects.values()))["spec"]["replicas"] = 0

    api.then = then
    reloads(api, containers).forward(WEB, [NEW_LEAF], None)
    assert api.clock.monotonic() == 5


class TestUnfit:
    """What cannot be reloaded is refused before a rotation."""

    def words(self, program: Program | None, **pod: Any) -> list[str]:
        found = workload_object()
        found["spec"]["template"]["spec"] = {"containers": [{"name": "main"}], **pod}
        api = MemoryApi(("deployment", found))
        unfit = reloads(api, None, program).unfit(workload("deployment", found), {"web-tls"})
        return [f"{why} ({hint})" for why, hint in unfit]

    def test_mounts_that_never_see_a_change(self) -> None:
        """With what to do."""
        env = [{"secretRef": {"name": "web-tls"}}]
        assert self.words(None, containers=[{"name": "main", "envFrom": env}]) == [
            "never sees a new certificate while it runs: container main has it in its environment "
            "(mount the whole Secret web-tls, or use mode: restart)"
        ]
        other = [{"secretRef": {"name": "other"}}]
        assert self.words(None, containers=[{"name": "main", "envFrom": other}]) == []

    def test_a_container_that_is_not_there(self) -> None:
        """Native sidecars count, other init containers do not."""
        program = Program(("true",), ("/a",), "proxy")
        sidecar = {"name": "proxy", "restartPolicy": "Always"}
        assert self.words(program) == ["has no container proxy (it has: main)"]
        assert self.words(program, initContainers=[sidecar]) == []
        assert container_names({"initContainers": [{"name": "once"}]}) == []

    def test_a_signal_to_a_process_that_is_not_the_containers(self) -> None:
        """Process 1 is the pod's, or the node's, then."""
        program = Program(("sh",), ("/a",), signals=True)
        [words] = self.words(program, shareProcessNamespace=True)
        assert words.startswith("shares process ids: process 1 is not its container's")
        assert self.words(program) == []
        assert self.words(RELOAD, hostPID=True) == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"status":"Success"}', 0),
        (
            b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":'
            b'[{"reason":"Other","message":"7"},{"reason":"ExitCode","message":"3"}]}}',
            3,
        ),
    ],
)
def test_the_exit_code_is_that_of_the_status(status: bytes, code: int) -> None:
    """As the API server sends it in the end."""
    assert exit_code(status, "cat") == code


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (b'{"status":"Failure","message":"executable file not found"}', "executable file not fou"),
        (b'{"status":"Failure","reason":"NonZeroExitCode","details":null}', "does not say why"),
        (b"", "does not say why"),
        (b"[1]", "does not say why"),
    ],
)
def test_a_program_that_did_not_start_is_the_operators(status: bytes, words: str) -> None:
    """Trying again would not help."""
    with pytest.raises(NeedsOperator, match=f"cat in web/main cannot be run: .*{words}"):
        exit_code(status, "cat in web/main")


def test_what_a_program_said_is_short_and_not_in_its_repr() -> None:
    """It may have read a key."""
    assert Ran(0, b"SECRET", b"").said == "SECRET"
    assert Ran(0, b"", b"").said == "it said nothing"
    assert "SECRET" not in repr(Ran(0, b"SECRET", b"SECRET"))
