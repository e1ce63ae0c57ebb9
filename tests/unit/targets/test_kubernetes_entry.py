"""A target of type kubernetes as its entry and the page have it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.probes import PodProbeEntry
from certrotd.config.stores import KubernetesStoreEntry
from certrotd.config.targets import KubernetesEntry
from certrotd.errors import Failure
from certrotd.kube.access import Access
from certrotd.kube.connecting import Connections
from certrotd.kube.reloads import Program, Reloads
from certrotd.kube.stamps import FORMER, RESTARTED_AT, RESTARTED_FOR, SECRETS
from certrotd.kube.workloads import Reference
from certrotd.targets.kubernetes import KubernetesTarget, build
from tests.unit.config.written import MINIMAL, config
from tests.unit.kube.memory_api import MemoryApi
from tests.unit.targets.kubernetes_page import PAGE, blocks, role
from tests.unit.targets.kubernetes_shop import (
    DB,
    WEB,
    labelled,
    live,
    rollouts,
    target,
)

ROOT = PAGE.parents[1]


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
