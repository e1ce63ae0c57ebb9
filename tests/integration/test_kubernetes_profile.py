"""A real API server with a key of its operator's, adopted by the profile ``kubernetes``."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from tests.integration.test_api_server_encryption import flags, put, reads, stored
from tests.integration.test_api_server_reencryption import allow
from tests.parts.kubernetes import ControlPlane
from tests.parts.site import Site

pytestmark = pytest.mark.timeout(900)
NAMES = [f"s{number}" for number in range(5)]


def configuration(path: Path) -> None:
    """As an operator has written it."""
    key = {"name": "operator", "secret": base64.b64encode(bytes(range(32))).decode()}
    rule = {
        "resources": ["secrets"],
        "providers": [{"secretbox": {"keys": [key]}}, {"identity": {}}],
    }
    told = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
    path.write_text(yaml.safe_dump({**told, "resources": [rule]}, sort_keys=False))
    path.chmod(0o600)


def test_an_api_server_is_adopted_by_its_profile_and_its_objects_come_under_a_new_key(
    site: Site, tmp_path: Path
) -> None:
    """The file stays until there is a new key; then every Secret is under that, as etcd shows."""
    config = site.directory / "encryption.yaml"
    configuration(config)
    plane = ControlPlane(tmp_path / "plane", flags=flags(config, reload=False))
    accounts = {
        option: plane.user(name, group).write_kubeconfig(site.directory / f"{name}.conf")
        for option, name, group in (
            ("kubeconfig", "certrotd", "system:monitoring"),
            ("rewriter_kubeconfig", "rewriter", "rewriters"),
        )
    }
    site.config["keks"] = {"local": {"type": "file", "path": str(site.directory / "kek")}}
    (site.directory / "conf.d").mkdir()

    def under(name: str) -> bool:
        return all(
            stored(plane, n).startswith(f"k8s:enc:secretbox:v1:{name}:".encode()) for n in NAMES
        )

    with plane:
        for name in NAMES:
            put(plane, name)
        assert under("operator")
        allow(plane)
        before = config.read_bytes()
        options = [f"--set={name}={path}" for name, path in accounts.items()]
        options += [f"--set=api_server={plane.url}", "--set=resources=secrets", "--write"]
        told = site.run(
            "keys", "adopt", "cluster", "--profile", "kubernetes", "--from", str(config), *options
        )
        assert told.code == 0, told
        assert config.read_bytes() == before
        for arguments in (
            ["keys", "rotate", "cluster", "--reason", "test"],
            *[["rotate", "key/cluster"]] * 2,
        ):
            site.run(*arguments)
            plane.restart()
        done = site.run("keys", "reencrypt", "cluster")
        assert done.code == 0, done
        [row] = site.run("keys", "reencrypt", "cluster", "--dry-run", "--json").json
        counts = {each["key_id"]: each["count"] for each in row["values"]}
        assert counts.pop("operator") == 0
        [(new, count)] = counts.items()
        assert count >= len(NAMES)
        assert under(str(new))
        assert reads(plane, *NAMES)
