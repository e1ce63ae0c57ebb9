"""By which ways containers get at a Secret, and which of them never see a change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from certrotd.kube.mounts import is_used, renamed, uses

SECRET = "web-tls"
PLAIN = {"name": "tls", "secret": {"secretName": SECRET}}
PROJECTED = {
    "name": "tls",
    "projected": {"sources": [{"configMap": {"name": "x"}}, {"secret": {"name": SECRET}}]},
}
MOUNT = {"name": "tls", "mountPath": "/tls"}
ENV = [
    {"name": "PLAIN", "value": "x"},
    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "tls.key"}}},
]


def pod(*volumes: Any, init: bool = False, **container: Any) -> dict[str, Any]:
    """A pod of one container, and one without anything."""
    key = "initContainers" if init else "containers"
    found: dict[str, Any] = {"containers": [{"name": "idle"}], "volumes": list(volumes)}
    found.setdefault(key, []).append({"name": "main", **container})
    return found


@pytest.mark.parametrize(
    ("found", "words", "follows"),
    [
        (pod(PLAIN, volumeMounts=[MOUNT]), "main mounts it (/tls)", True),
        (pod(PROJECTED, volumeMounts=[MOUNT]), "main mounts it in a projected volume (/tls)", True),
        (
            pod(PLAIN, volumeMounts=[MOUNT | {"subPath": "tls.crt"}]),
            "main mounts it by subPath (/tls)",
            False,
        ),
        (
            pod(PROJECTED, volumeMounts=[MOUNT | {"subPathExpr": "$(POD)"}]),
            "main mounts it by subPath (/tls)",
            False,
        ),
        (pod(env=ENV), "main has it in a variable (KEY)", False),
        (pod(envFrom=[{"secretRef": {"name": SECRET}}]), "main has it in its environment", False),
        (
            pod(PLAIN, init=True, volumeMounts=[MOUNT]),
            "main reads it before the others start (/tls)",
            False,
        ),
        (
            pod(PLAIN, init=True, restartPolicy="Always", volumeMounts=[MOUNT]),
            "main mounts it (/tls)",
            True,
        ),
    ],
)
def test_each_way_to_a_secret_is_found(found: Any, words: str, follows: bool) -> None:
    """Those that never see a change are told apart."""
    [use] = uses(found, SECRET)
    assert str(use) == f"container {words}"
    assert use.follows is follows
    assert is_used(found, SECRET)


@pytest.mark.parametrize(
    "found",
    [
        {},
        pod(PLAIN),  # no container mounts it
        pod(PLAIN | {"secret": {"secretName": "other"}}, volumeMounts=[MOUNT]),
        pod({"name": "tls", "emptyDir": {}}, volumeMounts=[MOUNT]),
        pod({"name": "tls", "projected": {"sources": [{}]}}, volumeMounts=[MOUNT]),
        pod(env=[{"name": "A"}, {"name": "B", "valueFrom": {"fieldRef": {}}}]),
        pod(envFrom=[{"configMapRef": {"name": SECRET}}]),
    ],
)
def test_what_does_not_use_the_secret_is_not_found(found: Any) -> None:
    """The negative control."""
    assert not is_used(found, SECRET)


def test_all_uses_of_all_containers_are_listed() -> None:
    """Init containers first, as they run."""
    found = pod(PLAIN, env=ENV, volumeMounts=[MOUNT])
    found["initContainers"] = [{"name": "copy", "volumeMounts": [MOUNT]}]
    assert [(use.container, use.how) for use in uses(found, SECRET)] == [
        ("copy", "init"),
        ("main", "volume"),
        ("main", "env"),
    ]


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        (pod(PLAIN, volumeMounts=[MOUNT]), ["volumes"]),
        (pod(PROJECTED, volumeMounts=[MOUNT]), ["volumes"]),
        (pod(env=ENV), ["containers"]),
        (pod(envFrom=[{"secretRef": {"name": SECRET}}]), ["containers"]),
        (pod(PLAIN, init=True, env=ENV), ["volumes", "initContainers"]),
        (pod(envFrom=[{"configMapRef": {"name": SECRET}}]), []),
        ({}, []),
    ],
)
def test_a_secret_is_renamed_wherever_it_is_named(found: Any, changed: list[str]) -> None:
    """Only the lists that have it are written; and back again."""
    before = copy.deepcopy(found)
    after = renamed(found, {SECRET: "gen-1", "other": "x"})
    assert list(after) == changed
    assert found == before
    assert SECRET not in str({**found, **after}) or not changed
    back = renamed({**found, **after}, {"gen-1": SECRET})
    assert {**found, **after, **back} == before
