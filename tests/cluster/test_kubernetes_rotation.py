"""The program itself rotates a certificate of pods: the Secret is told first, then the pods are."""

import signal
from pathlib import Path

import pytest
from cryptography import x509

from certrotd.kube.workloads import KINDS, Reference
from certrotd.pki.facts import fingerprint
from tests.builders import OLD
from tests.cluster.objects import Object
from tests.cluster.web import NOTICING, PORT, Web, configure, configure_in_secret, template_of
from tests.parts.process import wait_until
from tests.parts.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Its files."""
    return Site(tmp_path / "site")


@pytest.fixture
def pods(web: Web, site: Site) -> Reference:
    """Three pods that serve the first certificate of the site."""
    reference = web.add("deployment")
    configure(web, site)
    first = site.run("rotate", "web")
    assert first.code == 0, first.stderr
    assert web.serves() == leaf_of(site)
    return reference


def test_a_rotation_whose_pods_crash_is_undone(web: Web, site: Site, pods: Reference) -> None:
    """The Secret, the template and every pod are as they were; the next one succeeds."""
    before, template, leaf = web.ids(), template_of(web, pods), leaf_of(site)
    (site.directory / "break").touch()
    broken = site.run("rotate", "web", "--force")
    assert broken.code == 1
    assert "fails: container main" in broken.stderr
    assert (web.ids(), template_of(web, pods), leaf_of(site)) == (before, template, leaf)
    assert web.serves() == leaf
    again = site.run("rotate", "web", "--force")
    assert again.code == 0, again.stderr
    assert web.serves() == leaf_of(site) != leaf
    assert not before & web.ids()


def test_a_rotation_whose_pods_never_become_ready_is_undone(web: Web, site: Site) -> None:
    """At the deadline; nothing crashes that would tell earlier."""
    key = {"name": "pair", "key": "unready", "optional": True}
    reference = web.add(
        "deployment",
        env=[{"name": "UNREADY", "valueFrom": {"secretKeyRef": key}}],
        readinessProbe={"exec": {"command": ["sh", "-c", 'test -z "$UNREADY"']}},
    )
    configure(web, site)
    site.config["targets"]["pods"]["timeout"] = "1m"
    first = site.run("rotate", "web")
    assert first.code == 0, first.stderr
    before, template, leaf = web.ids(), template_of(web, reference), leaf_of(site)
    (site.directory / "unready").touch()
    site.config["targets"]["pods"]["timeout"] = "10s"
    broken = site.run("rotate", "web", "--force")
    assert broken.code == 1
    assert "deployment/web is not restarted within 10 s: 1 of 3 pods updated" in broken.stderr
    assert (web.ids(), template_of(web, reference), leaf_of(site)) == (before, template, leaf)
    assert web.serves() == leaf
    described = web.described(reference)
    assert "RotationRestartFailed" in described
    assert "RotationUndone" in described


def test_a_rotation_whose_probe_no_pod_can_answer_is_undone_all_the_same(
    web: Web, site: Site
) -> None:
    """It is warned of before, and the undo asks for no more than there was: no person is needed."""
    web.add("deployment", replicas=2, command=NOTICING)
    configure(web, site)
    pods = site.config["targets"]["pods"]
    pods["mode"] = "none"
    first = site.run("rotate", "web")
    assert first.code == 0, first.stderr
    before, leaf = web.ids(), leaf_of(site)
    pods["pod_probe"] = [{"port": PORT, "proxy_protocol": "v1", "deadline": "2s"}]
    pods["timeout"] = "3s"
    wrong = site.run("rotate", "web", "--force")
    assert wrong.code == 1
    assert "no pod of deployment/web shows its live certificate by pod_probe: " in wrong.stderr
    assert "rolled back" in site.run("history", "web").stdout
    assert (web.ids(), leaf_of(site)) == (before, leaf)
    wait_until(lambda: web.serves() == leaf, what="the pods have the old files again")


def test_workloads_are_found_by_the_store_and_mount_its_generations(web: Web, site: Site) -> None:
    """The Secret that is there is taken over; then its pods name each generation's own."""
    reference = web.add("deployment")
    configure_in_secret(web, site)
    for number in (1, 2):
        ran = site.run("rotate", "web", *(["--force"] if number == 2 else []))
        assert ran.code == 0, ran.stderr
        names = [each.get("secret", {}).get("secretName") for each in volumes(web, reference)]
        assert f"certrotd-store.web.00000{number}" in names
        assert (web.serves() == fingerprint(OLD.certificate)) == (number == 1)
    assert web.serves() is not None


def test_one_that_is_killed_in_mid_rollout_is_finished_without_a_second_restart(
    web: Web, site: Site, pods: Reference
) -> None:
    """By the next run."""
    template = template_of(web, pods)
    run = site.start("rotate", "web", "--force")
    wait_until(lambda: template_of(web, pods) != template, what="a restart")
    run.signal(signal.SIGKILL)
    assert run.end().code == -signal.SIGKILL
    told = template_of(web, pods)
    resumed = site.run("rotate", "web")
    assert resumed.code == 0, resumed.stderr
    assert template_of(web, pods) == told
    assert web.serves() == leaf_of(site)


def test_what_is_wrong_with_a_workload_is_said_before_a_rotation(
    web: Web, site: Site, pods: Reference
) -> None:
    """What would be felt is a warning; what is paused is a reason not to begin."""
    fine = site.run("rotate", "web", "--force")
    assert "target pods: deployment/web has no preStop in container main" in fine.stderr
    path = KINDS[pods.kind].path(web.namespace, pods.name)
    web.cluster.api.merge(path, {"spec": {"paused": True}})
    before, leaf = web.ids(), leaf_of(site)
    refused = site.run("rotate", "web", "--force")
    assert refused.code == 1
    assert f"deployment/web in the namespace {web.namespace} is paused" in refused.stderr
    assert (web.ids(), leaf_of(site)) == (before, leaf)


def volumes(web: Web, reference: Reference) -> list[Object]:
    """Those of the pods to come."""
    found: list[Object] = template_of(web, reference)["spec"]["volumes"]
    return found


def leaf_of(site: Site) -> str:
    """That of the live generation."""
    chain = (site.store / "web/live/fullchain.pem").read_bytes()
    return fingerprint(x509.load_pem_x509_certificate(chain))
