"""The node does what tests rely on it for, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cluster.objects import container, deployment, pod, secret, secret_volume, service, shell
from tests.parts.kubernetes import Api, ApiError
from tests.parts.kubernetes.cluster import Cluster, CommandFailed
from tests.parts.kubernetes.images import BUSYBOX, DEBIAN
from tests.parts.kubernetes.isolation import TESTS_ADDRESS
from tests.parts.process import wait_until

ROOT = Path(__file__).parents[2]
HTTPD = "mkdir /tmp; hostname >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"
READY = {"httpGet": {"port": 8080}, "periodSeconds": 1}

# What a program in a pod is given to ask the API server with.
ASK = """
import ssl, sys, urllib.request
given = "/var/run/secrets/kubernetes.io/serviceaccount"
url = "https://kubernetes.default.svc" + sys.argv[1]
token = open(f"{given}/token").read()
asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
trusted = ssl.create_default_context(cafile=f"{given}/ca.crt")
try:
    print(urllib.request.urlopen(asked, context=trusted).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
API_SERVER = {"ip": "10.96.0.1", "hostnames": ["kubernetes.default.svc"]}


def fetch(address: str) -> str:
    """What a web server says at its root."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/", timeout=5) as answer:
        said: str = answer.read().decode().strip()
    return said


def is_ready(cluster: Cluster, namespace: str, name: str, count: int = 1) -> Callable[[], bool]:
    """Whether so many pods labelled app=name are ready."""

    def asked() -> bool:
        pods = cluster.pods(namespace, f"app={name}")
        states = [each["status"].get("conditions", []) for each in pods]
        return [
            any(state["type"] == "Ready" and state["status"] == "True" for state in each)
            for each in states
        ] == [True] * count

    return asked


def await_pods(cluster: Cluster, namespace: str, name: str, count: int = 1) -> None:
    """Returns once they are ready."""
    cluster.until(is_ready(cluster, namespace, name, count), what=name, namespace=namespace)


def test_three_pods_become_ready_and_share_an_address(cluster: Cluster, namespace: str) -> None:
    """Scheduler, controllers, kubelet, containerd and kube-proxy, all in one."""
    web = container(cluster.image(BUSYBOX), *shell(HTTPD), readinessProbe=READY)
    cluster.apply(namespace, deployment("web", 3, web), service("web", 8080))
    await_pods(cluster, namespace, "web", 3)
    pods = cluster.pods(namespace)
    names = {each["metadata"]["name"] for each in pods}
    assert {fetch(f"{each['status']['podIP']}:8080") for each in pods} == names
    found = cluster.api.get(f"/api/v1/namespaces/{namespace}/services/web")
    address = f"{found['spec']['clusterIP']}:8080"
    seen: set[str] = set()

    def each_was_seen() -> bool:
        seen.add(fetch(address))
        return seen == names

    cluster.until(each_was_seen, what="each pod answers behind the Service")
    cluster.api.delete(f"/api/v1/namespaces/{namespace}/services/web")
    wait_until(lambda: not answers(address), what="the Service's address is gone")


def answers(address: str) -> bool:
    """Whether a web server is there."""
    try:
        fetch(address)
    except OSError:
        return False
    return True


def test_a_pod_that_never_becomes_ready_is_told_of_in_events(
    cluster: Cluster, namespace: str
) -> None:
    """The negative control of readiness, and what a failed test prints."""
    broken = container(cluster.image(BUSYBOX), *shell("exit 1"))
    cluster.apply(namespace, deployment("broken", 1, broken))

    def is_restarted() -> bool:
        return "BackOff" in cluster.story(namespace)

    cluster.until(is_restarted, namespace=namespace, what="BackOff")
    assert not is_ready(cluster, namespace, "broken")()
    with pytest.raises(AssertionError, match="Back-off restarting failed container"):
        cluster.until(lambda: False, within=0, namespace=namespace)


def test_a_pod_may_do_what_its_account_may_and_nothing_else(
    cluster: Cluster, namespace: str
) -> None:
    """With the token that the kubelet mounts, against the address that every pod is given."""
    plane = cluster.control_plane
    plane.service_account(namespace, "reader")
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["web"]}
    plane.allow(namespace, "reader", rule)
    cluster.apply(namespace, secret("web", {"a": "b"}), secret("other", {"a": "b"}))
    nobody = {"runAsUser": 65534, "runAsNonRoot": True, "readOnlyRootFilesystem": True}
    asking = container(cluster.image(DEBIAN), "sleep", "infinity", securityContext=nobody)
    account = {"serviceAccountName": "reader", "hostAliases": [API_SERVER]}
    cluster.apply(namespace, pod("asking", asking, **account))
    await_pods(cluster, namespace, "asking")

    def asked(path: str) -> str:
        option = f"--namespace={namespace}"
        return cluster.kubectl("exec", option, "asking", "--", "python3", "-c", ASK, path).strip()

    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    assert asked(f"{secrets}/web") == "200"
    assert asked(f"{secrets}/other") == "403"
    assert asked(secrets) == "403"
    assert asked("/api/v1/nodes") == "403"


def test_a_changed_secret_reaches_a_mounted_volume(cluster: Cluster, namespace: str) -> None:
    """Through the kubelet, without a restart; where it is a subPath it never does."""
    mounts = [
        {"name": "word", "mountPath": "/whole"},
        {"name": "word", "mountPath": "/single", "subPath": "word"},
    ]
    reading = container(cluster.image(BUSYBOX), *shell("sleep 99999 & wait"), volumeMounts=mounts)
    cluster.apply(
        namespace,
        secret("word", {"word": "first"}),
        pod("reading", reading, volumes=[secret_volume("word")]),
    )
    await_pods(cluster, namespace, "reading")

    def read(path: str) -> str:
        return cluster.kubectl("exec", f"--namespace={namespace}", "reading", "--", "cat", path)

    assert (read("/whole/word"), read("/single")) == ("first", "first")
    cluster.apply(namespace, secret("word", {"word": "second"}))
    cluster.until(lambda: read("/whole/word") == "second", what="the volume changes")
    assert read("/single") == "first"
    [seen] = cluster.pods(namespace)
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0


def test_pods_reach_what_a_test_serves_on_loopback(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """At an address of its own: a CA or a name server of a test need not know of pods."""
    (tmp_path / "index.html").write_text("from the test")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://{TESTS_ADDRESS}:{server.server_port}/"
        script = f"import urllib.request; print(urllib.request.urlopen({url!r}).read().decode())"
        fetching = container(cluster.image(DEBIAN), "python3", "-c", script)
        cluster.apply(namespace, pod("fetching", fetching, restartPolicy="Never"))
        one = f"/api/v1/namespaces/{namespace}/pods/fetching"
        cluster.until(
            lambda: cluster.api.get(one)["status"]["phase"] == "Succeeded",
            what="the pod fetches",
            namespace=namespace,
        )
        assert cluster.api.get(f"{one}/log")["text"].strip() == "from the test"
        server.shutdown()


def test_helm_installs_upgrades_and_rolls_back(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """The real program, in the cluster's network; also as somebody who may not."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 0.1.0\n")
    (tmp_path / "templates/map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: small}\n"
        "data: {word: {{ .Values.word | quote }}}\n"
    )
    option = f"--namespace={namespace}"
    one = f"/api/v1/namespaces/{namespace}/configmaps/small"

    def word() -> str:
        return str(cluster.api.get(one)["data"]["word"])

    cluster.helm("install", "small", tmp_path, option, "--set=word=first")
    assert word() == "first"
    cluster.helm("upgrade", "small", tmp_path, option, "--set=word=second")
    assert word() == "second"
    cluster.helm("rollback", "small", option)
    assert word() == "first"
    listed = json.loads(cluster.helm("list", option, "--output=json"))
    assert [each["revision"] for each in listed] == ["3"]
    nobody = cluster.control_plane.service_account(namespace, "nobody")
    with pytest.raises(CommandFailed, match="forbidden"):
        cluster.helm("list", option, by=nobody)
    with pytest.raises(ApiError, match="forbidden"):
        Api(nobody).get(one)


def test_pods_outlive_the_programs_that_run_them(cluster: Cluster, namespace: str) -> None:
    """A fault that a test makes is that of one program alone, and it can be ended."""
    web = container(cluster.image(BUSYBOX), *shell(HTTPD), readinessProbe=READY)
    cluster.apply(namespace, deployment("web", 1, web))
    await_pods(cluster, namespace, "web")
    [before] = cluster.pods(namespace)
    address = f"{before['status']['podIP']}:8080"
    faulted = (cluster.kubelet, cluster.containerd, cluster.scheduler, cluster.controller_manager)
    for program in (*faulted, cluster.proxy, cluster.control_plane):
        program.kill()
        assert answers(address)
        program.start()
    cluster.controller_manager.pause()
    cluster.kubectl("scale", f"--namespace={namespace}", "deployment/web", "--replicas=2")
    time.sleep(1)
    [still] = cluster.pods(namespace)
    assert still["metadata"]["uid"] == before["metadata"]["uid"]
    cluster.controller_manager.resume()
    await_pods(cluster, namespace, "web", 2)
    assert before["metadata"]["uid"] in {
        each["metadata"]["uid"] for each in cluster.pods(namespace)
    }
    restarts = [
        each["restartCount"]
        for pod_seen in cluster.pods(namespace)
        for each in pod_seen["status"]["containerStatuses"]
    ]
    assert restarts == [0, 0]


RUN = """
import sys, time
from tests.cluster.objects import container, pod, shell
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import BUSYBOX
cluster = Cluster()
cluster.start()
with cluster.network():
    waiting = container(cluster.image(BUSYBOX), *shell("sleep 99999 & wait"))
    cluster.apply("default", pod("waiting", waiting))
    one = "/api/v1/namespaces/default/pods/waiting"
    phase = lambda: cluster.api.get(one)["status"]["phase"] == "Running"
    cluster.until(phase, namespace="default")
    cluster.scheduler.pause()  # and what is paused ends as well
print(cluster.directory, flush=True)
sys.stdin.readline()
cluster.stop()
"""


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_nothing_of_a_node_is_left(end: str) -> None:
    """No process, mount, network namespace or control group, whoever ended it."""
    before = traces()
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with run:
        assert run.stdin is not None
        assert run.stdout is not None
        directory = Path(run.stdout.readline().strip())
        assert directory.name.startswith("certrotd-cluster-")
        assert len(processes_of(directory)) >= 8
        assert traces() == before  # they are not in this machine's namespaces at any time
        if end == "killed":
            run.send_signal(signal.SIGKILL)
        else:
            run.stdin.write("\n")
            run.stdin.close()
        run.wait()
    wait_until(lambda: not processes_of(directory), what="its processes are gone")
    assert traces() == before
    if end == "killed":
        assert directory.exists()
        Cluster().stop()  # the next one
    assert not directory.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{directory.name}"))
    assert not Path("/sys/fs/cgroup", directory.name).exists()


def traces() -> list[str]:
    """What nodes could leave on this machine: mounts, named network namespaces, devices, files."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line for line in mounts if "certrotd-cluster-" in line or "cni" in line]
    found += map(str, Path("/run/netns").glob("*"))
    found += map(str, Path("/sys/class/net").glob("[cn]*"))  # cni0, node0
    shared = [Path("/var/lib/cni"), Path("/var/log/pods"), Path("/var/lib/kubelet")]
    return found + [str(path) for path in shared if path.exists()]


def processes_of(directory: Path) -> list[str]:
    """The command lines of processes that belong to a node."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            group = (process / "cgroup").read_text()
        except OSError:
            continue
        if line and (str(directory) in line or f"/{directory.name}" in group):
            found.append(line)
    return found
