"""What the Helm chart refuses: values that cannot go together, and typos."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parts.kubernetes.api import Object
from tests.parts.kubernetes.chart import HelmRefused, changed, example, one, template


def sharded(shards: int) -> Object:
    """A state with so many shards."""
    return {"type": "kubernetes", "shards": shards}


class TestRefused:
    """What cannot go together is said."""

    @pytest.mark.parametrize(
        ("mode", "path", "value", "words"),
        [
            ("cronjob", "replicas", 2, "mode cronjob has no replicas"),
            ("cronjob", "podDisruptionBudget.enabled", True, "has no podDisruptionBudget"),
            ("cronjob", "serviceMonitor.enabled", True, "has no serviceMonitor"),
            ("cronjob", "config.http", {}, None),
            ("cronjob", "config.http", {"hosts": ["a.example"]}, "mode cronjob has no page"),
            ("deployment", "config", {}, "config is empty"),
            ("deployment", "replicas", 1, "podDisruptionBudget needs two replicas"),
            ("deployment", "config.state", sharded(4), "each needs a replica, set replicas=4"),
            ("deployment", "config.state", sharded(2), None),
            ("cronjob", "config.state", sharded(2), "mode cronjob has no shards"),
            ("deployment", "persistence.enabled", True, "persistence is for one replica"),
            ("deployment", "config.state_dir", "/data", "config.state_dir is set"),
            ("deployment", "config.http", {"listen": "[::]:80"}, "set http.address and http.port"),
            ("deployment", "config.http", {"allow_remote": True}, "has listen or allow_remote"),
            (
                "deployment",
                "config.state",
                {"type": "kubernetes", "namespace": "other"},
                "config.state.namespace is other",
            ),
            (
                "deployment",
                "config.state",
                {"type": "kubernetes", "kubeconfig": "/x"},
                "config.state has a kubeconfig",
            ),
            (
                "deployment",
                "config.targets.web",
                {"type": "nginx"},
                "target web is of type nginx: nothing else runs in certrotd's pod",
            ),
            (
                "deployment",
                "config.certificates",
                [
                    {
                        "name": "web",
                        "names": ["a.example"],
                        "store": {"type": "kubernetes", "secret": "s", "generations": "shop"},
                    }
                ],
                "certificate web keeps its generations in shop",
            ),
            (
                "cronjob",
                "config.notifications",
                {"x": {"type": "webhook", "url": "https://a.example/", "secret": {"env": "KEY"}}},
                "mode cronjob has no notifications",
            ),
            (
                "cronjob",
                "config.watch",
                [{"address": "a.example:443"}],
                "mode cronjob has no watch",
            ),
            (
                "cronjob",
                "config.key_server",
                {"socket": "/run/x"},
                "mode cronjob has no key_server",
            ),
            ("deployment", "serviceAccount", {"create": False}, "every pod of the namespace would"),
            ("deployment", "serviceAccount", {"create": False, "name": "mine"}, None),
            (
                "deployment",
                "persistence",
                {"existingClaim": "mine"},
                "persistence.existingClaim is",
            ),
            ("deployment", "podDisruptionBudget.minAvailable", 2, "as many as there are replicas"),
            ("deployment", "podDisruptionBudget.minAvailable", "50%", None),
            ("deployment", "podLabels", {"app.kubernetes.io/component": "x"}, "podLabels has app"),
            (
                "deployment",
                "config.solvers.own",
                {
                    "type": "responder",
                    "listen": ["0.0.0.0:53"],
                    "zones": ["_acme-challenge.a.example"],
                    "nameserver": "ns.b.example",
                },
                "solver own is of type responder",
            ),
            (
                "deployment",
                "config.keks.main",
                {"type": "file", "path": "/var/lib/certrotd/kek"},
                "KEK main is in /var/lib/certrotd/, which ends with the pod",
            ),
            (
                "deployment",
                "config.keks.main",
                {"type": "file", "path": "/run/secrets/certrotd/kek"},
                None,
            ),
            (
                "deployment",
                "config.certificates",
                [{"name": "web", "names": ["a.example"]}],
                "certificate web has no store",
            ),
            ("sidecar", "persistence.enabled", False, None),
            ("sidecar", "config.state", {"type": "kubernetes"}, "mode sidecar has its state in"),
            ("sidecar", "config.store_dir", "/certs", "config.store_dir is set"),
            (
                "sidecar",
                "config.certificates",
                [
                    {
                        "name": "web",
                        "names": ["a.example"],
                        "store": {"type": "kubernetes", "secret": "s"},
                    }
                ],
                "certificate web has a store",
            ),
            (
                "sidecar",
                "config.targets.web",
                {"type": "systemd", "unit": "nginx.service"},
                "target web is of type systemd: mode sidecar tells processes of its own pod alone",
            ),
            (
                "sidecar",
                "config.keyrings.a",
                {"outputs": [{"type": "tink", "secret": {"name": "a", "key": "a"}}]},
                "keyring a has an output in a Secret: mode sidecar has no rights",
            ),
            (
                "sidecar",
                "config.keyrings.a",
                {"datasets": {"b": {"type": "kubernetes"}}},
                "keyring a has dataset b of type kubernetes: mode sidecar has no rights",
            ),
            ("sidecar", "strategy", {"type": "RollingUpdate"}, "strategy RollingUpdate cannot be"),
            ("sidecar", "replicas", 3, "persistence is for one replica"),
        ],
    )
    def test_with_words(self, mode: str, path: str, value: Any, words: str | None) -> None:
        """Each beside an example that is taken."""
        values = changed(mode, path, value)
        if words is None:
            template(values)
            return
        with pytest.raises(HelmRefused, match="execution error") as refused:
            template(values)
        assert words in str(refused.value)

    def test_a_network_policy_that_keeps_prometheus_out(self) -> None:
        """It is in a namespace of its own."""
        values = changed("deployment", "networkPolicy.enabled", True)
        values["serviceMonitor"] = {"enabled": True, "ifMissing": "always"}
        with pytest.raises(HelmRefused, match=r"networkPolicy\.from is empty"):
            template(values)
        values["networkPolicy"]["from"] = [{"namespaceSelector": {}}]
        template(values)

    def test_keyrings_of_a_sidecar_without_a_volume(self) -> None:
        """Their keys would end with the pod, and what was encrypted would stay."""
        values = changed("sidecar", "config.keyrings.a", {})
        template(values)
        values["persistence"] = {"enabled": False}
        with pytest.raises(HelmRefused, match=r"config\.keyrings needs persistence"):
            template(values)

    def test_an_unknown_mode_without_the_schema(self) -> None:
        """It can be left out."""
        with pytest.raises(HelmRefused, match=r"mode is .*: it is deployment, cronjob or sidecar"):
            template(changed("deployment", "mode", "daemonset"), "--skip-schema-validation")

    @pytest.mark.parametrize(
        "more",
        [
            {"strategy": {"type": "Recreate"}},
            {"podDisruptionBudget": {"enabled": True}, "replicas": 2},
            {"networkPolicy": {"enabled": True}},
            {"serviceMonitor": {"enabled": True, "ifMissing": "always"}},
        ],
        ids=lambda more: next(iter(more)),
    )
    def test_what_is_for_pods_where_there_are_none(self, more: Object) -> None:
        """They are in a chart of the user's."""
        values = changed("sidecar", "sidecar.nginx.enabled", False) | {"persistence": {}} | more
        with pytest.raises(HelmRefused, match="the release has no pods"):
            template(values)

    @pytest.mark.parametrize(
        ("path", "value", "words"),
        [
            ("mode", "daemonset", "value must be one of 'deployment', 'cronjob', 'sidecar'"),
            ("replica", 2, "additional properties 'replica' not allowed"),
            ("image.repo", "x", "additional properties 'repo' not allowed"),
            ("image.digest", "sha256:abc", "does not match pattern"),
            ("persistence.enabled", "yes", "got string, want boolean"),
            ("rbac.extraRules", [], "got array, want object"),
            ("config.certificats", [], "additional properties 'certificats' not allowed"),
            ("config.targets.shop.workload", "x", "additional properties 'workload' not allowed"),
        ],
    )
    def test_a_typo(self, path: str, value: Any, words: str) -> None:
        """Also one in certrotd's own configuration."""
        with pytest.raises(HelmRefused, match="don't meet the specifications of the schema") as no:
            template(changed("deployment", path, value))
        assert words in str(no.value)


class TestServiceMonitor:
    """A kind that a cluster need not have."""

    THERE = "--api-versions=monitoring.coreos.com/v1/ServiceMonitor"

    def values(self, missing: str) -> Object:
        return example("deployment", serviceMonitor={"enabled": True, "ifMissing": missing})

    def test_is_missed_with_words(self) -> None:
        with pytest.raises(HelmRefused, match="install the Prometheus operator, or set"):
            template(self.values("fail"))

    def test_is_skipped_or_rendered_as_asked(self) -> None:
        kinds = {each["kind"] for each in template(self.values("skip"))}
        assert "ServiceMonitor" not in kinds
        assert one(template(self.values("always")), "ServiceMonitor")

    def test_leads_to_the_metrics(self) -> None:
        """By the labels of the Service, and its port's name."""
        objects = template(self.values("fail"), self.THERE)
        monitor, service = one(objects, "ServiceMonitor"), one(objects, "Service")
        assert monitor["spec"]["endpoints"][0]["path"] == "/metrics"
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= service["metadata"]["labels"].items()
