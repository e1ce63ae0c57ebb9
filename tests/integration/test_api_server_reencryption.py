"""Objects of a real API server are written anew under a new key, as etcd shows."""

from __future__ import annotations

import base64
import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.integration.test_api_server_encryption import Cluster, flags
from tests.parts.kubernetes import ApiError, ControlPlane
from tests.parts.kubernetes.chart import one, rewriting, template
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.timeout(900)
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICY = "/apis/admissionregistration.k8s.io/v1"
SPACES, EACH = ("default", "shop", "shop-eu"), 40
OLD, NEW = b"k8s:enc:secretbox:v1:key1:", b"k8s:enc:secretbox:v1:key2:"


class Objects:
    """Secrets and ConfigMaps of an API server, and what etcd has of them."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def fill(self) -> None:
        """Of several kinds: immutable ones, typed ones, with labels."""
        for space in SPACES[1:]:
            self.plane.api.create("/api/v1/namespaces", {"metadata": {"name": space}})
        for space in SPACES:
            for number in range(EACH):
                told: dict[str, Any] = {
                    "metadata": {"name": f"s{number}", "labels": {"number": str(number)}},
                    "stringData": {"word": f"{space} {number}"},
                    "immutable": number % 7 == 0,
                }
                self.plane.api.create(f"/api/v1/namespaces/{space}/secrets", told)
            told = {"metadata": {"name": "c"}, "data": {"word": space}}
            self.plane.api.create(f"/api/v1/namespaces/{space}/configmaps", told)

    def all(self) -> dict[str, Any]:
        """Every one as it is, without the revision."""
        found = {}
        for kind in ("secrets", "configmaps"):
            for each in self.plane.api.get(f"/api/v1/{kind}")["items"]:
                told = each["metadata"]
                told.pop("resourceVersion")
                found[f"{kind}/{told['namespace']}/{told['name']}"] = each
        return found

    def stored(self) -> dict[str, bytes]:
        """What etcd has, by kind, namespace and name."""
        found = {}
        for kind in ("secrets", "configmaps"):
            begin = f"/registry/{kind}/"
            asked = {"key": begin, "range_end": begin[:-1] + "0"}
            coded = {name: base64.b64encode(e.encode()).decode() for name, e in asked.items()}
            request = urllib.request.Request(
                f"{self.plane.etcd.url}/v3/kv/range", json.dumps(coded).encode(), method="POST"
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=60) as answer:
                for each in json.load(answer)["kvs"]:
                    key = base64.b64decode(each["key"]).decode().removeprefix("/registry/")
                    found[key] = base64.b64decode(each["value"])
        return found

    def under(self, beginning: bytes) -> set[str]:
        """What is stored under a key."""
        return {name for name, value in self.stored().items() if value.startswith(beginning)}


@pytest.fixture
def cluster(site: Site, tmp_path: Path) -> Iterator[tuple[Cluster, Objects]]:
    """An API server with objects under the first key, whose second one is active."""
    cluster = Cluster(site, "xsalsa20-poly1305", "secretbox")
    config = cluster.output("cp1")
    cluster.entry["outputs"][0]["resources"] = ["secrets", "configmaps"]
    plane = ControlPlane(tmp_path / "plane", flags=flags(config, reload=False))
    cluster.consumer("cp1", plane)
    rewriter = plane.user("rewriter", "rewriters")
    cluster.entry["datasets"] = {"objects": {
        "type": "kubernetes",
        "kubeconfig": str(rewriter.write_kubeconfig(site.directory / "rewriter.conf")),
        "resources": ["secrets", "configmaps"],
        "objects_per_second": 60,
    }}  # fmt: skip
    cluster.rotate()
    with plane:
        cluster.go_on()
        found = Objects(plane)
        found.fill()
        cluster.rotate()
        plane.restart()
        cluster.go_on()
        plane.restart()
        yield cluster, found


def allow(plane: ControlPlane) -> None:
    """Give the account the rights that the Helm chart gives, in force when this returns."""
    rules = one(template(rewriting()), "ClusterRole")["rules"]
    role = {"metadata": {"name": "rewriter"}, "rules": rules}
    plane.api.create(f"{RBAC}/clusterroles", role)
    binding = {
        "metadata": {"name": "rewriter"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "rewriter"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                      "name": "rewriters"}],
    }  # fmt: skip
    plane.api.create(f"{RBAC}/clusterrolebindings", binding)


def look(cluster: Cluster) -> dict[str, Any]:
    """What a dry run says of the dataset."""
    [told] = cluster.site.run("keys", "reencrypt", "cluster", "--dry-run", "--json").json
    counts = {each["version"]: each["count"] for each in told.get("values", [])}
    return {**told, "counts": counts}


def refuse(plane: ControlPlane, name: str) -> None:
    """Have nobody write Secrets of that name any more, in force when this returns."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["secrets"]}  # fmt: skip
    told = {"expression": f"object.metadata.name != '{name}'", "message": "nobody touches this"}
    policy = {
        "metadata": {"name": "sealed"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [told]},
    }
    binding = {"metadata": {"name": "sealed"},
               "spec": {"policyName": "sealed", "validationActions": ["Deny"]}}  # fmt: skip
    plane.api.create(f"{POLICY}/validatingadmissionpolicies", policy)
    plane.api.create(f"{POLICY}/validatingadmissionpolicybindings", binding)
    wait_until(lambda: is_refused(plane, name), what="the policy is in force")


def is_refused(plane: ControlPlane, name: str) -> bool:
    path, change = (
        f"/api/v1/namespaces/default/secrets/{name}",
        {"metadata": {"labels": {"a": "b"}}},
    )
    try:
        plane.api.merge(path, change, dryRun="All")
    except ApiError:
        return True
    return False


class Others:
    """Somebody who writes Secrets of the namespace shop meanwhile."""

    def __init__(self, plane: ControlPlane) -> None:
        self.written: set[str] = set()
        self._plane = plane
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        path, number = "/api/v1/namespaces/shop/secrets", 0
        while not self._over.wait(0.05):
            number += 1
            name = f"s{8 + number % 20}" if number % 2 else f"new{number}"
            labels = {"metadata": {"name": name, "labels": {"by": f"others{number}"}}}
            with suppress(ApiError):
                if number % 2:
                    self._plane.api.merge(f"{path}/{name}", labels)
                else:
                    self._plane.api.create(path, labels)
                self.written.add(f"secrets/shop/{name}")


def test_every_object_is_under_the_new_key_in_the_end_and_none_has_changed(
    cluster: tuple[Cluster, Objects],
) -> None:
    """While others write, and it is killed; both methods of the census say what etcd has.

    What the API server refuses to write is named, and keeps the old key; the others are done.
    """
    keyring, objects = cluster
    plane, site, dataset = objects.plane, keyring.site, keyring.entry["datasets"]["objects"]
    assert "may not list secrets in all namespaces" in str(look(keyring)["problems"])
    allow(plane)
    wait_until(lambda: not look(keyring)["problems"], what="the rights are in force")
    before, total = objects.all(), len(objects.stored())
    told = look(keyring)
    assert (told["counts"], told["of"]) == ({1: total, 2: 0}, "objects")
    assert objects.under(NEW) == set()

    refuse(plane, "s7")
    refused = {f"secrets/{space}/s7" for space in SPACES}
    with Others(plane) as others:
        for more in (20, 60):
            started = site.start("rotate", "key/cluster")
            wait_until(
                lambda: started.is_over or len(objects.under(NEW) - others.written) > more  # noqa: B023
            )
            started.signal(signal.SIGKILL)
            started.end()
        left = objects.under(OLD)
        assert left > refused, "it was killed before its end"
        assert look(keyring)["counts"][1] >= len(left), "a census never says too little"
        ran = site.run("keys", "reencrypt", "cluster")
    assert ran.code == 1, ran
    assert "3 values of objects cannot be re-encrypted" in ran.stderr
    assert "secrets/default/s7" in ran.stderr
    assert "nobody touches this" in ran.stderr
    assert objects.under(OLD) == refused, "read from etcd"
    assert look(keyring)["counts"][1] == 3
    dataset["etcd"] = {"endpoint": plane.etcd.url}
    told = look(keyring)
    assert (told["counts"][1], told["counted"]) == (3, "by the beginnings of all values in etcd")

    plane.api.delete(f"{POLICY}/validatingadmissionpolicybindings/sealed")
    wait_until(lambda: not is_refused(plane, "s7"), what="the policy is gone")
    assert site.run("keys", "reencrypt", "cluster").code == 0
    stored = objects.stored()
    assert objects.under(NEW) == set(stored)
    assert look(keyring)["counts"] == {1: 0, 2: len(stored)}
    dataset["etcd"] = {"endpoint": "http://127.0.0.1:1"}
    assert "etcd" in str(look(keyring)["problems"])
    del dataset["etcd"]
    told = look(keyring)
    assert told["counts"] == {1: 0, 2: len(stored)}
    assert told["counted"] == "by the API server's acknowledgement of each object's rewriting"
    after = objects.all()
    for name, was in before.items():
        if name not in others.written:
            assert after[name] == was, name
