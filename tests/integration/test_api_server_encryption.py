"""Keys of a real API server, which encrypts Secrets in etcd with them, rotated by stages."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.parts.kubernetes import ControlPlane
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.timeout(900)
DEFAULT = "/api/v1/namespaces/default/secrets"


class Peer(ControlPlane):
    """Another API server of the same etcd, with an authority of its own."""

    def __init__(self, directory: Path, *, beside: ControlPlane, flags: Sequence[str]) -> None:
        super().__init__(directory, flags=flags)
        self.etcd = beside.etcd

    def stop(self) -> None:
        """Its etcd goes on."""
        self.kill()


def flags(config: Path, *, reload: bool) -> list[str]:
    """Those that have an API server encrypt."""
    return [
        f"--encryption-provider-config={config}",
        f"--encryption-provider-config-automatic-reload={str(reload).lower()}",
    ]


class Cluster:
    """The site's keyring ``cluster``, written to a file for each API server."""

    def __init__(self, site: Site, algorithm: str, provider: str) -> None:
        self.site, self.provider = site, provider
        self.entry: dict[str, Any] = {"algorithm": algorithm, "outputs": [], "consumers": {}}
        site.config["keks"] = {"local": {"type": "file", "path": str(site.directory / "kek")}}
        site.config["keyrings"] = {"cluster": self.entry}

    def output(self, name: str) -> Path:
        """Another file of the keyring."""
        folder = self.site.directory / name
        folder.mkdir()
        path = folder / "encryption.yaml"
        self.entry["outputs"].append(
            {
                "type": "kubernetes-encryption-configuration",
                "path": str(path),
                "provider": self.provider,
            }
        )
        return path

    def consumer(self, name: str, plane: ControlPlane, *groups: str) -> None:
        """An API server, asked by an account that may read its metrics and nothing else."""
        who = plane.user("certrotd", *(groups or ("system:monitoring",)))
        kubeconfig = who.write_kubeconfig(self.site.directory / f"{name}.conf")
        asked = {"api_server": plane.url, "kubeconfig": str(kubeconfig)}
        self.entry["consumers"][name] = {"acknowledge": asked}

    def rotate(self) -> str:
        """What is said when a rotation is begun."""
        return self._said("keys", "rotate", "cluster", "--reason", "test")

    def go_on(self) -> str:
        """What is said when it is gone on with, as the daemon does each minute."""
        return self._said("rotate", "key/cluster")

    def _said(self, *arguments: str) -> str:
        ran = self.site.run(*arguments)
        assert "Traceback" not in ran.stderr, ran
        return ran.stdout + ran.stderr

    def states(self) -> dict[int, str]:
        """Of each version."""
        [row] = self.site.run("keys", "list", "--json").json
        return {each["version"]: each["state"] for each in row["versions"]}


def stored(plane: ControlPlane, name: str) -> bytes:
    """A Secret as etcd has it."""
    key = base64.b64encode(f"/registry/secrets/default/{name}".encode()).decode()
    request = urllib.request.Request(
        f"{plane.etcd.url}/v3/kv/range", data=json.dumps({"key": key}).encode(), method="POST"
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        [found] = json.load(answer)["kvs"]
    return base64.b64decode(found["value"])


def wait_for(cluster: Cluster, enough: Callable[[str], bool]) -> str:
    """Goes on with the rotation until what is said is enough; an API server looks each minute."""
    said: list[str] = []

    def look() -> bool:
        said.append(cluster.go_on())
        return enough(said[-1])

    wait_until(look, within=300, what="an API server reloads its configuration")
    return said[-1]


def put(plane: ControlPlane, name: str) -> None:
    """Have a Secret stored."""
    plane.api.create(DEFAULT, {"metadata": {"name": name}, "stringData": {"word": name}})


def reads(plane: ControlPlane, *names: str) -> bool:
    """Whether all of them can be read from etcd."""
    for name in names:
        found = plane.api.get(f"{DEFAULT}/{name}")
        if base64.b64decode(found["data"]["word"]).decode() != name:
            return False
    return True


def test_an_api_server_that_is_restarted_reads_first_and_then_writes_with_a_new_key(
    site: Site, tmp_path: Path
) -> None:
    """By the prefix of what it has stored; the metric that it starts with is its word."""
    cluster = Cluster(site, "xsalsa20-poly1305", "secretbox")
    config = cluster.output("cp1")
    plane = ControlPlane(tmp_path / "plane", flags=flags(config, reload=False))
    cluster.consumer("cp1", plane)
    assert "cp1, which cannot be asked" in cluster.rotate()
    with plane:
        cluster.go_on()
        assert cluster.states() == {1: "active"}
        put(plane, "one")
        assert stored(plane, "one").startswith(b"k8s:enc:secretbox:v1:key1:")
        assert "cp1, which has other keys" in cluster.rotate()
        put(plane, "two")
        plane.restart()
        put(plane, "three")
        assert stored(plane, "three").startswith(b"k8s:enc:secretbox:v1:key1:")
        assert cluster.states() == {1: "active", 2: "secondary"}
        assert "cp1, which has other keys" in cluster.go_on()
        assert cluster.states() == {1: "decrypt-only", 2: "active"}
        plane.restart()
        assert "waits" not in cluster.go_on()
        put(plane, "four")
        assert stored(plane, "four").startswith(b"k8s:enc:secretbox:v1:key2:")
        assert reads(plane, "one", "two", "three", "four")


def test_each_of_several_api_servers_has_a_key_before_any_writes_with_it(
    site: Site, tmp_path: Path
) -> None:
    """They reload by themselves; the file of one comes late, and everything waits for it."""
    cluster = Cluster(site, "aes-256-cbc", "aescbc")
    config, late = cluster.output("cp1"), site.directory / "late.yaml"
    plane = ControlPlane(tmp_path / "cp1", flags=flags(config, reload=True))
    peer = Peer(tmp_path / "cp2", beside=plane, flags=flags(late, reload=True))
    cluster.rotate()
    shutil.copy(config, late)
    cluster.consumer("cp1", plane)
    cluster.consumer("cp2", peer)
    with plane, peer:
        put(plane, "one")
        assert "cp1" in cluster.rotate()
        told = wait_for(cluster, lambda said: "cp1" not in said)
        assert "cp2, which has other keys" in told
        assert cluster.states() == {1: "active", 2: "secondary"}
        shutil.copy(config, late)  # as an operator's own program does
        wait_for(cluster, lambda _said: cluster.states() == {1: "decrypt-only", 2: "active"})
        put(peer, "two")
        assert stored(plane, "two").startswith(b"k8s:enc:aescbc:v1:key1:")
        shutil.copy(config, late)
        wait_for(cluster, lambda said: "waits" not in said)
        for each in (plane, peer):
            name = f"by-{each.directory.name}"
            put(each, name)
            assert stored(plane, name).startswith(b"k8s:enc:aescbc:v1:key2:")
            assert reads(each, "one", "two", name)


def test_an_account_that_may_not_read_the_metrics_is_told_so(
    control_plane: ControlPlane, site: Site
) -> None:
    """Before a key is activated that nobody can see."""
    cluster = Cluster(site, "xsalsa20-poly1305", "secretbox")
    cluster.output("cp1")
    cluster.consumer("cp1", control_plane, "nobodies")
    assert "cp1, which does not let this account read /metrics" in cluster.rotate()


def test_an_api_server_that_encrypts_nothing_is_told_so(
    control_plane: ControlPlane, site: Site
) -> None:
    """It was started without --encryption-provider-config."""
    cluster = Cluster(site, "xsalsa20-poly1305", "secretbox")
    cluster.output("cp1")
    cluster.consumer("cp1", control_plane)
    assert "cp1, which does not tell apiserver_encryption_config" in cluster.rotate()
