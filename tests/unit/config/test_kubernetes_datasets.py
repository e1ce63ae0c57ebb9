"""Datasets of type kubernetes: what is refused, in words that say what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.config.test_datasets import problems

OUTPUT = {"type": "kubernetes-encryption-configuration", "path": "/srv/enc.yaml"}
CONSUMERS = {"cp1": {"acknowledge": {"api_server": "https://10.0.0.11:6443"}}}
KEYRING: dict[str, Any] = {
    "algorithm": "xsalsa20-poly1305",
    "outputs": [OUTPUT],
    "consumers": CONSUMERS,
}
ETCD = "https://127.0.0.1:2379"


@pytest.mark.parametrize(
    ("changes", "keyring", "words"),
    [
        ({}, {}, ""),
        ({"namespaces": ["shop", "web"], "etcd": {"endpoint": ETCD}}, {}, ""),
        ({"etcd": {"endpoint": "http://localhost:2379"}}, {}, ""),
        ({"etcd": {"endpoint": "http://10.0.0.1:2379"}}, {}, "http only on this machine"),
        ({"etcd": {"endpoint": "10.0.0.1:2379"}}, {}, "must be an address such as"),
        ({"etcd": {"endpoint": f"{ETCD}/v3"}}, {}, "must be an address such as"),
        ({"etcd": {"endpoint": ETCD, "cert": "/srv/a.crt"}}, {}, "cert and key"),
        ({"resources": []}, {}, "resources"),
        ({"resources": ["Secret"]}, {}, "as EncryptionConfiguration names it"),
        ({"resources": ["*.*"]}, {}, "as EncryptionConfiguration names it"),
        ({"resources": ["configmaps"]}, {}, "no output has configmaps among its resources"),
        (
            {"resources": ["configmaps", "widgets.example.com"]},
            {"outputs": [{**OUTPUT, "resources": ["configmaps", "widgets.example.com"]}]},
            "",
        ),
        ({"namespaces": ["a b"]}, {}, "namespaces"),
        ({"objects_per_second": 0}, {}, "objects_per_second"),
        ({"context": "admin"}, {}, "kubeconfig"),
        ({}, {"outputs": []}, "no output of type kubernetes-encryption-configuration"),
        ({}, {"consumers": {}}, "each API server must confirm"),
        ({}, {"cutover": {}}, "cutover"),
    ],
)
def test_what_is_wrong_is_refused(
    tmp_path: Path, changes: dict[str, Any], keyring: dict[str, Any], words: str
) -> None:
    """At its line, and what would be right."""
    told = problems(
        tmp_path, {"type": "kubernetes", **changes}, bare=True, **{**KEYRING, **keyring}
    )
    assert words in told
    assert bool(told) is bool(words), told
