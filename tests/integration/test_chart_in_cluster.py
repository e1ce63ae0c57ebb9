"""The Helm chart before a real API server: what it takes, and what the chart's account may do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parts import locate
from tests.parts.kubernetes import ControlPlane, Credentials
from tests.parts.kubernetes.api import Object
from tests.parts.kubernetes.chart import MODES, example, template

HERE = Path(__file__).parent
LISTS = HERE / "chart_rights.txt"
EXTRA = {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}
OPTIONS: dict[str, Object] = {
    "deployment": {
        "image": {"tag": "1.2.3", "digest": f"sha256:{'a' * 64}", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "commonLabels": {"team": "platform"},
        "commonAnnotations": {"example.com/owner": "platform"},
        "extraArgs": ["--config=/etc/certrotd/config.yaml"],
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-central-1"}],
        "extraEnvFrom": [{"secretRef": {"name": "kms"}}],
        "extraVolumes": [{"name": "roots", "configMap": {"name": "roots"}}],
        "extraVolumeMounts": [{"name": "roots", "mountPath": "/roots", "readOnly": True}],
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-roots"},
                "data": {"a": "b"},
            }
        ],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}},
        "rbac": {"extraRules": {"shop": [EXTRA]}},
        "http": {"address": "[::]", "port": 9000},
        "service": {"annotations": {"a": "b"}},
        "strategy": {"type": "Recreate"},
        "livenessProbe": {"periodSeconds": 20},
        "readinessProbe": {"periodSeconds": 20},
        "podSecurityContext": {"runAsUser": 1000, "supplementalGroups": [7]},
        "securityContext": {"privileged": False},
        "podLabels": {"a": "b"},
        "podAnnotations": {"a": "b"},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "certrotd"}},
            }
        ],
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
            "egress": [{"ports": [{"port": 443}]}],
        },
    },
    "cronjob": {
        "cronjob": {"schedule": "@daily", "timeZone": "Europe/Berlin", "suspend": True},
        "networkPolicy": {"enabled": True},
        "persistence": {"enabled": True, "existingClaim": "there"},
    },
    "sidecar": {
        "networkPolicy": {"enabled": True},
        "persistence": {"enabled": False},
        "replicas": 2,
        "podDisruptionBudget": {"enabled": True, "minAvailable": "50%"},
    },
}
"""Each option once, in the modes that have it."""


def kubectl(who: Credentials, tmp_path: Path, *argv: str, stdin: str | None = None) -> str:
    """What kubectl prints of both kinds, by somebody."""
    config = who.write_kubeconfig(tmp_path / "kubeconfig")
    ran = subprocess.run(
        [locate.require("kubectl"), f"--kubeconfig={config}", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"HOME": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def ensure(plane: ControlPlane, *namespaces: str) -> None:
    """Makes those that are not there, of the strictest kind: what pods must not do is a warning."""
    strict = {"pod-security.kubernetes.io/warn": "restricted"}
    for name in namespaces:
        if not plane.api.exists(f"/api/v1/namespaces/{name}"):
            metadata = {"name": name, "labels": strict}
            plane.api.create("/api/v1/namespaces", {"metadata": metadata})


@pytest.mark.parametrize("options", [False, True], ids=["example", "options"])
@pytest.mark.parametrize("mode", MODES)
def test_the_api_server_takes_every_object(
    control_plane: ControlPlane, mode: str, options: bool, tmp_path: Path
) -> None:
    """Each field is known, and no pod does what the standard "restricted" forbids."""
    ensure(control_plane, "certrotd", "shop")
    plane = control_plane
    if not plane.api.exists("/api/v1/namespaces/certrotd/serviceaccounts/certrotd"):
        plane.service_account("certrotd", "certrotd")
    objects = template(example(mode, **(OPTIONS[mode] if options else {})))
    said = apply(plane.admin, objects, tmp_path)
    assert "Warning" not in said, said
    assert said.count("server dry run") == len(objects)


def test_a_field_that_does_not_exist_is_refused(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """The control of the validation."""
    ensure(control_plane, "certrotd", "shop")
    objects = template(example("cronjob", extraObjects=[{**ROOTS, "dat": {}}]))
    with pytest.raises(AssertionError, match='unknown field "dat"'):
        apply(control_plane.admin, objects, tmp_path)


ROOTS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}}


def apply(who: Credentials, objects: Sequence[Object], tmp_path: Path) -> str:
    """What kubectl says of objects that it only shows the server."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    options = ("--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    return kubectl(who, tmp_path, "apply", *options, stdin=content)
