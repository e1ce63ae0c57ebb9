"""A keyring in a Secret, whose pods are restarted at each stage, under a steady load."""

from __future__ import annotations

import base64
import json
import random
import signal
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certrotd.kek import volume
from certrotd.kube.stamps import RESTARTED_FOR
from certrotd.kube.workloads import KINDS, Reference
from certrotd.outputs.secret_entries import NEEDED
from tests.cluster.objects import Object, container, deployment, pod, secret_volume
from tests.cluster.web import RULES
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import DEBIAN
from tests.parts.process import wait_until
from tests.parts.site import Run, Site

PROGRAM = Path(__file__).with_name("keystore_app.py")
APP = Reference("deployment", "app")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READY = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}


@dataclass
class Shop:
    """The keyring ``orders`` in a Secret, and a Deployment of three pods that read it."""

    cluster: Cluster
    namespace: str
    site: Site
    entry: dict[str, Any] = field(default_factory=dict)

    def configure(self) -> None:
        """With an account that has the rights of the two pages, and no others."""
        secrets = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["app-keys"]}
        plane = self.cluster.control_plane
        who = plane.service_account(self.namespace, "certrotd")
        rules = json.loads(json.dumps(RULES[:-1]).replace('"web"', '"app"'))
        plane.allow(self.namespace, "certrotd", *rules, {**secrets, "verbs": list(NEEDED)})
        kubeconfig = str(who.write_kubeconfig(self.site.directory / "kubeconfig", self.namespace))
        secret = {"name": "app-keys", "key": "keystore.json", "kubeconfig": kubeconfig}
        self.site.config["keks"] = {
            "local": {"type": "file", "path": str(self.site.directory / "kek")}
        }
        self.site.config["targets"] = {
            "app": {
                "type": "kubernetes",
                "kubeconfig": kubeconfig,
                "workloads": [str(APP)],
                "timeout": "3m",
            }
        }
        self.entry |= {
            "outputs": [{"type": "json-keystore", "secret": secret}],
            "consumers": {"app": {"target": "app"}},
        }
        self.site.config["keyrings"] = {"orders": self.entry}

    def deploy(self, **environment: str) -> None:
        """Three pods; the keys need not be there yet."""
        mounts = [
            {"name": "app-keys", "mountPath": "/keys"},
            {"name": "code", "mountPath": "/code"},
        ]
        main = container(
            self.cluster.image(DEBIAN),
            *("python3", "/code/app.py"),
            volumeMounts=mounts,
            readinessProbe=READY,
            env=[{"name": name, "value": value} for name, value in environment.items()],
            lifecycle={"preStop": {"exec": {"command": ["sleep", "3"]}}},
        )
        code = {"name": "code", "configMap": {"name": "code"}}
        made = deployment(
            "app",
            3,
            main,
            volumes=[secret_volume("app-keys"), code],
            terminationGracePeriodSeconds=20,
        )
        made["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        program = {"app.py": PROGRAM.read_text()}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
        self.cluster.apply(self.namespace, {**config, "data": program}, made)

    def rotate(self) -> Run:
        """By hand."""
        return self.site.run("keys", "rotate", "orders", "--reason", "test")

    def states(self) -> dict[int, str]:
        """Of each version."""
        [row] = self.site.run("keys", "list", "--json").json
        return {each["version"]: each["state"] for each in row["versions"]}

    def template(self) -> Object:
        """The pod template."""
        found = self.cluster.api.get(KINDS["deployment"].path(self.namespace, "app"))
        template: Object = found["spec"]["template"]
        return template

    def revision(self) -> int:
        """How many pod templates its controller has seen."""
        found = self.cluster.api.get(KINDS["deployment"].path(self.namespace, "app"))
        return int(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"])

    def pods(self) -> list[Object]:
        """Those that are ready and not on their way out."""
        found = self.cluster.pods(self.namespace, "app=app")
        return [each for each in found if _is_ready(each)]

    def ids(self) -> set[str]:
        """What tells them apart."""
        return {each["metadata"]["uid"] for each in self.pods()}

    def keystore(self) -> dict[str, Any]:
        """What is in the Secret."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets/app-keys"
        data = self.cluster.api.get(path)["data"]["keystore.json"]
        found: dict[str, Any] = json.loads(base64.b64decode(data))
        return found

    def put(self, keystore: dict[str, Any]) -> None:
        """Somebody else writes the Secret."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets/app-keys"
        data = base64.b64encode(json.dumps(keystore).encode()).decode()
        self.cluster.api.merge(path, {"data": {"keystore.json": data}})

    @contextmanager
    def load(self) -> Iterator[Counter[str]]:
        """What one pod encrypts, each other pod decrypts; what happened, counted."""
        counts: Counter[str] = Counter()
        leave = threading.Event()

        def work() -> None:
            with self.cluster.network():
                while not leave.wait(0.02):
                    self._round(counts)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield counts
        finally:
            leave.set()
            worker.join()

    def _round(self, counts: Counter[str]) -> None:
        addresses = [each["status"]["podIP"] for each in self.pods()]
        random.shuffle(addresses)
        status, ciphertext = _post(addresses[0], "/encrypt", b"hello") if addresses else (0, b"")
        if status != 200:
            counts["not served"] += 1  # it went away just now
            return
        counts[f"written with {ciphertext.partition(b':')[0].decode()}"] += 1
        for address in addresses:
            status, plaintext = _post(address, "/decrypt", ciphertext)
            read = "read" if (status, plaintext) == (200, b"hello") else "unreadable"
            counts[read if status else "not served"] += 1


def _post(address: str, path: str, body: bytes) -> tuple[int, bytes]:
    """The status, 0 without an answer, and the content."""
    request = urllib.request.Request(f"http://{address}:8080{path}", data=body, method="POST")
    try:
        with OPENER.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return 0, b""


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    """A keyring without keys, and nobody who uses it."""
    made = Shop(cluster, namespace, Site(tmp_path / "site"))
    made.configure()
    return made


def test_every_pod_reads_what_any_writes_through_a_whole_rotation(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pods wait for the first key; each delivery restarts them once, though certrotd is killed
    in the middle of the first. And the control."""
    shop.deploy()
    first = shop.rotate()
    assert first.code == 0, first
    pods, template, revision = shop.ids(), shop.template(), shop.revision()
    assert len(pods) == 3
    with shop.load() as counts:
        begun = shop.site.start("keys", "rotate", "orders", "--reason", "test")
        wait_until(lambda: shop.template() != template, what="a restart")
        begun.signal(signal.SIGKILL)
        assert begun.end().code == -signal.SIGKILL
        assert shop.revision() <= revision + 1
        ran = shop.site.run("rotate", "key/orders")
    assert ran.code == 0, ran
    assert shop.revision() == revision + 2, "one for each stage"
    with capsys.disabled():
        print(f"\n{dict(counts)}")  # noqa: T201
    assert shop.states() == {1: "decrypt-only", 2: "active"}
    assert not pods & shop.ids()
    assert counts["unreadable"] == 0
    assert counts["written with 1"]
    assert counts["read"] > counts["not served"]
    [told] = shop.template()["metadata"]["annotations"][RESTARTED_FOR].split()
    assert told.startswith("key/orders=")
    described = shop.cluster.kubectl("describe", str(APP), f"--namespace={shop.namespace}")
    assert "certrotd restarts its pods" in described
    # the negative control: a key that encrypts before every pod has it
    strange = shop.keystore()
    strange["keys"]["3"] = {**strange["keys"]["2"], "key": "33" * 32}
    strange["currentVersion"] = 3
    shop.put(strange)
    with shop.load() as counts:
        option = f"--namespace={shop.namespace}"
        shop.cluster.kubectl("rollout", "restart", str(APP), option)
        shop.cluster.until(lambda: counts["unreadable"] > 0, what="a pod lacks a key")


def test_a_key_with_which_pods_do_not_come_up_is_never_activated(shop: Shop) -> None:
    """The Secret and the template are as they were, and every old pod is kept."""
    shop.deploy(MOST_KEYS="1")
    assert shop.rotate().code == 0
    pods, template, keystore = shop.ids(), shop.template(), shop.keystore()
    broken = shop.rotate()
    assert broken.code == 1, broken
    assert "of deployment/app fails: container main" in broken.stderr
    assert shop.states() == {1: "active", 2: "pre-active"}
    assert (shop.ids(), shop.template()) == (pods, template)
    assert shop.keystore() == keystore
    again = shop.rotate()
    assert "deployment/app" in again.stdout + again.stderr
    assert shop.states() == {1: "active", 2: "pre-active"}


LOOK = """
import json, os, pathlib, volume
found = {}
for name in ("closed", "open"):
    there = volume.entry(pathlib.Path("/", name, "kek"))
    status = os.lstat(there)
    found[name] = [len(there.read_bytes()), status.st_uid, volume.exposed(status)]
found["other"] = volume.entry(pathlib.Path("/open/..data")) is None
print(json.dumps(found))
"""


def test_a_mounted_kek_is_known_by_what_the_kubelet_makes(cluster: Cluster, namespace: str) -> None:
    """By the very code, as another user than root; a volume that all may read is the control."""
    kek = {"kek": base64.b64encode(b"k" * 32).decode()}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kek"}, "data": kek}
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code"},
        "data": {"volume.py": Path(volume.__file__).read_text(), "look.py": LOOK},
    }
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("closed", "open", "code")]
    argv = ("python3", "-B", "/code/look.py")
    looking = pod(
        "look",
        container(cluster.image(DEBIAN), *argv, volumeMounts=mounts),
        restartPolicy="Never",
        securityContext={"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
        volumes=[
            {"name": "closed", "secret": {"secretName": "kek", "defaultMode": 0o400}},
            {"name": "open", "secret": {"secretName": "kek"}},
            {"name": "code", "configMap": {"name": "code"}},
        ],
    )
    cluster.apply(namespace, made, code, looking)
    path = f"/api/v1/namespaces/{namespace}/pods/look"
    cluster.until(
        lambda: cluster.api.get(path)["status"]["phase"] in ("Succeeded", "Failed"),
        what="it has looked",
        namespace=namespace,
    )
    said = cluster.api.get(f"{path}/log")
    found = said if "closed" in said else json.loads(said["text"])
    assert found == {
        "closed": [32, 0, None],
        "open": [32, 0, "can be read or written by others than its owner and its pod's group"],
        "other": True,
    }
