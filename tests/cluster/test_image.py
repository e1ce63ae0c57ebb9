"""certrotd's image, in pods that have no rights at all and a root nobody can write to."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.cluster.objects import Object, container, pod
from tests.cluster.test_parts import await_pods
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import CERTROTD
from tests.parts.kubernetes.isolation import TESTS_ADDRESS

HARDENED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
STATE = "/var/lib/certrotd"
MOUNTS = [
    {"name": "state", "mountPath": STATE},
    {"name": "config", "mountPath": "/etc/certrotd"},
    {"name": "scripts", "mountPath": "/scripts"},
]
VOLUMES: list[Object] = [
    {"name": "state", "emptyDir": {}},
    {"name": "config", "configMap": {"name": "config"}},
    {"name": "scripts", "configMap": {"name": "scripts", "defaultMode": 0o555}},
]
CONFIG = {
    "issuers": {"ca": {"type": "internal"}},
    "targets": {"leaves": {"type": "command", "command": ["/scripts/orphan"]}},
    "certificates": [
        {"name": "web", "names": ["web.test"], "issuer": "ca", "targets": ["leaves"]},
    ],
}
# It ends before its child does, which is then a child of the first process.
ORPHAN = "#!/bin/sh\n(sleep 1; :) >/dev/null 2>&1 &\n"
# The modules of certrotd, those of them that are not compiled, and whether the extras are there.
LOOK = """
import importlib.util, pathlib
import boto3, azure.identity, azure.keyvault.keys, google.cloud.kms, sqlalchemy, psycopg
import apprise, nacl, pyrage, shamir_mnemonic
import certrotd
found = [*pathlib.Path(certrotd.__file__).parent.rglob("*.py")]
compiled = map(pathlib.Path, map(importlib.util.cache_from_source, found))
print(len(found) > 100, sum(not each.exists() for each in compiled))
"""
CAPABILITIES = "grep ^Cap /proc/1/status | cut -f 2 | sort -u"
WRITE = "for d in / /opt/certrotd /tmp /etc; do touch $d/x 2>&1 | grep -o 'Read-only'; done"


def config_map(name: str, **data: str) -> Object:
    """Files to mount."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def certrotd(cluster: Cluster, *arguments: str, **fields: object) -> Object:
    """A container of the image, by its own entry point; fields: of the container."""
    made = container(cluster.image(CERTROTD), volumeMounts=MOUNTS, securityContext=HARDENED)
    del made["command"]
    return made | {"args": list(arguments)} | fields


def started(cluster: Cluster, namespace: str, name: str, *arguments: str) -> None:
    """A pod of the image alone, which ends with its first process."""
    files = config_map("config", **{"config.yaml": json.dumps(CONFIG)})
    made = pod(name, certrotd(cluster, *arguments), volumes=VOLUMES, restartPolicy="Never")
    made["spec"] |= {"securityContext": {"fsGroup": 65532}, "terminationGracePeriodSeconds": 300}
    cluster.apply(namespace, files, config_map("scripts", orphan=ORPHAN), made)


def ended(cluster: Cluster, namespace: str, name: str) -> int:
    """The exit code of the pod's container, once it has one."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"

    def state() -> Object:
        [status] = cluster.api.get(path)["status"].get("containerStatuses") or [{"state": {}}]
        found: Object = status["state"]
        return found

    cluster.until(lambda: "terminated" in state(), what="it ends", namespace=namespace)
    return int(state()["terminated"]["exitCode"])


def test_a_command_ends_with_what_it_has_done(cluster: Cluster, namespace: str) -> None:
    """Everything it writes is in the volume of its state."""
    started(cluster, namespace, "once", "rotate", "--all", "--json")
    code = ended(cluster, namespace, "once")
    log = cluster.kubectl("logs", "once", f"--namespace={namespace}")
    assert code == 0, log
    assert '"web"' in log


@pytest.fixture
def daemon(cluster: Cluster, namespace: str) -> Iterator[list[str]]:
    """What runs a program in the pod of a daemon that has rotated a certificate."""
    started(cluster, namespace, "daemon")
    await_pods(cluster, namespace, "daemon")
    options = ["daemon", f"--namespace={namespace}"]
    cluster.until(
        lambda: "web: done" in cluster.kubectl("logs", *options),
        what="a rotation",
        namespace=namespace,
    )
    yield ["exec", *options, "--"]
    options.append("--grace-period=0")
    cluster.kubectl("delete", "pod", *options, "--force")


def test_the_daemon_is_the_first_process_and_leaves_nothing_behind(
    cluster: Cluster, namespace: str, daemon: list[str]
) -> None:
    """It is nobody's, writes nowhere but to its state, reaps orphans and ends on SIGTERM."""

    def run(*argv: str) -> str:
        return cluster.kubectl(*daemon, *argv)

    def left() -> set[str]:  # zombies have their names still, and others may end meanwhile
        return {*run("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; :").split()} & {
            "orphan",
            "sleep",
        }

    cluster.until(lambda: not left(), what="no orphans", namespace=namespace)
    assert "certrotd" in run("cat", "/proc/1/cmdline")
    assert run("id", "-u").strip() == "65532"
    assert run("sh", "-c", WRITE).split() == ["Read-only"] * 4
    assert run("sh", "-c", CAPABILITIES).split() == ["0" * 16]
    assert run("python", "-c", LOOK).split() == ["True", "0"]
    run("sh", "-c", "kill -TERM 1")
    assert ended(cluster, namespace, "daemon") == 0


def test_a_command_that_handles_no_signal_is_ended_by_sigterm(
    cluster: Cluster, namespace: str
) -> None:
    """The kernel gives the first process of a container no default."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"{TESTS_ADDRESS}:{silent.getsockname()[1]}"
        started(cluster, namespace, "looks", "inspect", at)
        silent.settimeout(120)
        connection, _address = silent.accept()
        with connection:
            options = ("looks", f"--namespace={namespace}", "--", "sh", "-c", "kill -TERM 1")
            cluster.kubectl("exec", *options)
            assert ended(cluster, namespace, "looks") == 143
