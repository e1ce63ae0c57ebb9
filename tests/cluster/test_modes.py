"""The chart in each of its modes: helm installs certrotd from its image, and it does its work."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from certrotd.kube.found_lease import WITHIN
from certrotd.pki.facts import fingerprint
from tests.builders import NAME, OLD
from tests.cluster.acme import Acme
from tests.cluster.release import SECRETS, Release
from tests.cluster.web import PORT, READY, Web, leaf
from tests.parts import Parts
from tests.parts.kubernetes.cluster import Cluster, CommandFailed
from tests.parts.kubernetes.images import DEBIAN

OLD_LEAF = fingerprint(OLD.certificate)


@pytest.fixture
def acme(cluster: Cluster, tmp_path: Path) -> Iterator[Acme]:
    """A CA that has never heard of anybody."""
    with ExitStack() as stack:
        yield Acme.start(Parts(tmp_path / "parts", stack))


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> Web:
    """Three nginx pods that serve OLD, which nobody renews."""
    made = Web(cluster, namespace)
    made.put(OLD)
    made.add("deployment")
    return made


@pytest.fixture
def release(cluster: Cluster, acme: Acme) -> Iterator[Release]:
    """Where certrotd may find what it needs for the CA."""
    made = Release.prepare(cluster, acme.secret("acme"))
    yield made
    made.remove()


def values(acme: Acme, web: Web, **more: Any) -> dict[str, Any]:
    """certrotd takes over the pods' Secret, whose certificate lacks a name that it should have."""
    config = acme.config(SECRETS)
    config["targets"] = {
        "web": {
            "type": "kubernetes",
            "namespace": web.namespace,
            "workloads": ["deployment/web"],
            "pod_probe": [{"port": PORT, "sni": NAME}],
        }
    }
    store = {"type": "kubernetes", "secret": "pair", "namespace": web.namespace, "adopt": True}
    names = [NAME, "www.example.test"]
    config["certificates"] = [{"name": "web", "names": names, "store": store, "targets": ["web"]}]
    return {"existingSecret": "acme", "config": config, **more}


def await_first(release: Release, web: Web) -> str:
    """The leaf that every pod serves once the first renewal is over, which has succeeded."""
    await_finished(release, web)
    assert len(renewals(release)) == 1
    assert len(web.pods()) == 3
    served = web.serves()
    assert served not in (None, OLD_LEAF)
    return str(served)


def await_finished(release: Release, web: Web) -> None:
    """Returns once the latest renewal has succeeded."""

    def asked() -> bool:
        with suppress(CommandFailed):  # by a container that was just killed
            return bool([e for e in renewals(release)[-1:] if e["outcome"] == "finished"])
        return False

    web.cluster.until(asked, within=300, what="a renewal", namespace=web.namespace)


def restarts(web: Web) -> int:
    """How many times the workload's pods were all replaced: every template has a ReplicaSet."""
    path = f"/apis/apps/v1/namespaces/{web.namespace}/replicasets"
    return len(web.cluster.api.get(path)["items"]) - 1


def renewals(release: Release) -> list[Any]:
    """What certrotd tells of rotations that are over, the adoption left out."""
    told = json.loads(release.run("history", "web", "--json"))
    return [each for each in told if each["facts"]["act"] != "adopt"]


def test_a_deployment_rotates_once_and_keeps_its_state(
    acme: Acme, web: Web, release: Release
) -> None:
    """An upgrade and a rollback renew nothing, and an uninstall takes nothing away."""
    wanted = values(acme, web, replicas=2)
    release.install(wanted)
    served = await_first(release, web)
    assert restarts(web) == 1
    release.helm("test", "certrotd", "--timeout=5m")
    before, told, pods = release.secrets(), renewals(release), release.pods()

    release.install(wanted | {"podAnnotations": {"upgraded": "yes"}})
    ids = {each["metadata"]["uid"] for each in pods}
    assert not ids & {each["metadata"]["uid"] for each in release.pods()}
    release.helm("rollback", "certrotd", "--wait", "--timeout=5m")
    release.run("rotate", "--all")
    assert (renewals(release), restarts(web)) == (told, 1)

    release.helm("uninstall", "certrotd", "--wait", "--timeout=5m")
    assert before.keys() <= release.secrets().keys()
    assert web.serves() == served


@pytest.mark.parametrize("how", ["killed", "deleted"])
def test_what_the_leader_was_at_is_finished_without_another_order(
    cluster: Cluster, namespace: str, acme: Acme, release: Release, how: str
) -> None:
    """It ends in mid-rollout. A killed one's restart is gone on with; a deleted one undoes it."""
    web = Web(cluster, namespace)
    web.put(OLD)
    web.add("deployment", readinessProbe={**READY, "initialDelaySeconds": 2})
    release.install(values(acme, web, replicas=2))
    cluster.until(lambda: restarts(web) == 1, within=300, what="a restart", namespace=namespace)
    leader = holder(release)
    if how == "killed":
        release.kill(leader)
    else:
        release.kubectl("delete", "pod", leader, "--wait=false")
    await_finished(release, web)
    generations = [name for name in release.secrets() if name.startswith("certrotd-store.web.0")]
    assert generations == ["certrotd-store.web.000001", "certrotd-store.web.000002"]
    assert web.serves() == release.leaf(generations[-1]) != OLD_LEAF
    if how == "killed":
        assert ([each["outcome"] for each in renewals(release)], restarts(web)) == (["finished"], 1)


def test_a_token_that_is_refused_in_mid_rollout_loses_nothing(
    cluster: Cluster, namespace: str, acme: Acme, release: Release
) -> None:
    """Until the kubelet has put another one into the pod, which certrotd reads without a restart.

    A token lives for ten minutes at least. It ends sooner with its ServiceAccount, of which
    another of that name is made; and a kubelet asks for another token when it starts.
    """
    web = Web(cluster, namespace)
    web.put(OLD)
    web.add("deployment", readinessProbe={**READY, "initialDelaySeconds": 2})
    release.install(values(acme, web))
    cluster.until(lambda: restarts(web) == 1, within=300, what="a restart", namespace=namespace)
    cluster.kubelet.kill()  # the rollout cannot go on, and nobody renews the token
    since = cluster.control_plane.audit_log.stat().st_size
    path = f"/api/v1/namespaces/{release.namespace}/serviceaccounts"
    account = cluster.api.get(f"{path}/certrotd")
    cluster.api.delete(f"{path}/certrotd")
    labels = account["metadata"]["labels"]
    cluster.api.create(path, {"metadata": {"name": "certrotd", "labels": labels}})
    cluster.until(lambda: was_refused(cluster, since), what="a request of certrotd is refused")
    cluster.kubelet.start()
    await_finished(release, web)
    assert ([each["outcome"] for each in renewals(release)], restarts(web)) == (["finished"], 1)
    generations = [name for name in release.secrets() if name.startswith("certrotd-store.web.0")]
    assert generations == ["certrotd-store.web.000001", "certrotd-store.web.000002"]
    assert web.serves() == release.leaf(generations[-1]) != OLD_LEAF
    [pod] = release.pods()
    assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]


def test_jobs_rotate_what_is_due_and_know_what_the_last_one_did(
    acme: Acme, web: Web, release: Release
) -> None:
    """The state is in the cluster: a second Job finds nothing to do."""
    release.install(values(acme, web, mode="cronjob", cronjob={"suspend": True}))
    release.job("first")
    served = web.serves()
    assert served not in (None, OLD_LEAF)
    assert restarts(web) == 1
    before = release.secrets()
    release.job("second")
    assert (web.serves(), restarts(web), release.secrets()) == (served, 1, before)
    release.helm("test", "certrotd", "--timeout=5m")


def test_a_sidecar_signals_nginx_and_proves_it(cluster: Cluster) -> None:
    """As another user than root, in one pod that nobody restarts."""
    release = Release.prepare(cluster)
    nginx = {"image": cluster.image(DEBIAN), "pullPolicy": "Never"}
    probe = {"address": "127.0.0.1:8443", "sni": NAME}
    target = {"type": "signal", "pid_file": "/certrotd/run/nginx.pid", "process": "nginx"}
    config = {
        "issuers": {"ca": {"type": "internal"}},
        "targets": {"nginx": target | {"probe": [probe]}},
        "certificates": [{"name": "web", "names": [NAME], "targets": ["nginx"]}],
    }
    release.install({"mode": "sidecar", "sidecar": {"nginx": nginx}, "config": config})
    [pod] = release.pods()
    address = pod["status"]["podIP"]
    first = leaf(address)
    assert first is not None
    release.run("rotate", "web", "--force")
    assert leaf(address) not in (None, first)
    [after] = release.pods()
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert {each["restartCount"] for each in after["status"]["containerStatuses"]} == {0}
    release.helm("test", "certrotd", "--timeout=5m")
    release.remove()


def was_refused(cluster: Cluster, since: int) -> bool:
    """Whether the API server has refused certrotd's token, by its log from that byte on."""
    with cluster.control_plane.audit_log.open("rb") as log:
        log.seek(since)
        whole, _, _ = log.read().rpartition(b"\n")
    lines = map(json.loads, whole.splitlines())
    asked = [each for each in lines if str(each.get("userAgent")).startswith("certrotd/")]
    return any(each.get("responseStatus", {}).get("code") == 401 for each in asked)


def holder(release: Release) -> str:
    """The pod that is at work, by what the Lease of the daemons says."""
    leases = json.loads(release.kubectl("get", "leases", "--output=json"))["items"]
    own = [each for each in leases if WITHIN not in each["metadata"].get("annotations", {})]
    [told] = [json.dumps(each) for each in own if "_daemon" in json.dumps(each)]
    [found] = [each for each in pod_names(release) if each in told]
    return found


def pod_names(release: Release) -> list[str]:
    """Those of certrotd's pods that are not on their way out."""
    return [each["metadata"]["name"] for each in release.pods()]
