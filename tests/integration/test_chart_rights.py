"""With the token of the chart's ServiceAccount everything works that certrotd does, and no more."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import Api as CertrotdApi
from certrotd.kube.rights import missing
from certrotd.kube.rollout import Rollouts
from certrotd.kube.state import ClusterState
from certrotd.kube.workloads import Reference
from certrotd.stores.live_secret import Home, Place
from certrotd.stores.tls_secret import Shapes
from certrotd.targets.kubernetes import KubernetesTarget
from tests.builders import PAIR, seal
from tests.parts import locate
from tests.parts.kubernetes import Api, ApiError, ControlPlane, Credentials
from tests.parts.kubernetes.api import Object
from tests.parts.kubernetes.chart import example, template
from tests.parts.kubernetes.secrets import Shop, tls_secret
from tests.parts.process import wait_until

EXPECTED = Path(__file__).parent / "chart_rights.txt"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
CORE, APPS = "/api/v1/namespaces", "/apis/apps/v1/namespaces"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICY = "/apis/policy/v1/namespaces"
LEASES = "/apis/coordination.k8s.io/v1/namespaces"
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main", "image": "none"}]},
}
SPEC = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}


@dataclass(frozen=True)
class Installed:
    """A release of the example in ``own``, with workloads in ``shop``; ``who`` is its token."""

    plane: ControlPlane
    own: str
    shop: str
    who: Credentials

    def path(self, text: str) -> str:
        """With the names of the namespaces."""
        return text.format(own=self.own, shop=self.shop)

    def may(self, method: str, path: str, content: Any = None, kind: str = MERGE) -> bool:
        """Whether it is let do that; whatever else is wrong with it is not asked."""
        try:
            Api(self.who).ask(method, self.path(path), content, content_type=kind)
        except ApiError as error:
            return error.status != 403
        return True

    def api(self) -> CertrotdApi:
        """As certrotd has it in its pod."""
        access = Access(
            self.plane.url,
            trusting(self.plane.ca_file),
            self.own,
            lambda: str(self.who.token),
        )
        return CertrotdApi(access, SystemClock(), agent="certrotd test")

    def listed(self, tmp_path: Path, namespace: str) -> str:
        """What kubectl auth can-i --list says."""
        config = self.who.write_kubeconfig(tmp_path / "kubeconfig")
        argv = ["auth", "can-i", "--list", f"--namespace={namespace}"]
        kubectl = [str(locate.require("kubectl")), f"--kubeconfig={config}", *argv]
        ran = subprocess.run(kubectl, capture_output=True, text=True, check=True, timeout=120)
        lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
        return "\n".join([lines[0], *sorted(lines[1:])])


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> Installed:
    """The example of mode deployment, its objects as they are rendered."""
    plane = control_plane
    own, shop = plane.namespace("release"), plane.namespace("shop")
    values = example("deployment")
    values["config"]["targets"]["shop"]["namespace"] = shop
    values["config"]["certificates"][0]["store"]["namespace"] = shop
    where = {
        "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
        "Role": RBAC + "/namespaces/{}/roles",
        "RoleBinding": RBAC + "/namespaces/{}/rolebindings",
    }
    for each in template(values, namespace=own):
        if each["kind"] in where:
            path = where[each["kind"]].format(each["metadata"]["namespace"])
            plane.api.create(path, each)
    for name in ("web", "canary", "other"):
        plane.api.create(f"{APPS}/{shop}/deployments", named(name, SPEC))
    plane.api.create(f"{APPS}/{shop}/statefulsets", named("queue", SPEC | {"serviceName": "none"}))
    plane.service_account(shop, "default")
    plane.api.create(f"{CORE}/{shop}/pods", named("web-0", TEMPLATE["spec"]))
    other = tls_secret("other", PAIR.key_pem, PAIR.fullchain_pem)
    plane.api.create(f"{CORE}/{shop}/secrets", other)
    found = Installed(plane, own, shop, plane.service_account(own, "certrotd"))
    # the API server learns of Roles by watching them
    wait_until(lambda: found.may("GET", "/api/v1/namespaces/{own}/secrets"))
    wait_until(lambda: found.may("GET", APPS + "/{shop}/statefulsets/queue"))
    return found


def named(name: str, spec: Any) -> Object:
    """An object's body."""
    return {"metadata": {"name": name}, "spec": spec}


def test_kubectl_lists_what_is_checked_in(installed: Installed, tmp_path: Path) -> None:
    """For the release's namespace, that of the workloads, and any other."""
    places = [("own", installed.own), ("shop", installed.shop), ("other", "default")]
    found = [f"# {name}\n{installed.listed(tmp_path, place)}\n" for name, place in places]
    written = "\n".join(found)
    assert written == EXPECTED.read_text(), written


def test_certrotd_finds_that_it_lacks_nothing(installed: Installed) -> None:
    """By its own questions, which it asks before an order."""
    api = installed.api()
    assert not list(ClusterState(api, installed.own, "certrotd", words="").problems(()))
    place = Place(
        api=lambda: api,
        secret="shop-tls",
        shapes=Shapes("shop"),
        namespace=installed.shop,
        generations=installed.own,
    )
    assert not list(missing(api, Home.of(place).rights))
    named = [Reference("deployment", "web"), Reference("statefulset", "queue")]
    target = KubernetesTarget(Rollouts(api, installed.shop, 1.0), tuple(named))
    # without a controller no rollout is ever whole
    told = [str(each) for each in target.look().problems]
    assert len(told) == 2
    assert all("is not whole" in each for each in told), told


def test_a_certificate_is_kept_in_its_secret(installed: Installed) -> None:
    """The Secret is created, then changed: by its name alone."""
    store = Shop(installed.plane, installed.shop, installed.own, installed.who).store("shop-tls")
    for number in (1, 2):
        seal(store, number, name="shop-tls")
        store.switch("shop-tls", number)
    assert store.look("shop-tls").live is not None


def test_a_state_is_kept(installed: Installed) -> None:
    """Documents, locks, journals and wakes."""
    state = ClusterState(installed.api(), installed.own, "certrotd", words="a test")
    with state.lock("one", "a lock") as lease:
        lease.check()
        document = state.document("clock")
        document.write(b"1", expected=document.write(b"0"))
        journal = state.journal("certificate/shop")
        journal.append({"a": 1}, sync=True)
        assert state.in_flight() == {"certificate/shop"}
        journal.close({"id": "1", "failure": None, "ended": "now"})
    assert state.in_flight() == frozenset()
    state.wake("certificate/shop")
    assert state.holder("one") is None


@pytest.mark.parametrize(
    ("method", "path", "content", "kind"),
    [
        ("GET", APPS + "/{shop}/deployments/web", None, MERGE),
        ("PATCH", APPS + "/{shop}/deployments/web", {"metadata": {"annotations": {}}}, MERGE),
        ("PATCH", APPS + "/{shop}/deployments/canary", {"metadata": {"annotations": {}}}, MERGE),
        ("GET", APPS + "/{shop}/statefulsets/queue", None, MERGE),
        ("PATCH", APPS + "/{shop}/statefulsets/queue", {"metadata": {"annotations": {}}}, MERGE),
        ("GET", CORE + "/{shop}/pods", None, MERGE),
        ("DELETE", CORE + "/{shop}/pods/web-0", None, MERGE),
        ("POST", CORE + "/{shop}/events", "event", MERGE),
        ("GET", POLICY + "/{shop}/poddisruptionbudgets", None, MERGE),
        ("GET", CORE + "/{own}/secrets", None, MERGE),
        ("GET", CORE + "/{own}/configmaps", None, MERGE),
        ("POST", CORE + "/{own}/secrets", {"metadata": {"name": "a"}}, MERGE),
        ("PUT", CORE + "/{own}/secrets/a", {"metadata": {"name": "a"}}, MERGE),
        ("DELETE", CORE + "/{own}/secrets/a", None, MERGE),
    ],
)
def test_what_certrotd_does_is_done(
    installed: Installed, method: str, path: str, content: Any, kind: str
) -> None:
    """Not only allowed: the API server carries it out."""
    if content == "event":
        about = {"kind": "Deployment", "name": "web", "namespace": installed.shop}
        now = datetime.now(UTC).isoformat()
        content = {
            "metadata": {"name": "a"},
            "involvedObject": about,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }
    if method in ("POST", "PUT"):
        kind = "application/json"
    Api(installed.who).ask(method, installed.path(path), content, content_type=kind)


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "more"}}
ADMIN = {
    "metadata": {"name": "more"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
}
REFUSED: list[tuple[str, str, Any]] = [
    # Secrets: of others, all of them, and of other namespaces
    ("GET", CORE + "/{shop}/secrets/other", None),
    ("GET", CORE + "/{shop}/secrets", None),
    ("GET", CORE + "/{shop}/secrets?watch=true", None),
    ("GET", "/api/v1/secrets", None),
    ("GET", CORE + "/default/secrets", None),
    ("GET", CORE + "/kube-system/secrets/any", None),
    ("PATCH", CORE + "/{shop}/secrets/other", {"data": {}}),
    ("POST", CORE + "/{shop}/secrets", SECRET),
    ("PUT", CORE + "/{shop}/secrets/shop-tls", SECRET),
    ("DELETE", CORE + "/{shop}/secrets/shop-tls", None),
    ("DELETE", CORE + "/{own}/secrets", None),
    ("PATCH", CORE + "/{own}/secrets/any", {"data": {}}),
    # workloads: others, and more than the template of those that it has
    ("GET", APPS + "/{shop}/deployments/other", None),
    ("PATCH", APPS + "/{shop}/deployments/other", {"metadata": {}}),
    ("GET", APPS + "/{shop}/deployments", None),
    ("POST", APPS + "/{shop}/deployments", named("more", SPEC)),
    ("PUT", APPS + "/{shop}/deployments/web", named("web", SPEC)),
    ("DELETE", APPS + "/{shop}/deployments/web", None),
    ("PATCH", APPS + "/{shop}/deployments/web/scale", {"spec": {"replicas": 0}}),
    ("PATCH", APPS + "/{shop}/deployments/web/status", {"status": {}}),
    ("PATCH", APPS + "/{shop}/statefulsets/web", {"metadata": {}}),
    ("GET", APPS + "/{shop}/daemonsets/web", None),
    ("PATCH", APPS + "/{own}/deployments/certrotd", {"metadata": {}}),
    ("GET", APPS + "/{shop}/replicasets", None),
    # pods: their insides, and new ones
    ("GET", CORE + "/{shop}/pods/web-0", None),
    ("GET", "/api/v1/pods", None),
    ("GET", CORE + "/{own}/pods", None),
    ("POST", CORE + "/{shop}/pods/web-0/exec?command=id", None),
    ("GET", CORE + "/{shop}/pods/web-0/exec?command=id", None),
    ("GET", CORE + "/{shop}/pods/web-0/log", None),
    ("POST", CORE + "/{shop}/pods/web-0/eviction", {"metadata": {"name": "web-0"}}),
    ("POST", CORE + "/{shop}/pods", named("more", TEMPLATE["spec"])),
    ("PATCH", CORE + "/{shop}/pods/web-0", {"metadata": {}}),
    ("DELETE", CORE + "/{shop}/pods", None),
    ("DELETE", CORE + "/{own}/pods/any", None),
    ("GET", POLICY + "/{shop}/poddisruptionbudgets/any", None),
    ("POST", POLICY + "/{shop}/poddisruptionbudgets", {"metadata": {"name": "a"}}),
    ("GET", "/apis/policy/v1/poddisruptionbudgets", None),
    # more rights
    ("POST", RBAC + "/namespaces/{own}/rolebindings", ADMIN),
    ("POST", RBAC + "/namespaces/{shop}/rolebindings", ADMIN),
    ("POST", RBAC + "/clusterrolebindings", ADMIN),
    ("PATCH", RBAC + "/namespaces/{own}/roles/certrotd", {"rules": []}),
    ("GET", RBAC + "/namespaces/{own}/roles", None),
    ("POST", CORE + "/{own}/serviceaccounts/certrotd/token", {"spec": {}}),
    ("GET", CORE + "/{own}/serviceaccounts", None),
    # what else there is
    ("GET", CORE + "/{shop}/configmaps", None),
    ("DELETE", CORE + "/{own}/configmaps/any", None),
    ("GET", CORE + "/{shop}/configmaps/any", None),
    ("GET", LEASES + "/{own}/leases", None),
    ("DELETE", LEASES + "/{own}/leases/any", None),
    ("GET", LEASES + "/kube-system/leases/any", None),
    ("GET", CORE + "/{shop}/events", None),
    ("POST", CORE + "/{own}/events", {"metadata": {"name": "a"}}),
    ("GET", "/api/v1/namespaces", None),
    ("GET", CORE + "/{shop}", None),
    ("GET", "/api/v1/nodes", None),
]


@pytest.mark.parametrize(
    ("method", "path", "content"), REFUSED, ids=[f"{m} {p}" for m, p, _ in REFUSED]
)
def test_what_certrotd_does_not_do_is_refused(
    installed: Installed, method: str, path: str, content: Any
) -> None:
    """Each by the API server, with 403."""
    kind = MERGE if method == "PATCH" else "application/json"
    assert not installed.may(method, path, content, kind)


def test_another_secret_cannot_be_made_by_applying_it(installed: Installed) -> None:
    """The control is that of the certificate, which is made like this."""
    path = CORE + "/{shop}/secrets/%s?fieldManager=test&force=true"
    assert not installed.may("PATCH", path % "more", SECRET, APPLY)
    live = SECRET | {"metadata": {"name": "shop-tls"}}
    assert installed.may("PATCH", path % "shop-tls", live, APPLY)
