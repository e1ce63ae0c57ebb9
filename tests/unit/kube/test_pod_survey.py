"""Before a rotation: which pods show the live certificate, by the probe and in their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from certrotd.errors import NeedsOperator, ProofFailed, Transient
from certrotd.kube.api import Api
from certrotd.kube.exec import Ran
from certrotd.kube.pod_survey import PodLook, PodSurvey, Probe
from certrotd.kube.reloads import Program, Reloads
from certrotd.kube.rollout import Rollouts
from certrotd.kube.shown import Shown
from certrotd.kube.workloads import Reference
from certrotd.pki.facts import fingerprint
from certrotd.pki.generation import LiveCertificate
from tests.builders import NEW, OLD
from tests.unit.kube.memory_api import NAMESPACE, MemoryApi, replica, workload_object

WEB = Reference("deployment", "web")
LEAF, OTHER = fingerprint(OLD.certificate)[:16], fingerprint(NEW.certificate)[:16]
LIVE = LiveCertificate("web", ("a.test",), "/live", fingerprint(OLD.certificate))
RUNS = [{"name": "main", "state": {"running": {}}}]
PATH = "/tls/tls.crt"
MOUNTED = {
    "containers": [{"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/etc/tls"}]}],
    "volumes": [{"name": "v", "secret": {"secretName": "web-tls"}}],
}


class Pods:
    """A Deployment of three; ``wrong`` show something else, and ``file`` is what each reads."""

    def __init__(self) -> None:
        self.api = MemoryApi(("deployment", workload_object()))
        self.api.pods = [replica(name, ready=True, containerStatuses=RUNS) for name in "abc"]
        self.spec = next(iter(self.api.objects.values()))["spec"]["template"]["spec"]
        self.spec |= MOUNTED
        self.wrong: set[str] = set()
        self.file: bytes | None = OLD.fullchain_pem
        self.asked: list[str] = []

    def look_at(
        self, *, probed: bool = True, runs: bool = False, known: bool = True, **secrets: str
    ) -> PodLook:
        """What is found of them."""
        api = cast("Api", self.api)
        rollouts = Rollouts(api, NAMESPACE, 30.0)
        reloads = Reloads(rollouts, Program(("reload",), (PATH,), "main"), self._execute)
        probes = [Probe(self._never, self._look)] if probed else []
        survey = PodSurvey(rollouts, probes, reloads if runs else None, secrets)
        return survey.look(rollouts.get(WEB), [LIVE] if known else [])

    def _look(self, certificate: LiveCertificate, address: str) -> None:
        assert certificate is LIVE
        self.asked.append(address)
        if address.removeprefix("10.0.0.") in self.wrong:
            raise ProofFailed(f"{address} shows another")

    def _never(self, certificate: LiveCertificate, address: str) -> None:
        raise AssertionError(f"a whole proof of {certificate} at {address}")

    def _execute(
        self,
        api: Api,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        seconds: float,
    ) -> Ran:
        assert api is cast("Api", self.api)
        assert (namespace, pod, container) == (NAMESPACE, "a", "main")
        assert (*argv,) == ("cat", "--", PATH)
        assert seconds > 1
        return Ran(int(self.file is None), self.file or b"", b"no such file")


@pytest.fixture
def pods() -> Pods:
    """All of them show it."""
    return Pods()


class TestProbe:
    """By a handshake with each."""

    @pytest.mark.parametrize("wrong", ["", "a", "ab"])
    def test_those_that_do_not_show_it_are_noted(self, pods: Pods, wrong: str) -> None:
        """No warning is due: the probe works."""
        pods.wrong = {*wrong}
        assert pods.look_at() == PodLook(shown=Shown(some=True, silent=frozenset(wrong)))
        assert len(pods.asked) == 3

    def test_a_probe_that_no_pod_answers_is_warned_of(self, pods: Pods) -> None:
        """With what one does instead; it is no refusal, for pods that are behind are mended so."""
        pods.wrong = {*"abc"}
        found = pods.look_at()
        assert (found.problems, found.shown) == ((), Shown())
        assert found.warnings == (
            "no pod of deployment/web shows its live certificate by pod_probe: a: 10.0.0.a shows "
            "another; if the probe is wrong, the rotation will be undone, and the undo looks at "
            "none of its pods",
        )

    def test_nothing_is_asked_where_there_is_nothing_to_see(self, pods: Pods) -> None:
        """No live certificate, no probe, or no pod that is ready."""
        assert pods.look_at(known=False) == pods.look_at(probed=False) == PodLook()
        pods.api.pods = [replica("a")]
        assert pods.look_at() == PodLook()
        assert not pods.asked


class TestFiles:
    """Where a program waits for them."""

    def test_the_live_certificate_in_them_is_fine(self, pods: Pods) -> None:
        """Then the probe has the word, if there is one."""
        assert pods.look_at(runs=True, probed=False).shown == Shown(some=True)
        pods.wrong = {"c"}
        assert pods.look_at(runs=True).shown == Shown(some=True, silent=frozenset("c"))

    @pytest.mark.parametrize(
        ("file", "words"),
        [
            (None, f"cannot show its certificate: {PATH} in a/main cannot be read: no such file"),
            (b"garbage", f"has no certificate in {PATH}"),
        ],
    )
    def test_files_without_any_are_refused(
        self, pods: Pods, file: bytes | None, words: str
    ) -> None:
        """Else nobody would be told, nor could the undo tell anybody."""
        pods.file = file
        for known in (True, False):
            [problem] = pods.look_at(runs=True, known=known).problems
            assert isinstance(problem, NeedsOperator)
            assert str(problem) == (f"deployment/web in the namespace shop {words} (correct files)")
        assert not pods.asked

    @pytest.mark.parametrize("mounted", [True, False])
    def test_another_certificate_than_that_of_the_secret_is_refused(
        self, pods: Pods, mounted: bool
    ) -> None:
        """With where the Secret is; the kubelet may be about to write it, so it is tried again."""
        pods.file = NEW.fullchain_pem
        if not mounted:
            pods.spec["volumes"] = []
        found = pods.look_at(runs=True, web="web-tls")
        [problem] = found.problems
        assert isinstance(problem, Transient)
        where = (
            "of the Secret web-tls, container main mounts it (/etc/tls)"
            if mounted
            else "nothing has the Secret web-tls"
        )
        assert str(problem) == (
            "the files in a of deployment/web do not have the live certificate web "
            f"({LEAF}): {PATH} is certificate {OTHER} (correct files: {where}; a change of it "
            "takes up to two minutes to get there)"
        )
        assert found.shown == Shown()

    def test_where_others_bring_it_there_it_is_a_warning(self, pods: Pods) -> None:
        """They may be behind, and the rotation has them bring the new one."""
        pods.file = NEW.fullchain_pem
        found = pods.look_at(runs=True)
        assert (found.problems, found.shown, pods.asked) == ((), Shown(), [])
        [line] = found.warnings
        assert line.endswith("; if files is a wrong path, the rotation will be undone")

    def test_a_container_that_does_not_run_shows_nothing(self, pods: Pods) -> None:
        """Nothing is run in it."""
        pods.file = None
        pods.api.pods[0] = replica("a", ready=True, containerStatuses=[])
        assert pods.look_at(runs=True) == PodLook()
