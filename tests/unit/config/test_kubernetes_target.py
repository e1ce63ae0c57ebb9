"""What an entry of a target ``kubernetes`` may say, and the line that tells what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.config.load import check
from certrotd.config.targets import KubernetesEntry, TargetEntry
from tests.unit.config.written import MINIMAL, config, refused, said, write

TARGET = MINIMAL + "targets:\n  shop:\n    type: kubernetes\n    %s\n"
KIND = "must be KIND/NAME, where KIND is deployment, statefulset or daemonset, such as deployment/"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "wave: 1",
            "6: targets.shop: needs workloads, a selector or mounting, such as workloads: [",
        ),
        ("selector: a\n    mode: exec", "6: targets.shop: needs mode: exec and command together"),
        ("selector: a\n    command: [a]", "6: targets.shop: needs mode: exec and command together"),
        ("selector: a\n    mode: signal", "6: targets.shop: mode: signal needs files, to see when"),
        ("selector: a\n    signal: USR1", "6: targets.shop: signal is for mode: signal"),
        ("selector: a\n    files: [/a]", "6: targets.shop: files and container are for mode"),
        (
            "selector: a\n    container: a",
            "6: targets.shop: files and container are for mode",
        ),
        (
            "selector: a\n    secret: versioned\n    mode: signal\n    files: [/a]",
            "6: targets.shop: secret: versioned needs mode: restart",
        ),
        (
            "selector: a\n    mode: none",
            "6: targets.shop: mode: none needs pod_probe",
        ),
        ("workloads: []", "6: targets.shop: needs workloads, a selector or mounting"),
        ("workloads: [pod/web]", f'8: targets.shop.workloads[0]: {KIND}web, got "pod/web"'),
        ("workloads: [web]", f"8: targets.shop.workloads[0]: {KIND}"),
        ("workloads: [deployment/Web]", f"8: targets.shop.workloads[0]: {KIND}"),
        ("workloads: [deployment/a/b]", f"8: targets.shop.workloads[0]: {KIND}"),
        (
            "workloads: [deployment/web, daemonset/web, deployment/web]",
            "6: targets.shop: has deployment/web twice in workloads: write it once",
        ),
        ("selector: app = web = x", "8: targets.shop.selector: must be a label selector as kubec"),
        ("selector: 'app in ()x'", "8: targets.shop.selector: must be a label selector"),
        ("selector: ''", "8: targets.shop.selector: must be"),
        ("selector: 'a,,b'", "8: targets.shop.selector: must be a label selector"),
        (
            "selector: a\n    namespace: Shop",
            "9: targets.shop.namespace: must be the name of a namespace: lower-case letters",
        ),
        (
            "selector: a\n    context: x",
            "6: targets.shop: context is given, but kubeconfig (the file that has it) is not",
        ),
        ("selector: a\n    kubeconfig: x", "9: targets.shop.kubeconfig: must be an absolute path"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(
    tmp_path: Path, entry: str, expected: str
) -> None:
    """At its line."""
    [line] = said(refused(tmp_path, TARGET % entry))
    assert line.startswith(expected)


@pytest.mark.parametrize(
    "selector",
    [
        "app=web",
        "app==web",
        "app!=web",
        "app",
        "!app",
        "app in (web, api)",
        "app notin (web)",
        "example.com/tier=edge,app",
        "app=web, tier in (a,b),!canary",
        "app=",
    ],
)
def test_selectors_are_written_as_for_kubectl(tmp_path: Path, selector: str) -> None:
    """With all that the API takes in a list."""
    found = config(tmp_path, TARGET % f"selector: '{selector}'").targets["shop"]
    assert isinstance(found, KubernetesEntry)
    assert found.selector == selector


def test_what_it_says_not_is_by_default(tmp_path: Path) -> None:
    """The pod's own account and namespace, and ten minutes."""
    entry = config(tmp_path, TARGET % "workloads: [statefulset/my.db]").targets["shop"]
    assert isinstance(entry, KubernetesEntry)
    assert (entry.workloads, entry.selector) == (("statefulset/my.db",), None)
    assert (entry.namespace, entry.kubeconfig, entry.context) == (None, None, None)
    assert entry.timeout.total_seconds() == 600


def test_a_kubeconfig_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """By a check; the file may come later."""
    text = TARGET % f"selector: a\n    kubeconfig: {tmp_path}/gone"
    problems, _ = check(write(tmp_path, text))
    [line] = [str(each).partition(": ")[2] for each in problems]
    gone = f"{tmp_path}/gone cannot be read: No such file or directory"
    assert line == f"targets.shop.kubeconfig: {gone}"


def test_what_finds_workloads_by_a_secret_needs_one(tmp_path: Path) -> None:
    """A certificate in files has none; one in a Secret has."""
    targets = "targets: {shop: {type: kubernetes, mounting: true}}\n"
    uses = "defaults: {targets: [shop]}\n"
    [problem] = refused(tmp_path, targets + uses + MINIMAL)
    assert (problem.path, problem.message) == (
        "certificates[web].store",
        'is required: the target "shop" has mounting, which is about its Secret',
    )
    kept = MINIMAL + "  store: {type: kubernetes, secret: web-tls}\n"
    assert config(tmp_path, targets + uses + kept).targets
    assert config(tmp_path, targets + uses + MINIMAL + "  targets: []\n").targets


@pytest.mark.parametrize(
    ("entry", "seconds"),
    [
        ({"type": "command", "command": ["/bin/true"], "timeout": "30m"}, 120),
        ({"type": "kubernetes", "workloads": ["deployment/a"], "timeout": "10s"}, 120),
        ({"type": "kubernetes", "workloads": ["deployment/a", "deployment/b"]}, 2400),
        ({"type": "kubernetes", "workloads": ["deployment/a"], "timeout": "10h"}, 3600),
        ({"type": "kubernetes", "selector": "a=b", "timeout": "10s"}, 3600),
        ({"type": "kubernetes", "workloads": ["deployment/a"], "mounting": True}, 3600),
    ],
)
def test_a_rotation_waits_as_long_as_a_rollout_for_another_one_may_take(
    entry: dict[str, Any], seconds: float
) -> None:
    """How many workloads a selector finds nobody knows before; an hour of a slot is enough."""
    assert TypeAdapter(TargetEntry).validate_python(entry).lock_wait == seconds


def test_pods_that_mount_generations_get_nothing_but_the_pair(tmp_path: Path) -> None:
    """Another key of the live Secret would be missing from their volumes."""
    targets = "targets: {shop: {type: kubernetes, selector: a, secret: versioned}}\n"
    targets += "defaults: {targets: [shop]}\n"
    [problem] = refused(tmp_path, targets + MINIMAL)
    assert (problem.path, problem.message) == (
        "certificates[web].store",
        'is required: the target "shop" has secret: versioned, which is about its Secret',
    )
    kept = targets + MINIMAL + "  store: {type: kubernetes, secret: web-tls%s}\n"
    assert config(tmp_path, kept % "").targets
    [problem] = refused(tmp_path, kept % ", keys: [combined.pem]")
    assert problem.path == "certificates[web].store.keys"
    assert problem.message.startswith('must be left out: the target "shop" has secret: versioned')
