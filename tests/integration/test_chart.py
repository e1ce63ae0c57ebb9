"""The Helm chart as helm renders it: what it derives, and what it refuses."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.config.load import check
from certrotd.kube.state import NEEDED
from certrotd.outputs.secret_entries import NEEDED as NEEDED_OUTPUT
from certrotd.stores.live_secret import NEEDED_LIVE, NEEDED_OWN
from tests.parts.kubernetes.api import Object
from tests.parts.kubernetes.chart import CHART, MODES, HelmRefused, example, lint, one, template
from tests.unit.targets.kubernetes_page import role, rules

ROOT = CHART.parents[2]


def changed(mode: str, path: str, value: Any) -> Object:
    """The example's values with another one somewhere: "image.tag"."""
    values = example(mode)
    set_at(values, path, value)
    return values


def set_at(values: Object, path: str, value: Any) -> None:
    """Sets one of many values."""
    *folders, last = path.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
    values[last] = value


def pod_of(objects: list[Object]) -> Object:
    """The pod template of the Deployment or the CronJob."""
    found: Object
    for each in objects:
        if each["kind"] == "Deployment":
            found = each["spec"]["template"]
            return found
        if each["kind"] == "CronJob":
            found = each["spec"]["jobTemplate"]["spec"]["template"]
            return found
    raise AssertionError("there is neither")


def config_of(objects: list[Object], file: str = "config.yaml") -> Object:
    """The configuration that certrotd gets."""
    found: Object = yaml.safe_load(one(objects, "ConfigMap")["data"][file])
    return found


@pytest.mark.parametrize("mode", MODES)
def test_the_linter_has_nothing_to_say(mode: str) -> None:
    """Not even a warning, of any example."""
    assert "0 chart(s) failed" in lint(example(mode))


@pytest.mark.parametrize("mode", MODES)
def test_the_configuration_is_one_that_certrotd_takes(mode: str, tmp_path: Path) -> None:
    """With what the chart has added."""
    objects = template(example(mode))
    for name, text in one(objects, "ConfigMap")["data"].items():
        if name.endswith(".yaml"):
            file = tmp_path / name
            file.write_text(text)
            problems, _ = check(file)
            # the secret's file is in the pod alone
            assert [each for each in problems if "/run/secrets" not in str(each)] == []


def test_state_and_generations_are_in_the_release_s_namespace() -> None:
    """The user says it nowhere."""
    found = config_of(template(example("deployment"), namespace="system", name="own"))
    own = {"namespace": "system", "instance": "own-certrotd"}
    assert found["state"] == {"type": "kubernetes", **own}
    store = found["certificates"][0]["store"]
    assert store["namespace"] == "shop"
    assert (store["generations"], store["instance"]) == ("system", "own-certrotd")
    assert "own-certrotd.system.svc" in found["http"]["hosts"]


def test_what_the_user_says_stays() -> None:
    """Of an instance, which tells the Secrets of an older release, and of hosts."""
    values = example("deployment")
    values["config"]["state"] = {"type": "kubernetes", "instance": "older"}
    values["config"]["http"] = {"hosts": ["certs.example.com"]}
    found = config_of(template(values))
    assert found["state"]["instance"] == "older"
    assert {"certs.example.com", "certrotd.certrotd.svc"} <= set(found["http"]["hosts"])


def test_the_init_container_of_a_sidecar_tells_nobody() -> None:
    """nginx starts after it: there is no process yet."""
    objects = template(example("sidecar"))
    assert [each["targets"] for each in config_of(objects, "init.yaml")["certificates"]] == [[]]
    assert config_of(objects)["certificates"][0]["targets"] == ["nginx"]
    first, second = pod_of(objects)["spec"]["initContainers"]
    assert first["args"] == ["--config=/etc/certrotd/init.yaml", "rotate", "--all", "--quiet"]
    assert (second["args"], second["restartPolicy"]) == (["run"], "Always")


@pytest.mark.parametrize("mode", MODES)
def test_a_changed_configuration_restarts_the_pods(mode: str) -> None:
    """And nothing else does: the control is the same configuration again."""

    def checksum(values: Object) -> str:
        return str(pod_of(template(values))["metadata"]["annotations"]["checksum/config"])

    before = checksum(example(mode))
    assert checksum(changed(mode, "podLabels.team", "web")) == before
    assert checksum(changed(mode, "config.concurrency", 4)) != before


@pytest.mark.parametrize("mode", MODES)
def test_every_container_has_no_more_than_it_needs(mode: str) -> None:
    """Also that of the test, and nginx."""
    objects = template(example(mode))
    for spec in (pod_of(objects)["spec"], one(objects, "Pod")["spec"]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is (mode != "sidecar")
        for each in [*spec["containers"], *spec.get("initContainers", [])]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def deep(found: Any, path: str) -> Any:
    """What is at a path of keys and numbers: "spec.containers.0.args"."""
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


MAIN = "spec.containers.0."
OPTIONS: list[tuple[str, Any, str, Any]] = [
    ("image.tag", "1.2", MAIN + "image", "certrotd:1.2"),
    ("image.pullPolicy", "Never", MAIN + "imagePullPolicy", "Never"),
    ("imagePullSecrets", [{"name": "a"}], "spec.imagePullSecrets.0.name", "a"),
    ("extraArgs", ["--x"], MAIN + "args.1", "--x"),
    ("extraEnv", [{"name": "A", "value": "1"}], MAIN + "env.0.name", "A"),
    ("extraEnvFrom", [{"secretRef": {"name": "a"}}], MAIN + "envFrom.0.secretRef.name", "a"),
    ("extraVolumes", [{"name": "a", "emptyDir": {}}], "spec.volumes.4.name", "a"),
    ("extraVolumeMounts", [{"name": "a"}], MAIN + "volumeMounts.4.name", "a"),
    ("existingSecret", "a", "spec.volumes.3.secret.secretName", "a"),
    ("http.port", 9000, MAIN + "ports.0.containerPort", 9000),
    ("livenessProbe", {"periodSeconds": 7}, MAIN + "livenessProbe.periodSeconds", 7),
    ("readinessProbe", {"periodSeconds": 7}, MAIN + "readinessProbe.periodSeconds", 7),
    ("resources", {"limits": {"cpu": 1}}, MAIN + "resources.limits.cpu", 1),
    ("securityContext", {"privileged": False}, MAIN + "securityContext.privileged", False),
    ("podSecurityContext", {"runAsUser": 8}, "spec.securityContext.runAsUser", 8),
    ("user", 7, "spec.securityContext.fsGroup", 7),
    ("terminationGracePeriodSeconds", 7, "spec.terminationGracePeriodSeconds", 7),
    ("priorityClassName", "a", "spec.priorityClassName", "a"),
    ("nodeSelector", {"a": "b"}, "spec.nodeSelector.a", "b"),
    ("tolerations", [{"key": "a"}], "spec.tolerations.0.key", "a"),
    ("affinity", {"podAffinity": {}}, "spec.affinity.podAffinity", {}),
    ("topologySpreadConstraints", [{"maxSkew": 1}], "spec.topologySpreadConstraints.0.maxSkew", 1),
    ("podLabels", {"a": "b"}, "metadata.labels.a", "b"),
    ("podAnnotations", {"a": "b"}, "metadata.annotations.a", "b"),
    ("commonLabels", {"c": "d"}, "metadata.labels.c", "d"),
    ("serviceAccount.name", "a", "spec.serviceAccountName", "a"),
    ("fullnameOverride", "b", "spec.volumes.0.configMap.name", "b"),
]


def test_an_option_is_seen_in_the_pod() -> None:
    """Where Kubernetes looks for it; without the option something else is there, or nothing."""
    values, plain = example("deployment"), pod_of(template(example("deployment")))
    for option, value, *_ in OPTIONS:
        set_at(values, option, value)
    pod = pod_of(template(values))
    for _, _, where, seen in OPTIONS:
        assert deep(pod, where) == seen, where
        with suppress(KeyError, IndexError):
            assert deep(plain, where) != seen, where
    set_at(values, "image.digest", f"sha256:{'a' * 64}")
    image = deep(pod_of(template(values)), MAIN + "image")
    assert image == f"certrotd@sha256:{'a' * 64}"


def test_an_option_is_seen_beside_the_pod() -> None:
    """Claims, further objects, identities, who may ask, and the CronJob's fields."""
    values = example("cronjob", persistence={"enabled": True, "storageClass": "-"})
    values["cronjob"] = {"timeZone": "Europe/Berlin", "suspend": True}
    values["networkPolicy"] = {"enabled": True}
    values["serviceAccount"] = {"annotations": {"a": "b"}}
    name = "{{ .Release.Name }}-more"
    values["extraObjects"] = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}]
    objects = template(values)
    assert one(objects, "PersistentVolumeClaim")["spec"]["storageClassName"] == ""
    assert pod_of(objects)["spec"]["volumes"][1]["persistentVolumeClaim"] == {
        "claimName": "certrotd"
    }
    job = one(objects, "CronJob")["spec"]
    assert (job["timeZone"], job["suspend"]) == ("Europe/Berlin", True)
    assert job["concurrencyPolicy"] == "Forbid"
    assert one(objects, "NetworkPolicy")["spec"]["ingress"] == []
    assert one(objects, "ServiceAccount")["metadata"]["annotations"] == {"a": "b"}
    [more] = [each for each in objects if each["kind"] == "Secret"]
    assert more["metadata"] == {"name": "certrotd-more"}


def test_a_volume_takes_the_place_of_a_rolling_update() -> None:
    """A claim is for one pod at a time; without one the next pod is there before the last goes."""
    values = changed("deployment", "persistence", {"enabled": True, "existingClaim": "there"})
    values |= {"replicas": 1, "podDisruptionBudget": {"enabled": False}}
    objects = template(values)
    assert one(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    strategy = one(template(example("deployment")), "Deployment")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


class TestRights:
    """What the Roles say is what the documentation says, and what the code asks for."""

    def test_of_the_state_and_the_generations(self) -> None:
        """In the release's namespace."""
        found = one(template(example("deployment")), "Role", namespace="certrotd")["rules"]
        given = {rule["resources"][0]: tuple(rule["verbs"]) for rule in found}
        assert given == {kind.plural: verbs for kind, verbs in NEEDED.items()}
        assert given["secrets"] == NEEDED_OWN
        page = (ROOT / "docs" / "cluster-state.md").read_text()
        [shown] = [each for each in blocks(page) if each.get("kind") == "Role"]
        assert found == shown["rules"]

    def test_where_the_workloads_are(self) -> None:
        """By their names; pods are deleted because there is a StatefulSet."""
        secrets, *found = one(template(example("deployment")), "Role", namespace="shop")["rules"]
        assert tuple(secrets["verbs"]) == NEEDED_LIVE
        assert secrets["resourceNames"] == ["shop-tls"]
        named = {rule["resources"][0]: rule.get("resourceNames") for rule in found}
        assert named.pop("deployments") == ["canary", "web"]
        assert named.pop("statefulsets") == ["queue"]
        assert not any(named.values())
        assert triples(found) == triples(role()) - triples_of("daemonsets")

    def test_where_programs_are_run(self) -> None:
        """Nothing is patched nor deleted, but anything may be run: only if that is asked for."""
        values = changed("deployment", "config.targets.shop", RELOADS)
        with pytest.raises(HelmRefused, match=r"target shop has mode exec: .* set rbac.podsExec"):
            template(values)
        values["rbac"] = {"podsExec": True}
        _, *found = one(template(values), "Role", namespace="shop")["rules"]
        assert triples(found) == triples(role(execs=True)) - triples_of(
            "statefulsets", "daemonsets"
        )

    def test_of_a_mode_that_only_looks(self) -> None:
        """Beside a target that restarts another workload, and one that finds all."""
        watched: Object = {"type": "kubernetes", "namespace": "shop", "mode": "none"}
        watched["pod_probe"] = [{"port": 8443}]
        values = changed(
            "deployment", "config.targets.own", watched | {"workloads": ["daemonset/a"]}
        )
        found = one(template(values), "Role", namespace="shop")["rules"]
        [daemonsets] = [rule for rule in found if rule["resources"] == ["daemonsets"]]
        assert (daemonsets["resourceNames"], daemonsets["verbs"]) == (["a"], ["get"])
        values["config"]["targets"]["own"] = watched | {"selector": "tier=edge"}
        found = one(template(values), "Role", namespace="shop")["rules"]
        [listed] = [rule for rule in found if "daemonsets" in rule["resources"]]
        assert listed["verbs"] == ["get", "list"]
        [named] = [rule for rule in found if rule["resources"] == ["deployments"]]
        assert named["verbs"] == ["get", "patch"]

    @pytest.mark.parametrize("found", [{"selector": "tier=edge"}, {"mounting": True}])
    def test_of_what_is_found(self, found: Object) -> None:
        """Names cannot narrow a list."""
        target = {"type": "kubernetes", "namespace": "shop", **found}
        values = changed("deployment", "config.targets", {"shop": target})
        given = one(template(values), "Role", namespace="shop")["rules"]
        *_, listing = rules()
        assert listing in given
        assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]} in given

    def test_pods_are_not_deleted_without_a_statefulset(self) -> None:
        """The control."""
        values = changed("deployment", "config.targets.shop.workloads", ["daemonset/edge"])
        found = one(template(values), "Role", namespace="shop")["rules"]
        assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]} in found
        assert not any("delete" in rule["verbs"] for rule in found)
        assert [r["resourceNames"] for r in found if r["resources"] == ["daemonsets"]] == [["edge"]]

    def test_pods_are_deleted_where_each_is_probed(self) -> None:
        """Those that still serve a certificate that was undone."""
        values = changed("deployment", "config.targets.shop.workloads", ["deployment/web"])
        values["config"]["targets"]["shop"]["pod_probe"] = [{"port": 8443}]
        found = one(template(values), "Role", namespace="shop")["rules"]
        assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]} in found

    def test_of_a_keyring_in_secrets(self) -> None:
        """By their names, as for certificates; in the release's namespace, if none is named."""
        outputs = [
            {"type": "tink", "secret": {"name": "keys", "key": "a", "namespace": "shop"}},
            {"type": "tink", "secret": {"name": "own", "key": "a"}},
            {"type": "tink", "path": "/keys/file"},
        ]
        values = changed("deployment", "config.keyrings", {"payments": {"outputs": outputs}})
        objects = template(values)
        secrets = one(objects, "Role", namespace="shop")["rules"][0]
        assert secrets["resourceNames"] == ["keys", "shop-tls"]
        assert tuple(secrets["verbs"]) == NEEDED_OUTPUT
        own = [e for e in objects if e["kind"] == "Role" and e["metadata"]["namespace"] != "shop"]
        assert [e["rules"][0].get("resourceNames") for e in own] == [None, ["own"]]

    def test_that_others_have_are_added_by_hand(self) -> None:
        """In any namespace."""
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}
        values = changed("deployment", "rbac.extraRules", {"shop": [rule], "other": [rule]})
        objects = template(values)
        assert rule in one(objects, "Role", namespace="shop")["rules"]
        assert one(objects, "Role", namespace="other")["rules"] == [rule]

    def test_are_none_in_a_sidecar_nor_for_another_cluster(self) -> None:
        """What has a kubeconfig is not asked of this API server."""
        assert not {"Role", "RoleBinding"} & {e["kind"] for e in template(example("sidecar"))}
        values = example("deployment")
        values["config"]["targets"]["shop"]["kubeconfig"] = "/run/secrets/certrotd/kubeconfig"
        values["config"]["certificates"][0]["store"]["kubeconfig"] = "/run/secrets/certrotd/k"
        objects = template(values)
        assert [e["metadata"]["namespace"] for e in objects if e["kind"] == "Role"] == ["certrotd"]

    def test_are_never_cluster_wide(self) -> None:
        """In any mode."""
        for mode in MODES:
            assert not [e for e in template(example(mode)) if e["kind"].startswith("Cluster")]


RELOADS = {
    "type": "kubernetes",
    "namespace": "shop",
    "workloads": ["deployment/web"],
    "mode": "exec",
    "command": ["nginx", "-s", "reload"],
    "files": ["/tls/tls.crt"],
    "pod_probe": [{"port": 8443}],
}


def triples(rules: list[Object]) -> set[tuple[str, str, str]]:
    """Group, resource and verb of each right that rules give, whatever its names."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def triples_of(*kinds: str) -> set[tuple[str, str, str]]:
    """Those that a page gives for all kinds of workloads."""
    return {("apps", kind, verb) for kind in kinds for verb in ("get", "patch")}


def blocks(page: str) -> list[Object]:
    """The YAML of a page."""
    texts = (text.partition("```")[0] for text in page.split("```yaml\n")[1:])
    return [each for text in texts for each in yaml.safe_load_all(text) if isinstance(each, dict)]


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


class TestInAnotherChart:
    """A chart of the user's that has this one as a dependency, as the chart's page shows it."""

    def test_the_pod_has_the_parts_of_a_sidecar(self, tmp_path: Path) -> None:
        """The page's own text, with values for the dependency."""
        chart = tmp_path / "web"
        shutil.copytree(CHART, chart / "charts" / "certrotd")
        about: Object = {"apiVersion": "v2", "name": "web", "version": "1.0.0"}
        about["dependencies"] = [{"name": "certrotd", "version": "*"}]
        (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
        values = changed("sidecar", "sidecar.nginx", {"enabled": False})
        (chart / "values.yaml").write_text(yaml.safe_dump({"certrotd": values}))
        (chart / "templates").mkdir()
        page = (CHART / "README.md").read_text()
        [shown] = [t for t in page.split("```yaml\n") if "certrotd.sidecar.pod" in t]
        deployment = f"{DEPLOYMENT}{shown.partition('```')[0]}"
        (chart / "templates" / "web.yaml").write_text(deployment)
        objects = template({}, chart=chart)
        spec = one(objects, "Deployment")["spec"]["template"]["spec"]
        assert [each["name"] for each in spec["initContainers"]] == ["certrotd-init", "certrotd"]
        assert spec["shareProcessNamespace"] is True
        [web] = spec["containers"]
        volumes = {each["name"] for each in spec["volumes"]}
        assert {each["name"] for each in web["volumeMounts"]} < volumes
        for each in spec["initContainers"]:
            assert {mount["name"] for mount in each["volumeMounts"]} <= volumes
        annotations = one(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
        assert annotations.keys() == {"checksum/config"}
        assert not [each for each in objects if each["kind"] == "Service"]
        values["mode"] = "deployment"
        values["config"]["targets"] = {}
        values["config"]["certificates"] = []
        (chart / "values.yaml").write_text(yaml.safe_dump({"certrotd": values}))
        with pytest.raises(HelmRefused, match="is for mode sidecar, and mode is deployment"):
            template({}, chart=chart)


DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
"""
