"""What a target ``kubernetes`` looks at before a rotation, and which workloads it tells."""

from __future__ import annotations

import copy
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.probes import PodProbeEntry
from certrotd.config.stores import KubernetesStoreEntry
from certrotd.config.targets import KubernetesEntry
from certrotd.errors import Failure, NeedsOperator, ProofFailed, Transient
from certrotd.kube.access import Access
from certrotd.kube.api import Api, Object
from certrotd.kube.connecting import Connections
from certrotd.kube.pod_survey import Probe
from certrotd.kube.reloads import Program, Reloads
from certrotd.kube.rollout import Rollouts
from certrotd.kube.stamps import FORMER, RESTARTED_AT, RESTARTED_FOR, SECRETS
from certrotd.kube.workloads import KINDS, Reference
from certrotd.pki.generation import LiveCertificate
from certrotd.targets.kubernetes import KubernetesTarget, build
from tests.unit.config.written import MINIMAL, config
from tests.unit.kube.memory_api import NAMESPACE, MemoryApi, budget, replica, workload_object
from tests.unit.targets.kubernetes_page import PAGE, blocks, role

ROOT = PAGE.parents[1]
WEB, DB = Reference("deployment", "web"), Reference("statefulset", "db")


def labelled(kind: str, name: str, **labels: str) -> tuple[str, Object]:
    """A workload with labels."""
    found = workload_object(kind, name)
    found["metadata"]["labels"] = labels
    return kind, found


def done(found: Object) -> None:
    """A controller that is done at once."""
    found["status"]["observedGeneration"] = found["metadata"]["generation"]


def shop() -> MemoryApi:
    """A Deployment, a StatefulSet, and two of the tier "edge"."""
    api = MemoryApi(
        labelled("deployment", "web"),
        labelled("statefulset", "db"),
        labelled("daemonset", "edge", tier="edge"),
        labelled("deployment", "proxy", tier="edge"),
        labelled("deployment", "api", tier="edge"),
    )
    api.controller = done
    return api


def rollouts(api: MemoryApi) -> Rollouts:
    """Those of the API in memory."""
    return Rollouts(cast("Api", api), NAMESPACE, 30.0)


def target(
    api: MemoryApi,
    *named: Reference,
    labels: str | None = None,
    probes: Sequence[Probe] = (),
    **fields: Any,
) -> KubernetesTarget:
    """The target of these."""
    return KubernetesTarget(rollouts(api), named, labels, tuple(probes), **fields)


def probe(
    look: Callable[[LiveCertificate, str], None] = lambda _certificate, _address: None,
    reach: Callable[[str], None] = lambda _address: None,
) -> Probe:
    """One that finds every certificate, however it looks."""
    return Probe(look, look, reach)


def using(api: MemoryApi, **secrets: str) -> None:
    """Has workloads mount Secrets, by their names."""
    for each in api.objects.values():
        if secret := secrets.get(each["metadata"]["name"]):
            volume = {"name": "tls", "secret": {"secretName": secret}}
            container = {"name": "main", "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
            each["spec"]["template"]["spec"] = {"containers": [container], "volumes": [volume]}


def live(certificate: str, fingerprint: str, sealed: str = "") -> LiveCertificate:
    """What it is told of one."""
    return LiveCertificate(certificate, ("a.test",), "/live", fingerprint, sealed=sealed)


def told(api: MemoryApi) -> dict[str, str]:
    """Which workloads were told, in the order of their names, of what."""
    found = {}
    for each in api.objects.values():
        annotations = each["spec"]["template"]["metadata"].get("annotations") or {}
        if annotations:
            found[each["metadata"]["name"]] = annotations.get(RESTARTED_FOR, "")
    return found


def patched(api: MemoryApi) -> list[str]:
    """What was written to, in order."""
    return [each.partition(" ")[2] for each in api.log if each.startswith("patch")]


class TestCheck:
    """Before an order is spent."""

    def test_what_can_be_restarted_is_content(self) -> None:
        """Nothing is changed, and no more is asked than what will be needed."""
        api = shop()
        target(api, WEB).check()
        assert api.reviews == [
            "get apps/deployments web",
            "watch apps/deployments web",
            "patch apps/deployments web",
            "list /pods",
            "watch /pods",
            "list policy/poddisruptionbudgets",
            "create /events",
        ]
        assert not patched(api)

    def test_pods_are_deleted_for_statefulsets_alone(self) -> None:
        """So that only they need the right."""
        api = shop()
        target(api, DB).check()
        assert "delete /pods" in api.reviews

    def test_pods_that_are_looked_at_may_have_to_be_deleted(self) -> None:
        """After an undo, whatever their kind."""
        api = shop()
        target(api, WEB, probes=[probe()]).check()
        assert "delete /pods" in api.reviews

    def test_a_selector_needs_the_right_to_list(self) -> None:
        """Of all three kinds."""
        api = shop()
        target(api, labels="tier=edge").check()
        assert api.reviews[:3] == [
            "list apps/deployments",
            "list apps/statefulsets",
            "list apps/daemonsets",
        ]

    @pytest.mark.parametrize(
        ("denied", "words"),
        [
            ("get apps/statefulsets db", "may not get statefulsets/db"),
            ("patch apps/statefulsets db", "may not patch statefulsets/db"),
            ("list /pods", "may not list pods in"),
            ("list policy/poddisruptionbudgets", "may not list poddisruptionbudgets in"),
            ("delete /pods", "may not delete pods in"),
            ("create /events", "may not create events in"),
            ("list apps/daemonsets", "may not list daemonsets in"),
        ],
    )
    def test_each_right_that_is_missing_is_named(self, denied: str, words: str) -> None:
        """With the namespace."""
        api = shop()
        api.denied = {denied}
        [problem] = target(api, DB, labels="tier=edge").look().problems
        assert isinstance(problem, NeedsOperator)
        assert words in problem.message
        assert "namespace shop" in problem.message
        with pytest.raises(NeedsOperator, match=words):
            target(api, DB, labels="tier=edge").check()

    def test_a_workload_that_is_not_there_is_named(self) -> None:
        """A misspelt name must not mean that nothing is restarted."""
        with pytest.raises(NeedsOperator, match="there is no deployment/wbe in the namespace shop"):
            target(shop(), Reference("deployment", "wbe")).check()

    def test_a_selector_that_finds_nothing_is_refused(self) -> None:
        """For the same reason."""
        with pytest.raises(NeedsOperator, match=r"no workload in .* shop has the labels tier=egde"):
            target(shop(), labels="tier=egde").check()

    def test_a_paused_workload_is_refused(self) -> None:
        """Nothing would restart its pods until it is resumed."""
        api = shop()
        next(iter(api.objects.values()))["spec"]["paused"] = True
        [problem] = target(api, WEB).look().problems
        assert str(problem) == (
            "deployment/web in the namespace shop is paused (kubectl rollout resume deployment/web)"
        )

    def test_a_rollout_that_is_broken_or_goes_on_is_not_touched(self) -> None:
        """It may be over at the next try."""
        api = shop()
        next(iter(api.objects.values()))["status"]["availableReplicas"] = 1
        [problem] = target(api, WEB, DB).look().problems
        assert isinstance(problem, Transient)
        assert (
            "deployment/web in the namespace shop is not whole: 3 of 3 pods updated, 1 avail"
            in (problem.message)
        )

    def test_an_api_server_that_is_away_is_a_problem_at_once(self) -> None:
        """Nothing has begun that it should be waited for."""
        api = shop()

        def away(_what: str, _path: str) -> None:
            raise Transient("away")

        api.then = away
        with pytest.raises(Transient, match="away"):
            target(api, WEB).check()
        assert api.clock.monotonic() == 0

    def test_warnings_name_the_workload(self) -> None:
        """A rotation goes on all the same."""
        api = shop()
        next(iter(api.objects.values()))["spec"]["replicas"] = 1
        lines = target(api, WEB, DB).look().warnings
        assert [line.partition(":")[0] for line in lines] == ["deployment/web has one replica"]

    def test_a_port_that_takes_no_connection_is_refused(self) -> None:
        """Else the proof, and the proof of the undo, would fail after the swap."""
        api, asked = shop(), list[str]()
        api.pods = [replica(name, ready=True) for name in "abc"]

        def reach(address: str) -> None:
            asked.append(address)
            raise ConnectionRefusedError(111, "Connection refused")

        [problem] = target(api, WEB, probes=[probe(reach=reach)]).look().problems
        assert isinstance(problem, NeedsOperator)
        assert str(problem) == (
            "the pod a of deployment/web cannot be looked at: 10.0.0.a takes no connection: "
            "Connection refused (correct the port of pod_probe; or a NetworkPolicy keeps certrotd "
            "out)"
        )
        assert asked == ["10.0.0.a"]
        api.pods.clear()
        target(api, WEB, probes=[probe(reach=reach)]).check()

    def test_what_the_pods_show_is_told_for_the_undo(self) -> None:
        """Of the live certificate; a workload of another's Secret is not asked for it."""
        api = shop()
        api.pods = [replica(name, ready=True) for name in "abc"]
        api.pods += [replica(f"{name}2", of="proxy", ready=True) for name in "ab"]
        using(api, web="a-tls", proxy="b-tls")

        def look(certificate: LiveCertificate, address: str) -> None:
            assert certificate.fingerprint == "aa"
            if address == "10.0.0.b":
                raise ProofFailed("another one")

        made = target(
            api, mounting=True, probes=[probe(look)], secrets={"a": "a-tls", "b": "b-tls"}
        )
        found = made.checked_for([live("a", "aa")])
        assert found.shown == {"deployment/web": ["b"]}
        assert not [line for line in found.warnings if "pod_probe" in line]
        assert not made.checked_for([live("a", "")]).shown
        assert not made.checked_for(()).shown

    def test_a_budget_that_never_allows_anything_is_warned_of(self) -> None:
        """Nobody waits for it."""
        api = shop()
        api.budgets = [budget(healthy=3)]
        lines = [line for line in target(api, WEB, DB).look().warnings if "Budget" in line]
        assert lines == [
            "deployment/web is under the PodDisruptionBudget one, which never allows a disruption: "
            "its restart does not wait for it"
        ]


class TestApply:
    """Which workloads, in which order, are told of what."""

    def test_those_that_are_named_come_first_and_each_once(self) -> None:
        """The rest by kind and name."""
        api = shop()
        proxy = Reference("deployment", "proxy")
        target(api, proxy, WEB, labels="tier=edge").apply()
        assert patched(api) == ["proxy", "web", "api", "edge"]
        assert told(api) == dict.fromkeys(("web", "proxy", "api", "edge"), "")

    def test_a_restart_begins_with_what_was_looked_at_before(self) -> None:
        """Budgets are read again after ten seconds, and the workload if it has changed since."""
        api, path = shop(), "/apis/apps/v1/namespaces/shop/deployments/web"
        web = target(api, WEB)

        def asked(fingerprint: str) -> list[str]:
            api.log = []
            web.apply_for([live("a", fingerprint)])
            assert told(api) == {"web": f"a={fingerprint}"}
            return [each for each in api.log if each.split()[0] in ("get", "list", "patch")]

        budgets, patch = "list poddisruptionbudgets?", "patch web"
        read = ["get web", budgets, patch, "get web"]  # the last, for nobody may watch
        assert asked("aa") == read, "the control: nobody has looked"
        web.check()
        assert asked("bb") == [patch, "get web"]
        web.check()
        api.clock.advance(timedelta(seconds=11))
        assert asked("cc") == [budgets, patch, "get web"]
        web.check()
        api.clock.advance(timedelta(seconds=61))
        assert asked("dd") == read
        web.check()
        api.objects[path]["metadata"]["resourceVersion"] = "99"
        assert asked("ee") == [patch, "get web", patch, "get web"]
        web.check()
        api.budgets = [budget(healthy=2)]
        api.clock.advance(timedelta(seconds=11))
        with pytest.raises(Transient, match="the PodDisruptionBudget one has allowed no"):
            web.apply_for([live("a", "ff")])

    def test_several_certificates_are_one_restart(self) -> None:
        """One without a live generation has no fingerprint to note."""
        api = shop()
        certificates = (live("b", "bb"), live("a", "aa"), live("c", ""))
        target(api, WEB).apply_for(certificates)
        assert told(api) == {"web": "a=aa b=bb"}
        target(api, WEB).apply_for(certificates)
        assert patched(api) == ["web"]

    def test_going_back_is_for_the_same_workloads(self) -> None:
        """From the last one to the first."""
        api = shop()
        made = target(api, WEB, labels="tier=edge")
        made.apply_for([live("a", "new")])
        api.log.clear()
        made.revert_for([live("a", "old")], {})
        assert patched(api) == ["edge", "proxy", "api", "web"]
        assert told(api) == {}

    @pytest.mark.parametrize("failures", [2, 1000])
    def test_the_api_server_is_waited_for_where_workloads_are_looked_for(
        self, failures: int
    ) -> None:
        """Until the deadline."""
        api, left = shop(), [Transient("away")] * failures

        def away(what: str, _path: str) -> None:
            if what == "list" and left:
                raise left.pop()

        api.then = away
        if failures == 2:
            target(api, labels="tier=edge").apply()
            assert len(told(api)) == 3
            return
        with pytest.raises(Transient, match="away"):
            target(api, labels="tier=edge").apply()
        assert api.clock.monotonic() == 30

    def test_each_certificate_is_proven_on_each_pod(self) -> None:
        """One without a live generation has nothing to be proven by; nor has apply()."""
        api, proven = shop(), set()
        api.pods = [replica(name, ready=True) for name in "abc"]

        def prove(certificate: LiveCertificate, address: str) -> None:
            proven.add((certificate.certificate, address))

        made = target(api, WEB, probes=[probe(prove)])
        made.apply()
        assert not proven
        made.apply_for([live("b", "bb"), live("a", "aa"), live("c", "")])
        both = {(name, f"10.0.0.{pod}") for name in "ab" for pod in "abc"}
        assert proven == both
        proven.clear()
        made.revert_for([live("a", "old"), live("b", "old")], {"deployment/web": []})
        assert proven == both
        proven.clear()
        made.revert_for([live("a", "old")], {"deployment/web": ["a"]})
        assert proven == {("a", f"10.0.0.{pod}") for pod in "bc"}
        proven.clear()
        made.revert_for([live("a", "old")], {})
        assert not proven


class TestMounting:
    """Workloads are found by what their pods get at."""

    def made(self, api: MemoryApi, *named: Reference, **secrets: str) -> KubernetesTarget:
        """A target of certificates in Secrets."""
        return target(api, *named, secrets=secrets, mounting=True)

    def test_each_certificate_restarts_those_that_use_its_own_secret(self) -> None:
        """They come after those that are named, which are told of all."""
        api = shop()
        using(api, db="a-tls", edge="b-tls", proxy="a-tls")
        made = self.made(api, WEB, a="a-tls", b="b-tls")
        made.check()
        certificates = [live("a", "aa"), live("b", "bb")]
        made.apply_for(certificates)
        assert patched(api) == ["web", "proxy", "db", "edge"]
        assert told(api) == {"web": "a=aa b=bb", "proxy": "a=aa", "db": "a=aa", "edge": "b=bb"}
        api.log.clear()
        made.revert_for([live("a", "old")], {})
        assert patched(api) == ["db", "proxy", "web"]

    def test_told_for_none_in_particular_all_are_restarted(self) -> None:
        """As by a target that is told again."""
        api = shop()
        using(api, db="a-tls", edge="b-tls")
        self.made(api, a="a-tls", b="b-tls").apply()
        assert patched(api) == ["db", "edge"]

    def test_the_right_to_list_is_needed(self) -> None:
        """Of all three kinds."""
        api = shop()
        using(api, db="a-tls")
        self.made(api, a="a-tls").check()
        assert api.reviews[:3] == [f"list apps/{kind}s" for kind in KINDS]

    def test_a_secret_that_nothing_uses_is_refused(self) -> None:
        """A misspelt name must not mean that nothing is restarted."""
        api = shop()
        using(api, db="a-tls")
        with pytest.raises(NeedsOperator, match="no workload in the namespace shop uses the Secr"):
            self.made(api, a="a-tls", b="b-tls").check()
        with pytest.raises(NeedsOperator, match="none of the certificates is in a Secret of the"):
            self.made(api).check()

    def test_what_does_not_use_the_secret_is_warned_of(self) -> None:
        """It was named, and is restarted for nothing."""
        api = shop()
        using(api, web="a-tls")
        lines = target(api, WEB, DB, secrets={"a": "a-tls"}).look().warnings
        assert [line for line in lines if "Secret" in line] == [
            "statefulset/db does not use the Secret a-tls: nothing changes there"
        ]


class TestKeys:
    """What it is told of a keyring, and shows of it."""

    OLD, NEW = {"key/app": "old"}, {"key/app": "new"}

    def test_workloads_are_restarted_once_for_each_delivery(self) -> None:
        """Beside what they were restarted for otherwise."""
        api = shop()
        made = target(api, WEB)
        made.apply_for([live("app", "aa")])
        made.apply_of(self.OLD)
        made.apply_of(self.OLD)
        assert told(api) == {"web": "app=aa key/app=old"}
        assert patched(api) == ["web", "web"]

    def test_it_shows_which_workload_lacks_them(self) -> None:
        """Untouched, told of others, and not whole."""
        api = shop()
        made = target(api, WEB)
        assert made.lacks(self.OLD) == "deployment/web was not restarted for them"
        made.apply_of(self.OLD)
        assert made.lacks(self.OLD) is None
        assert made.lacks(self.NEW) == "deployment/web was not restarted for them"
        next(iter(api.objects.values()))["status"]["availableReplicas"] = 1
        assert "deployment/web is not whole: 3 of 3 pods" in str(made.lacks(self.OLD))

    def test_a_selector_without_workloads_has_nothing(self) -> None:
        """Keys that nobody runs with are not confirmed; going back there is nothing to do."""
        made = target(shop(), labels="tier=egde")
        words = "no workload in the namespace shop has the labels tier=egde"
        assert made.lacks(self.OLD) == words
        with pytest.raises(Transient, match=words):
            made.apply_of(self.OLD)
        with pytest.raises(Transient, match=words):
            made.apply_for([live("a", "aa")])
        made.revert_to(self.OLD)
        made.revert_for([live("a", "aa")], {})
        found = target(shop(), labels="tier=edge")
        found.apply_of(self.OLD)
        assert found.lacks(self.OLD) is None

    @pytest.mark.parametrize("act", ["get", "list"])
    def test_to_look_does_not_wait_for_the_api_server(self, act: str) -> None:
        """Whoever asks will ask again in a few seconds."""
        api = shop()

        def away(what: str, _path: str) -> None:
            if what == act:
                raise Transient("away")

        api.then = away
        with pytest.raises(Transient, match="away"):
            target(api, WEB, labels="tier=edge").lacks(self.OLD)
        assert api.clock.monotonic() == 0

    def test_going_back_puts_the_former_template_back(self) -> None:
        """So that the old pods are kept; twice is once."""
        api = shop()
        made = target(api, WEB, DB)
        made.apply_of(self.OLD)
        before = copy.deepcopy(list(api.objects.values()))
        target(api, WEB).apply_of(self.NEW)
        made.revert_to(self.OLD)
        made.revert_to(self.OLD)
        assert made.lacks(self.OLD) is None
        after = list(api.objects.values())
        templates = [[each["spec"]["template"] for each in every] for every in (before, after)]
        assert templates[0] == templates[1]
        assert patched(api) == ["web", "db", "web", "web"]

    def test_a_former_template_of_other_keys_is_restarted_once_more(self) -> None:
        """A restart for something else came between."""
        api = shop()
        made = target(api, WEB)
        made.apply_of(self.NEW)
        made.apply_for([live("app", "aa")])
        made.revert_to(self.OLD)
        assert made.lacks(self.OLD) is None


class TestVersions:
    """Pods mount the Secret of a generation."""

    def mounted(self, api: MemoryApi) -> dict[str, str]:
        """Which Secret each workload mounts."""
        specs = {
            each["metadata"]["name"]: each["spec"]["template"]["spec"]
            for each in api.objects.values()
        }
        return {
            name: spec["volumes"][0]["secret"]["secretName"]
            for name, spec in specs.items()
            if spec.get("volumes")
        }

    def test_found_workloads_are_found_again_and_again(self) -> None:
        """By the Secret that they mount now."""
        api = shop()
        using(api, web="a-tls", db="b-tls")
        secrets = {"a": "a-tls", "b": "b-tls"}
        made = target(api, mounting=True, versioned=True, secrets=secrets)
        made.apply_for([live("a", "1", "a.1"), live("b", "1", "b.1")])
        assert self.mounted(api) == {"web": "a.1", "db": "b.1"}
        made.check()
        assert not [line for line in made.look().warnings if "does not use" in line]
        made.apply_for([live("a", "2", "a.2")])
        assert self.mounted(api) == {"web": "a.2", "db": "b.1"}
        made.revert_for([live("a", "1", "a.1")], {})
        assert self.mounted(api) == {"web": "a.1", "db": "b.1"}
        plain = target(api, mounting=True, secrets=secrets)
        plain.apply_for([live("a", "3", "a.3")])
        assert self.mounted(api) == {"web": "a-tls", "db": "b.1"}

    def test_generations_elsewhere_are_refused_and_never_mounted(self) -> None:
        """The pods would not start."""
        api = shop()
        using(api, web="a-tls")
        secrets = {"a": "a-tls"}
        made = target(api, WEB, versioned=True, secrets=secrets, elsewhere=("a",))
        with pytest.raises(NeedsOperator, match="generations of the certificate a are not in the"):
            made.check()
        made.apply_for([live("a", "1", "a.1")])
        assert self.mounted(api) == {"web": "a-tls"}


class TestBuild:
    """From an entry of the configuration."""

    ACCESS = Access("https://10.0.0.1", ssl.create_default_context(), "own")

    def built(
        self,
        monkeypatch: pytest.MonkeyPatch,
        given: Mapping[str, Any] = MappingProxyType({}),
        **entry: Any,
    ) -> KubernetesTarget:
        """A target of a process that is in a pod, and has a kubeconfig too; ``given``: Context."""
        monkeypatch.setattr("certrotd.kube.access.in_pod", lambda _environment: self.ACCESS)
        monkeypatch.setattr("certrotd.kube.access.from_kubeconfig", self._from)
        parsed = TypeAdapter(KubernetesEntry).validate_python({"type": "kubernetes", **entry})
        clock = SystemClock()
        known = {"connect": Connections(clock, {}).api, **given}
        return build(parsed, Context("shop", Path("/nowhere"), clock, **known))

    def _from(self, path: Path, *, context: str | None) -> Access:
        return Access(f"https://{path.name}/{context}", self.ACCESS.context, "theirs")

    def test_a_pods_own_account_and_namespace_are_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the chart has it."""
        made = self.built(monkeypatch, workloads=["deployment/web", "statefulset/db"])
        assert made.named == (WEB, DB)
        assert made.labels is None
        assert made.rollouts.api.access is self.ACCESS
        assert (made.rollouts.namespace, made.rollouts.timeout) == ("own", 600)

    def test_a_kubeconfig_and_a_namespace_come_before_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the context that was asked for."""
        entry: dict[str, Any] = {
            "selector": "a=b",
            "kubeconfig": "/etc/kube",
            "context": "prod",
            "timeout": "1m",
        }
        made = self.built(monkeypatch, **entry)
        assert (made.labels, made.rollouts.timeout) == ("a=b", 60)
        assert made.rollouts.api.access.server == "https://kube/prod"
        assert made.rollouts.namespace == "theirs"
        assert self.built(monkeypatch, **entry, namespace="shop").rollouts.namespace == "shop"

    def test_a_pods_port_is_proven_as_the_probe_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the address of the pod, and the certificate that the target is told for."""
        proven: list[tuple[Any, ...]] = []
        entry = {"workloads": ["deployment/web"], "pod_probe": [{"port": 8443}]}
        made = self.built(monkeypatch, {"prove": lambda *given: proven.append(given)}, **entry)
        [probe] = made.probes
        probe.prove(live("web", "aa"), "10.0.0.1")
        [(how, *rest)] = proven
        assert isinstance(how, PodProbeEntry)
        assert rest == ["10.0.0.1", 8443, live("web", "aa")]

    def test_a_pods_port_is_reached_or_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever it serves."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            entry: dict[str, Any] = {"selector": "a=b", "pod_probe": [{"port": port}]}
            [probe] = self.built(monkeypatch, **entry).probes
            probe.reach("127.0.0.1")
        with pytest.raises(OSError, match="refused"):
            probe.reach("127.0.0.1")

    def test_the_secrets_are_those_of_its_own_namespace(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A certificate may be kept elsewhere as well: in another namespace, or cluster."""
        stores = {
            "own": {"secret": "a"},
            "named": {"secret": "b", "namespace": "own"},
            "other": {"secret": "c", "namespace": "shop"},
            "far": {"secret": "d", "kubeconfig": "/etc/kube"},
            "apart": {"secret": "e", "generations": "vault"},
        }
        parsed = {
            name: KubernetesStoreEntry.model_validate({"type": "kubernetes", **each})
            for name, each in stores.items()
        }
        made = self.built(monkeypatch, {"stores": parsed}, mounting=True)
        assert made.secrets == {"own": "a", "named": "b", "apart": "e"}
        assert (made.mounting, made.versioned) == (True, False)
        assert set(made.elsewhere) == {"other", "far", "apart"}
        assert self.built(monkeypatch, selector="a=b", secret="versioned").versioned

    def test_outside_of_a_pod_it_says_what_to_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before a rotation begins."""
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        parsed = TypeAdapter(KubernetesEntry).validate_python(
            {"type": "kubernetes", "selector": "a"}
        )
        clock = SystemClock()
        context = Context("shop", Path("/nowhere"), clock, connect=Connections(clock, {}).api)
        with pytest.raises(Failure, match="name a kubeconfig"):
            build(parsed, context)


class TestPage:
    """What docs/kubernetes-target.md says is so."""

    def test_its_configuration_loads(self, tmp_path: Path) -> None:
        """Without a warning."""
        [first, found, versioned, third] = [each for each in blocks() if "targets:" in each]
        shop = config(tmp_path, MINIMAL + first).targets["shop"]
        assert isinstance(shop, KubernetesEntry)
        assert shop.workloads == ("deployment/canary", "deployment/web")
        issuers = MINIMAL[: MINIMAL.index("certificates:")]
        shop = config(tmp_path, issuers + found).targets["shop"]
        assert isinstance(shop, KubernetesEntry)
        assert shop.mounting
        shop = config(tmp_path, issuers + versioned).targets["shop"]
        assert isinstance(shop, KubernetesEntry)
        assert shop.versioned
        gateway = config(tmp_path, MINIMAL + third).targets["gateway"]
        assert isinstance(gateway, KubernetesEntry)
        assert gateway.mode == "exec"

    @pytest.mark.parametrize(
        ("labels", "program"), [(None, None), ("tier=edge", None), (None, Program(("true",), ()))]
    )
    def test_its_role_has_what_is_asked_for_and_no_more(
        self, labels: str | None, program: Program | None
    ) -> None:
        """With a selector, and without one; of each kind of workload; and for those that reload."""
        api = MemoryApi(
            labelled("deployment", "web", tier="edge"),
            labelled("statefulset", "canary", tier="edge"),
            labelled("daemonset", "web", tier="edge"),
        )
        named = [WEB, Reference("statefulset", "canary"), Reference("daemonset", "web")]
        reloads = Reloads(rollouts(api), program) if program else None
        made = target(api, *([] if labels else named), labels=labels, reloads=reloads)
        assert not made.look().problems
        asked = (each.split(" ") for each in api.reviews)
        wanted = role(finds=bool(labels), execs=bool(program))
        given = {
            (verb, f"{group}/{resource}")
            for rule in wanted
            for verb in rule["verbs"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        assert {(verb, what) for verb, what, *_ in asked} == given

    def test_its_annotations_and_events_are_those_that_are_written(self) -> None:
        """An operator looks for them by these names."""
        text = PAGE.read_text()
        sources = "".join(
            (ROOT / f"certrotd/kube/{name}.py").read_text() for name in ("rollout", "reloads")
        )
        reasons = set(re.findall(r'"(Rotation(?:Restart|Undo|Held)\w*)"', sources))
        reasons |= {f"Rotation{each}" for each in re.findall(r'"((?:Rel|Und)o\w+)"', sources)}
        assert reasons == set(re.findall(r"^\| `(Rotation\w+)`", text, re.MULTILINE))
        for annotation in (RESTARTED_AT, RESTARTED_FOR, SECRETS, FORMER):
            assert f"`{annotation}`" in text
