"""An application of one key in pods is cut over: they go, and as many come back with the key."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from certrotd.kube.scaling import REPLICAS
from certrotd.kube.workloads import KINDS
from certrotd.outputs.secret_entries import NEEDED
from tests.cluster.objects import Object, container, deployment, secret_volume, shell
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import BUSYBOX, DEBIAN
from tests.parts.process import free_port, wait_until
from tests.parts.site import Run, Site

ROWS = 60
WORKERS = 2
PAGE = Path(__file__).parents[2] / "docs/keys/cut-over.md"


PROGRAM = Path(__file__).with_name("one_key_app.py")


def rules() -> list[Object]:
    """What the page has the account be given."""
    blocks = PAGE.read_text().split("```yaml\n")[1:]
    found = [yaml.safe_load(each.partition("```")[0]) for each in blocks]
    [listed] = [each for each in found if isinstance(each, list)]
    return listed


class Shop:
    """The keyring ``shop`` in a Secret; a web application of one pod, and its workers."""

    def __init__(self, cluster: Cluster, namespace: str, site: Site) -> None:
        self.cluster, self.namespace, self.site = cluster, namespace, site
        self.port = free_port()
        self.database = site.directory / "data/app.db"
        self.database.parent.mkdir()
        self._configure()

    def _configure(self) -> None:
        """With an account that has the rights of the page for these workloads, and no others."""
        plane = self.cluster.control_plane
        who = plane.service_account(self.namespace, "certrotd")
        given = json.loads(json.dumps(rules()).replace('"tickets', '"app'))
        secrets = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["app-keys"]}
        plane.allow(self.namespace, "certrotd", *given, {**secrets, "verbs": list(NEEDED)})
        kubeconfig = str(who.write_kubeconfig(self.site.directory / "kubeconfig", self.namespace))
        secret = {"name": "app-keys", "key": "env", "kubeconfig": kubeconfig}
        output = {"type": "dotenv", "secret": secret, "key": "ENCRYPTION_KEY"}
        dataset = {"type": "sql", "url": f"sqlite:///{self.database}", "table": "secrets"}
        self.site.config["keks"] = {
            "local": {"type": "file", "path": str(self.site.directory / "kek")}
        }
        self.site.config["keyrings"] = {
            "shop": {
                "algorithm": "fernet",
                "outputs": [{**output, "encoding": "base64url"}],
                "datasets": {
                    "secrets": {**dataset, "columns": ["secret"], "codec": "fernet", "batch": 7}
                },
                "cutover": {
                    "scale": {
                        "kubeconfig": kubeconfig,
                        "namespace": self.namespace,
                        "workloads": ["deployment/app-worker", "deployment/app"],
                    },
                    "timeout": "5m",
                    "probe": {
                        "http": f"http://127.0.0.1:{self.port}/reads",
                        "contains": "readable",
                        "within": "2m",
                    },
                },
            }
        }

    def fill(self) -> None:
        """Values under the first key."""
        cipher = self.cipher()
        with closing(sqlite3.connect(self.database)) as lite, lite:
            lite.execute("create table secrets (id integer primary key, secret text)")
            tokens = [(n, cipher.encrypt(b"value %d" % n).decode()) for n in range(ROWS)]
            lite.executemany("insert into secrets values (?, ?)", tokens)

    def deploy(self) -> None:
        """The application in the network of the node, and pods that only are there."""
        argv = ("python3", "/code/app.py", str(self.port), "/keys/env", "/data/app.db")
        mounts = {"code": "/code", "app-keys": "/keys", "data": "/data"}
        main = container(
            self.cluster.image(DEBIAN),
            *argv,
            volumeMounts=[{"name": n, "mountPath": path} for n, path in mounts.items()],
        )
        data = {"path": str(self.database.parent), "type": "Directory"}
        volumes: list[Object] = [
            secret_volume("app-keys"),
            {"name": "code", "configMap": {"name": "code"}},
            {"name": "data", "hostPath": data},
        ]
        app = deployment("app", 1, main, volumes=volumes, hostNetwork=True)
        app["spec"]["strategy"] = {"type": "Recreate"}
        worker = container(self.cluster.image(BUSYBOX), *shell("while :; do sleep 1; done"))
        code = {"app.py": PROGRAM.read_text()}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
        workers = deployment("app-worker", WORKERS, worker)
        self.cluster.apply(self.namespace, {**config, "data": code}, app, workers)
        self.cluster.until(
            lambda: self.ask("/reads") == (200, b"readable") and len(self.pods()) == 1 + WORKERS,
            within=300,
            what="the application serves",
            namespace=self.namespace,
        )

    def run(self, *arguments: str) -> Run:
        ran = self.site.run(*arguments)
        assert "Traceback" not in ran.stderr + ran.stdout, ran
        return ran

    def ask(self, path: str) -> tuple[int, bytes]:
        """The status, 0 while nobody answers, and the content."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            with closing(connection):
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""

    def workload(self, name: str) -> Object:
        found: Object = self.cluster.api.get(KINDS["deployment"].path(self.namespace, name))
        return found

    def pods(self) -> set[str]:
        """Those that run and are not on their way out."""
        found = self.cluster.pods(self.namespace)
        return {
            each["metadata"]["uid"]
            for each in found
            if each["status"]["phase"] == "Running" and "deletionTimestamp" not in each["metadata"]
        }

    def cipher(self) -> Fernet:
        """By the key in the Secret."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets/app-keys"
        text = base64.b64decode(self.cluster.api.get(path)["data"]["env"]).decode()
        [line] = [each for each in text.splitlines() if "ENCRYPTION_KEY=" in each]
        return Fernet(line.partition("=")[2].strip("'\""))

    def is_whole(self) -> None:
        """The application reads, with everything under the key that it has, and is all there."""
        assert self.ask("/reads") == (200, b"readable")
        cipher = self.cipher()
        with closing(sqlite3.connect(self.database)) as lite:
            rows = lite.execute("select id, secret from secrets").fetchall()
        assert [cipher.decrypt(each.encode()) for _, each in rows] == [
            b"value %d" % n for n in range(ROWS)
        ]
        for name, wanted in (("app", 1), ("app-worker", WORKERS)):
            found = self.workload(name)
            assert found["spec"]["replicas"] == wanted
            assert REPLICAS not in (found["metadata"].get("annotations") or {})

    @contextmanager
    def load(self) -> Iterator[Counter[int]]:
        """Somebody reads all the time; the statuses, counted."""
        counts: Counter[int] = Counter()
        leave = threading.Event()

        def work() -> None:
            with self.cluster.network():
                number = 0
                while not leave.wait(0.02):
                    number = (number + 7) % ROWS
                    counts[self.ask(f"/{number}")[0]] += 1

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield counts
        finally:
            leave.set()
            worker.join()


def test_an_application_in_pods_is_cut_over_under_load_though_certrotd_is_killed(
    cluster: Cluster, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No request ever meets a key that does not fit; the former numbers of pods come back."""
    shop = Shop(cluster, namespace, Site(tmp_path / "site"))
    assert shop.run("rotate", "key/shop").code == 0
    shop.fill()
    shop.deploy()
    before, old = shop.pods(), shop.cipher()
    with shop.load() as counts:
        begun = shop.site.start("keys", "rotate", "shop", "--reason", "test")
        wait_until(lambda: shop.workload("app")["spec"]["replicas"] == 0, what="a stop", within=300)
        begun.signal(signal.SIGKILL)
        assert begun.end().code == -signal.SIGKILL
        ran = shop.run("rotate", "key/shop")
        wait_until(lambda: counts.total() > 0 and shop.ask("/1")[0] == 200, within=60)
    assert ran.code == 0, ran
    with capsys.disabled():
        print(f"\n{dict(counts)}")  # noqa: T201
    shop.is_whole()
    assert counts[200]
    assert counts[0], "it was stopped"
    assert set(counts) <= {0, 200}
    assert not before & shop.pods()
    told: Any = shop.run("keys", "list", "--json").row("shop")
    assert {each["version"]: each["state"] for each in told["versions"]}[2] == "active"
    token = shop.cipher().encrypt(b"new").decode()
    with pytest.raises(Exception):  # noqa: B017, PT011  # the control: it is another key
        old.decrypt(token.encode())
    described = cluster.kubectl("describe", "deployment/app", f"--namespace={namespace}")
    assert "certrotd takes its pods away" in described
    assert "certrotd gives its pods back" in described
