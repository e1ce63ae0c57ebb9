"""The Helm chart as helm renders it: what it adds to the configuration, and its pods."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.config.load import check
from tests.parts.kubernetes.api import Object
from tests.parts.kubernetes.chart import (
    CHART,
    MODES,
    HelmRefused,
    changed,
    example,
    lint,
    one,
    set_at,
    template,
)


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
    first = config_of(objects, "init.yaml")
    assert [each["targets"] for each in first["certificates"]] == [[]]
    assert (first["include"], "http" in first) == (None, False)
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


def test_the_cluster_may_choose_the_user() -> None:
    """OpenShift gives pods one, and refuses those that ask for another."""
    values = example("deployment") | {"user": None, "enabled": True}  # enabled: for a dependency
    pod = one(template(values), "Deployment")["spec"]["template"]["spec"]
    assert set(pod["securityContext"]) == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}


def test_another_handler_takes_the_place_of_http() -> None:
    """The API server refuses two."""
    handler = {"exec": {"command": ["true"]}}
    values = example("deployment") | {"readinessProbe": handler}
    pod = one(template(values), "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    own = {"periodSeconds": 5, "timeoutSeconds": 5}
    assert container["readinessProbe"] == own | handler
    assert "httpGet" in container["livenessProbe"]


def test_a_wrong_configuration_keeps_the_pods_before_it() -> None:
    """A replica that stands by is ready, whatever it has read: so it is checked first."""
    pod = one(template(example("deployment")), "Deployment")["spec"]["template"]["spec"]
    [check] = pod["initContainers"]
    assert check["args"] == ["config", "check"]
    assert check["volumeMounts"] == pod["containers"][0]["volumeMounts"]


def test_the_audit_log_is_in_the_pod_s_log_unless_there_is_a_volume_or_a_choice() -> None:
    """Without either it would end with the pod."""

    def asked(**values: Object) -> object:
        made = example("cronjob") | values
        config = yaml.safe_load(one(template(made), "ConfigMap")["data"]["config.yaml"])
        return config.get("log", {}).get("audit")

    own = example("cronjob")["config"]
    assert asked() is True
    assert asked(persistence={"enabled": True}) is None
    assert asked(config=own | {"log": {"audit": False}}) is False
    assert asked(config=own | {"log": {"level": "debug"}}) is True


def test_a_volume_takes_the_place_of_a_rolling_update() -> None:
    """A claim is for one pod at a time; without one the next pod is there before the last goes."""
    values = changed("deployment", "persistence", {"enabled": True, "existingClaim": "there"})
    values |= {"replicas": 1, "podDisruptionBudget": {"enabled": False}}
    objects = template(values)
    assert one(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    strategy = one(template(example("deployment")), "Deployment")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


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
