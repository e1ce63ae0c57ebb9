"""Target ``kubernetes`` restarts real pods, and goes back at their first crash."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from certrotd.errors import NeedsOperator, ProofFailed, Transient
from certrotd.kube.api import Denied
from certrotd.kube.reloads import Program, Reloads
from certrotd.kube.shown import Shown
from certrotd.kube.stamps import RESTARTED_AT, RESTARTED_FOR
from certrotd.kube.workloads import KINDS, Reference, is_ready, was_restarted
from certrotd.pki.facts import fingerprint
from tests.builders import NEW, OLD, PAIR
from tests.cluster.objects import container, deployment, pod, service
from tests.cluster.web import NOTICING, PORT, RULES, Load, Web, live, template_of
from tests.contract.test_targets import Bench, TargetClaims
from tests.parts.kubernetes.images import DEBIAN
from tests.parts.process import wait_until

OLD_LEAF, NEW_LEAF = fingerprint(OLD.certificate), fingerprint(NEW.certificate)


class TestContract(TargetClaims):
    """A Deployment of three nginx pods."""

    @pytest.fixture
    def bench(self, web: Web) -> Bench:
        """Told by a ServiceAccount that may do no more than it needs."""
        web.add("deployment")
        return Bench(web.target(), web.put, web.put_garbage, web.serves)


@pytest.mark.parametrize("kind", ["deployment", "statefulset", "daemonset"])
def test_pods_are_replaced_and_serve_the_new_pair(web: Web, kind: str) -> None:
    """Each kind of workload; being told again of the same certificate replaces none."""
    reference = web.add(kind)
    before = web.ids()
    target = web.target()
    target.check()
    web.put(NEW)
    target.apply_for(live(NEW))
    after = web.ids()
    assert not before & after
    assert web.serves() == NEW_LEAF
    annotations = template_of(web, reference)["metadata"]["annotations"]
    assert annotations[RESTARTED_FOR] == f"web={NEW_LEAF}"
    target.apply_for(live(NEW))
    assert web.ids() == after
    assert template_of(web, reference)["metadata"]["annotations"] == annotations
    described = web.described(reference)
    assert "RotationRestart " in described
    assert "each of its pods is new and available" in described


@pytest.mark.parametrize("before", ["untouched", "restarted before"])
@pytest.mark.parametrize("kind", ["deployment", "daemonset"])
def test_a_crash_is_undone_and_every_old_pod_is_kept(web: Web, kind: str, before: str) -> None:
    """Long before the controller itself gives a rollout up, which takes ten minutes."""
    reference = web.add(kind)
    target = web.target()
    if before == "restarted before":
        target.apply_for(live(OLD))
    pods, template = web.ids(), template_of(web, reference)
    web.put_garbage()
    with pytest.raises(NeedsOperator, match=r"the new pod web-.* of .* fails: container main"):
        target.apply_for(live(NEW))
    assert pods < web.ids()
    assert web.serves() == OLD_LEAF
    web.put(OLD)
    began = time.monotonic()
    target.revert_for(live(OLD), web.shown)
    assert time.monotonic() - began < 10
    assert web.ids() == pods
    assert template_of(web, reference) == template
    assert web.serves() == OLD_LEAF
    described = web.described(reference)
    assert "RotationRestartFailed" in described
    assert "its former pods are whole again" in described
    target.revert_for(live(OLD), web.shown)  # as after a crash of certrotd
    assert web.ids() == pods


def test_a_statefulset_is_healed_by_deleting_the_pod_it_is_stuck_at(web: Web) -> None:
    """Its controller waits for a pod of the bad revision to become ready (kubernetes#67250)."""
    reference = web.add("statefulset")
    target = web.target()
    names = {each["metadata"]["name"]: each["metadata"]["uid"] for each in web.pods()}
    web.put_garbage()
    with pytest.raises(NeedsOperator, match="the new pod web-2 of statefulset/web fails"):
        target.apply_for(live(NEW))
    assert web.serves() == OLD_LEAF
    web.put(OLD)
    began = time.monotonic()
    target.revert_for(live(OLD), web.shown)
    assert time.monotonic() - began < 30
    after = {each["metadata"]["name"]: each["metadata"]["uid"] for each in web.pods()}
    assert {name for name in names if names[name] == after[name]} == {"web-0", "web-1"}
    assert web.serves() == OLD_LEAF
    assert "certrotd deletes the pod web-2" in web.described(reference)


def test_a_canary_that_crashes_keeps_the_others_from_being_touched(web: Web) -> None:
    """They are restarted in the order of the configuration, one after the other."""
    web.add("deployment", "canary", 1)
    rest = web.add("deployment")
    pods, template = web.ids(), template_of(web, rest)
    target = web.target()
    web.put_garbage()
    with pytest.raises(NeedsOperator, match="of deployment/canary fails"):
        target.apply_for(live(NEW))
    assert (web.ids(), template_of(web, rest)) == (pods, template)
    web.put(OLD)
    target.revert_for(live(OLD), web.shown)
    assert (web.ids(), template_of(web, rest)) == (pods, template)
    web.put(NEW)
    target.apply_for(live(NEW))
    assert (web.serves("canary"), web.serves()) == (NEW_LEAF, NEW_LEAF)


def test_a_canary_that_serves_something_else_keeps_the_others_from_being_touched(web: Web) -> None:
    """Its pod starts, and is ready: only a look at the pod tells."""
    web.add("deployment", "canary", 1)
    rest = web.add("deployment")
    pods, template = web.ids(), template_of(web, rest)
    target = web.target(probed=True)
    target.check()
    web.put(PAIR)
    with pytest.raises(ProofFailed, match=r"the pod canary-\S+ of deployment/canary: .* but cert"):
        target.apply_for(live(NEW))
    assert (web.ids(), template_of(web, rest)) == (pods, template)
    web.put(OLD)
    target.revert_for(live(OLD), web.shown)
    assert (web.serves("canary"), web.ids()) == (OLD_LEAF, pods)
    web.put(NEW)
    target.apply_for(live(NEW))
    assert (web.serves("canary"), web.serves()) == (NEW_LEAF, NEW_LEAF)


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_an_old_pod_that_has_loaded_the_bad_certificate_is_replaced(web: Web, kind: str) -> None:
    """Its container was restarted in between; pods that serve the old one are kept."""
    reference = web.add(kind)
    target = web.target(probed=True)
    victim = web.pods()[0]["metadata"]
    before = web.ids()
    web.put_garbage()
    with pytest.raises(NeedsOperator, match=f"of {reference} fails"):
        target.apply_for(live(NEW))
    own = before & web.ids()
    where = f"--namespace={web.namespace}"
    for uid in {victim["uid"]} & own:
        web.cluster.kubectl("exec", where, victim["name"], "--", "sh", "-c", "kill 1")
        web.await_crash(uid)
    web.put(OLD)
    target.revert_for(live(OLD), web.shown)
    assert own - {victim["uid"]} <= web.ids()
    assert len(web.pods()) == len(before)
    assert web.serves() == OLD_LEAF
    kept = [pod for pod in web.pods() if pod["metadata"]["uid"] == victim["uid"]]
    if kept:  # on a slow machine the kubelet has started it with the old one before the first look
        assert was_restarted(kept[0])
        assert is_ready(kept[0])
    else:
        assert f"deletes the pod {victim['name']}" in web.described(reference)


def test_old_pods_never_see_the_secret_of_a_new_generation(web: Web) -> None:
    """A container that is restarted while new pods crash starts with what it had before."""
    reference = web.add("deployment")
    target = web.target(probed=True, versioned=True)
    web.seal("gen-1", NEW.fullchain_pem, NEW.key_pem)
    target.apply_for(live(NEW, "gen-1"))
    assert web.serves() == NEW_LEAF
    before, template = web.ids(), template_of(web, reference)
    web.seal("gen-2", b"garbage", NEW.key_pem)
    with pytest.raises(NeedsOperator, match="of deployment/web fails"):
        target.apply_for(live(PAIR, "gen-2"))
    where = f"--namespace={web.namespace}"
    old = next(each["metadata"] for each in web.pods() if each["metadata"]["uid"] in before)
    web.cluster.kubectl("exec", where, old["name"], "--", "sh", "-c", "kill 1")

    def started_again() -> bool:
        [found] = [each for each in web.pods() if each["metadata"]["uid"] == old["uid"]]
        return was_restarted(found) and is_ready(found)

    wait_until(started_again, what="a container that was restarted")
    target.revert_for(live(NEW, "gen-1"), web.shown)
    assert (web.ids(), template_of(web, reference)) == (before, template)
    assert web.serves() == NEW_LEAF
    web.cluster.kubectl("rollout", "undo", str(reference), where, "--to-revision=1")
    web.await_whole(reference)
    wait_until(lambda: web.serves() == OLD_LEAF, what="the pods of the first template serve")


def test_a_budget_that_allows_no_disruption_is_waited_for(web: Web) -> None:
    """One pod of it is not healthy; once it is, the restart begins."""
    reference = web.add("deployment", replicas=2)
    argv = {"command": ["test", "-e", "/tmp/ready"]}
    idle = container(web.cluster.image(DEBIAN), "sleep", "infinity")
    idle["readinessProbe"] = {"exec": argv, "periodSeconds": 1}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "both"},
        "spec": {
            "minAvailable": 2,
            "selector": {
                "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "sick"]}]
            },
        },
    }
    web.cluster.apply(web.namespace, pod("sick", idle), budget)
    path = f"/apis/policy/v1/namespaces/{web.namespace}/poddisruptionbudgets/both"
    counts = {"expectedPods": 3, "currentHealthy": 2, "disruptionsAllowed": 0}
    wait_until(lambda: counts.items() <= web.cluster.api.get(path)["status"].items(), what="counts")
    wait_until(lambda: runs(web, "sick"), what="a container to run programs in")
    target = web.target()
    target.check()
    web.put(NEW)
    before = web.ids()
    where = (f"--namespace={web.namespace}", "sick")
    with ThreadPoolExecutor() as pool:
        applied = pool.submit(target.apply_for, live(NEW))
        wait_until(lambda: "RotationHeld" in web.described(reference), what="an event")
        assert (web.ids(), applied.done()) == (before, False)
        web.cluster.kubectl("exec", *where, "--", "touch", "/tmp/ready")
        applied.result()
    assert web.serves() == NEW_LEAF


def test_a_steady_load_sees_neither_a_restart_nor_its_undo(web: Web) -> None:
    """With a preStop: no request fails while pods are replaced, crash, and come back."""
    stop = {"preStop": {"sleep": {"seconds": 5}}}
    web.add("deployment", grace=15, lifecycle=stop)
    web.cluster.apply(web.namespace, service("web", PORT))
    path = f"/api/v1/namespaces/{web.namespace}/services/web"
    address = web.cluster.api.get(path)["spec"]["clusterIP"]
    load = Load(address)
    wait_until(lambda: reaches(address), what="the Service")
    target = web.target(probed=True)
    assert not [line for line in target.look().warnings if "preStop" in line]
    with load.steady():
        web.put(NEW)
        target.apply_for(live(NEW))
        web.put_garbage()
        with pytest.raises(NeedsOperator, match="fails"):
            target.apply_for(live(PAIR))
        web.put(NEW)
        target.revert_for(live(NEW), web.shown)
    print(f"{load.sent} requests, {len(load.failed)} failed")  # noqa: T201
    assert not load.failed
    assert load.sent > 50
    assert web.serves() == NEW_LEAF


def test_workloads_are_found_by_their_labels(web: Web) -> None:
    """All three kinds of them, and no others."""
    labels = {"metadata": {"labels": {"tier": "edge"}}}
    for kind in ("deployment", "daemonset"):
        name = f"in-{kind}"
        web.add(kind, name, 1)
        web.cluster.api.merge(KINDS[kind].path(web.namespace, name), labels)
    web.add("deployment", "out", 1)
    before = web.ids("out")
    target = web.target(labels="tier=edge")
    target.check()
    web.put(NEW)
    target.apply_for(live(NEW))
    assert web.serves("in-deployment") == web.serves("in-daemonset") == NEW_LEAF
    assert (web.ids("out"), web.serves("out")) == (before, OLD_LEAF)


def test_workloads_are_found_by_the_secret_that_they_mount(web: Web) -> None:
    """And others are left alone; the account may list them all."""
    for kind in ("deployment", "daemonset"):
        web.add(kind, f"in-{kind}", 1)
    idle = container(web.cluster.image(DEBIAN), "sleep", "infinity")
    web.cluster.apply(web.namespace, deployment("out", 1, idle))
    web.await_whole(Reference("deployment", "out"))
    before = web.ids("out")
    target = web.target(mounting=True)
    target.check()
    web.put(NEW)
    target.apply_for(live(NEW))
    assert web.serves("in-deployment") == web.serves("in-daemonset") == NEW_LEAF
    assert web.ids("out") == before


FILES = ("/tls/tls.crt",)


@pytest.mark.parametrize(
    ("program", "command"),
    [
        (Program(("nginx", "-s", "reload", "-c", "/conf/nginx.conf"), FILES, "main"), None),
        (Program(("sh", "-c", "kill -HUP 1"), FILES, signals=True), None),
        (None, NOTICING),
    ],
    ids=["exec", "signal", "none"],
)
def test_pods_that_reload_keep_running(
    web: Web, program: Program | None, command: list[str] | None
) -> None:
    """They have the new files once the kubelet has looked; and the old ones on the way back.

    What they show before is told, and whether that is the certificate that is live.
    """
    fields: dict[str, Any] = {"command": command} if command else {}
    reference = web.add("deployment", replicas=2, **fields)
    target = web.reloading(program)
    assert target.checked_for(live(OLD)).shown == web.shown
    other = target.look(live(NEW))
    assert other.shown.get(str(reference)) in (None, Shown())
    [words] = [*map(str, other.problems), *(each for each in other.warnings if "live" in each)]
    if program is None:
        assert words.startswith("no pod of deployment/web shows its live certificate by pod_probe:")
    else:
        assert "of deployment/web do not have the live certificate web" in words
        assert "of the Secret pair, container main mounts it (/tls)" in words
    before, template = web.ids(), template_of(web, reference)
    web.put(NEW)
    target.apply_for(live(NEW))
    wait_until(lambda: web.serves() == NEW_LEAF)  # an old worker of nginx may answer once more
    web.put(OLD)
    target.revert_for(live(OLD), web.shown)
    wait_until(lambda: web.serves() == OLD_LEAF)
    assert (web.ids(), template_of(web, reference)) == (before, template)
    assert "RotationReloaded " in web.described(reference)


def test_a_program_that_fails_in_a_pod_ends_the_rotation(web: Web) -> None:
    """With its words; as does one that is not there, or that the account may not run."""
    web.add("deployment", replicas=1)
    broken = web.reloading(Program(("nginx", "-t", "-c", "/nowhere"), FILES))
    with pytest.raises(NeedsOperator, match=r"nginx in web-.* fails with exit code 1: .*test f"):
        broken.apply_for(live(OLD))
    absent = replace(broken, reloads=Reloads(broken.rollouts, Program(("nowhere",), FILES)))
    with pytest.raises(NeedsOperator, match=r"nowhere in web-.* cannot be run: .*nowhere"):
        absent.apply_for(live(OLD))
    web.timeout = 3.0
    unread = web.reloading(Program(("true",), ("/tls/absent",)))
    with pytest.raises(Transient, match=r"/tls/absent in web-.* cannot be read: .*No such file"):
        unread.apply_for(live(OLD))
    web.cluster.control_plane.allow(web.namespace, "certrotd", *RULES)
    with pytest.raises(NeedsOperator, match="the account may not get pods/exec in the namespace"):
        broken.check()
    with pytest.raises(Denied, match=r"cannot get resource .*pods/exec"):
        broken.apply_for(live(OLD))


def test_an_api_server_that_is_frozen_in_mid_rollout_is_waited_for(web: Web) -> None:
    """Ten seconds of silence are no reason to undo anything."""
    web.add("deployment")
    target = web.target()
    web.put(NEW)
    plane = web.cluster.control_plane

    def freeze() -> None:
        plane.pause()
        time.sleep(10)
        plane.resume()

    timer = threading.Timer(2.0, freeze)
    timer.start()
    try:
        target.apply_for(live(NEW))
    finally:
        timer.join()
    assert web.serves() == NEW_LEAF
    assert len(web.pods()) == 3


@pytest.mark.parametrize("lost", ["patch", "list"])
def test_a_right_that_is_missing_is_named_before_anything_is_done(web: Web, lost: str) -> None:
    """And the same without asking first: nothing is restarted."""
    reference = web.add("statefulset", replicas=1)
    before, template = web.ids(), template_of(web, reference)
    without = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != lost]} for rule in RULES
    ]
    target = web.target(rules=[rule for rule in without if rule["verbs"]])
    what = {"patch": "patch statefulsets/web", "list": "list pods"}[lost]
    with pytest.raises(NeedsOperator, match=f"the account may not {what} in the namespace"):
        target.check()
    if lost == "patch":
        with pytest.raises(NeedsOperator, match="forbidden"):
            target.apply_for(live(NEW))
        assert (web.ids(), template_of(web, reference)) == (before, template)


def test_a_template_that_somebody_else_puts_back_ends_the_rollout(web: Web) -> None:
    """A GitOps tool does that to annotations it does not know."""
    reference = web.add("deployment")
    target = web.target()
    path = KINDS["deployment"].path(web.namespace, "web")
    gone = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: None}}}}}
    timer = threading.Timer(2.0, web.cluster.api.merge, (path, gone))
    timer.start()
    try:
        with pytest.raises(NeedsOperator, match="somebody else has changed the annotation"):
            target.apply_for(live(NEW))
    finally:
        timer.join()
    assert "RotationRestartFailed" in web.described(reference)


def runs(web: Web, name: str) -> bool:
    """Whether the container of a pod has started; it need not be ready."""
    [found] = web.cluster.pods(web.namespace, f"app={name}")
    return any("running" in each["state"] for each in found["status"].get("containerStatuses", ()))


def reaches(address: str) -> bool:
    """Whether a Service has a pod that answers."""
    with suppress(OSError), socket.create_connection((address, PORT), timeout=1):
        return True
    return False
