"""nginx in pods that serve the pair of a Secret, and the target that restarts them."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cryptography import x509

from certrotd.clock import SystemClock
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import Api
from certrotd.kube.pod_survey import Probe
from certrotd.kube.reloads import Program, Reloads
from certrotd.kube.rollout import Rollouts
from certrotd.kube.workloads import KINDS, Reference, crash_of
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.observe.trust import no_check
from certrotd.pki.facts import fingerprint
from certrotd.pki.generation import LiveCertificate
from certrotd.stores.live_secret import NEEDED_OWN
from certrotd.targets.kubernetes import KubernetesTarget
from tests.builders import NAME, OLD
from tests.cluster.objects import Object, container, deployment, secret_volume
from tests.parts import locate, pki
from tests.parts.kubernetes import Credentials
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import DEBIAN
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.unit.targets.kubernetes_page import role

PORT = 8443
NGINX = f"""
error_log stderr;
pid /tmp/nginx.pid;
events {{}}
http {{
  access_log off;
  server {{
    listen {PORT} ssl;
    ssl_certificate /tls/tls.crt;
    ssl_certificate_key /tls/tls.key;
    location / {{ return 200 "here\\n"; }}
  }}
}}
"""
READY = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
STRATEGIES = {
    "deployment": {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}},
    "statefulset": {"serviceName": "none"},
    "daemonset": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}},
}
API_KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
_RELOAD = "nginx -c /conf/nginx.conf; while sleep 1; do nginx -c /conf/nginx.conf -s reload; done"
NOTICING = ["sh", "-c", f"trap 'exit 0' TERM; {_RELOAD}"]
"""A container's command whose nginx has new files within a second."""
RULES = role()
"""What docs/kubernetes-target.md has the account be given for workloads by name."""


def access(who: Credentials, namespace: str) -> Access:
    """That of a ServiceAccount's token."""
    assert who.token is not None
    return Access(who.server, trusting(who.ca_file), namespace, lambda: str(who.token))


def rollouts(who: Credentials, namespace: str, timeout: float) -> Rollouts:
    """Those in a namespace, by somebody's token."""
    api = Api(access(who, namespace), SystemClock(), agent="certrotd-test")
    return Rollouts(api, namespace, timeout)


def live(pair: pki.Pair, sealed: str = "") -> tuple[LiveCertificate, ...]:
    """What a target is told of a pair; ``sealed``: in which Secret its generation is."""
    leaf = fingerprint(pair.certificate)
    return (LiveCertificate("web", (NAME,), "/live", leaf, sealed=sealed),)


@dataclass
class Web:
    """Workloads of a namespace that all serve the Secret ``pair``."""

    cluster: Cluster
    namespace: str
    timeout: float = 120.0
    named: list[Reference] = field(default_factory=list)

    def put(self, pair: pki.Pair) -> None:
        """Puts a pair into the Secret."""
        self.put_data({"tls.crt": pair.fullchain_pem, "tls.key": pair.key_pem})

    def put_garbage(self) -> None:
        """Puts a certificate there that nginx does not start with."""
        self.put_data({"tls.crt": b"garbage", "tls.key": OLD.key_pem})

    def seal(self, name: str, chain: bytes, key: bytes) -> None:
        """Makes the Secret of a generation, as a store does."""
        self.put_data({"tls.crt": chain, "tls.key": key}, name, immutable=True)

    def put_data(self, data: dict[str, bytes], name: str = "pair", **fields: Any) -> None:
        content = {key: b64encode(value).decode() for key, value in data.items()}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": content}
        self.cluster.apply(self.namespace, made | {"type": "kubernetes.io/tls"} | fields)

    def add(
        self, kind: str, name: str = "web", replicas: int = 3, *, grace: int = 1, **fields: Any
    ) -> Reference:
        """Makes a workload of nginx pods, and waits until they serve. fields: of the container."""
        mounts = [{"name": "pair", "mountPath": "/tls"}, {"name": "conf", "mountPath": "/conf"}]
        argv = ("nginx", "-g", "daemon off;", "-c", "/conf/nginx.conf")
        pod = container(self.cluster.image(DEBIAN), *argv, volumeMounts=mounts)
        pod |= {"readinessProbe": READY, **fields}
        conf = {"name": "conf", "configMap": {"name": "conf"}}
        volumes = [secret_volume("pair"), conf]
        spec = {"volumes": volumes, "terminationGracePeriodSeconds": grace}
        made = deployment(name, replicas, pod, **spec)
        made["kind"] = API_KINDS[kind]
        made["spec"] |= STRATEGIES[kind]
        if kind == "daemonset":
            del made["spec"]["replicas"]
        reference = Reference(kind, name)
        self.named.append(reference)
        self.cluster.apply(self.namespace, self._config_map(), made)
        self.await_whole(reference)
        return reference

    def _config_map(self) -> Object:
        metadata = {"name": "conf"}
        data = {"nginx.conf": NGINX}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    @property
    def shown(self) -> dict[str, list[str]]:
        """What a target may go by in an undo: that every pod showed what it served before."""
        return {str(each): [] for each in self.named}

    def account(self, *rules: Object) -> Credentials:
        """A ServiceAccount that may do that and nothing else."""
        plane = self.cluster.control_plane
        who = plane.service_account(self.namespace, "certrotd")
        plane.allow(self.namespace, "certrotd", *rules)
        return who

    def target(
        self, *, labels: str | None = None, rules: Any = None, probed: bool = False, **fields: Any
    ) -> KubernetesTarget:
        """The target of all that was added, or of what has those labels, or mounts the Secret.

        Its account may do what the page says, or what ``rules`` says. Each pod may be ``probed``.
        """
        finds = labels or fields.get("mounting")
        usual = role(finds=bool(finds), execs="reloads" in fields)
        who = self.account(*(usual if rules is None else rules))
        made = rollouts(who, self.namespace, self.timeout)
        probes = (Probe(_probe, _probe),) if probed else ()
        fields.setdefault("secrets", {"web": "pair"})
        return KubernetesTarget(made, () if finds else tuple(self.named), labels, probes, **fields)

    def reloading(self, program: Program | None) -> KubernetesTarget:
        """The target of all that was added, whose pods keep running and are probed."""
        made = self.target(rules=role(execs=program is not None), probed=True)
        return replace(made, reloads=Reloads(made.rollouts, program))

    def await_whole(self, reference: Reference) -> None:
        """Returns once all pods of a workload are available, as kubectl sees it."""
        option = f"--namespace={self.namespace}"
        self.cluster.kubectl("rollout", "status", str(reference), option, "--timeout=120s")

    def pods(self, name: str = "web") -> list[Object]:
        """The pods of a workload that are not on their way out."""
        found = self.cluster.pods(self.namespace, f"app={name}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def ids(self, name: str = "web") -> set[str]:
        """What tells pods apart, also those of the same name."""
        return {each["metadata"]["uid"] for each in self.pods(name)}

    def await_crash(self, uid: str) -> None:
        """Returns once a pod is not ready because its container has ended."""

        def crashed() -> bool:
            return any(crash_of(pod) for pod in self.pods() if pod["metadata"]["uid"] == uid)

        wait_until(crashed, what="a crash")

    def serves(self, name: str = "web") -> str | None:
        """The leaf that every pod that is ready serves; None where they differ."""
        ready = [each for each in self.pods(name) if _is_ready(each)]
        leaves = {leaf(each["status"]["podIP"]) for each in ready}
        return leaves.pop() if len(leaves) == 1 else None

    def described(self, reference: Reference) -> str:
        """What kubectl describe says."""
        return self.cluster.kubectl("describe", str(reference), f"--namespace={self.namespace}")


@dataclass
class Load:
    """Requests one after the other, each on a connection of its own, while the block lasts."""

    address: str
    sent: int = 0
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def steady(self, clients: int = 2) -> Iterator[Self]:
        """So many ask at the same time."""
        over = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(over,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask(self, over: threading.Event) -> None:
        while not over.wait(0.02):
            try:
                with _connected(self.address) as secured:
                    secured.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    answer = secured.recv(100)
                if not answer.startswith(b"HTTP/1.1 "):
                    self.failed.append(f"{answer!r}")
            except OSError as error:
                self.failed.append(repr(error))
            self.sent += 1


def _probe(certificate: LiveCertificate, address: str) -> None:
    """As the wiring does it, within a few seconds."""
    endpoint = Endpoint(address, PORT, NAME, deadline=3.0)
    TlsProber(SystemClock()).prove(endpoint, certificate.fingerprint)


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def leaf(address: str) -> str | None:
    """What an nginx serves there; None where it does not answer."""
    try:
        with _connected(address) as secured:
            der = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    assert der is not None
    return fingerprint(x509.load_der_x509_certificate(der))


@contextmanager
def _connected(address: str) -> Iterator[ssl.SSLSocket]:
    """By TLS, trusting anybody."""
    with (
        socket.create_connection((address, PORT), timeout=10) as connection,
        no_check().wrap_socket(connection, server_hostname=NAME) as secured,
    ):
        yield secured


UPDATE = """#!/bin/sh
# The live pair into the Secret; once the file "break" is there, a certificate that is none; once
# "unready" is there, a key with which no pod becomes ready.
set -e
chain=$CERTROTD_LIVE/fullchain.pem
more=
if [ -e {folder}/unready ]; then
  rm {folder}/unready
  more=--from-literal=unready=yes
fi
if [ -e {folder}/break ]; then
  rm {folder}/break
  echo garbage >{folder}/garbage
  chain={folder}/garbage
fi
{kubectl} create secret generic pair --type=kubernetes.io/tls --from-file=tls.crt=$chain \\
  --from-file=tls.key=$CERTROTD_LIVE/privkey.pem $more --dry-run=client --output=yaml |
  {kubectl} apply --server-side --force-conflicts --filename=-
"""


def configure(web: Web, site: Site) -> None:
    """A certificate of an internal CA: first the Secret is told of it, then the workloads are."""
    config = web.cluster.control_plane.admin.write_kubeconfig(site.directory / "admin")
    kubectl = f"{locate.require('kubectl')} --kubeconfig={config} --namespace={web.namespace}"
    script = site.directory / "update"
    script.write_text(UPDATE.format(folder=site.directory, kubectl=kubectl))
    script.chmod(0o755)
    who = web.account(*RULES)
    site.internal()
    site.config["targets"] = {
        "secret": {"type": "command", "command": [str(script)]},
        "pods": {
            "type": "kubernetes",
            "kubeconfig": str(who.write_kubeconfig(site.directory / "kubeconfig", web.namespace)),
            "workloads": [str(each) for each in web.named],
            "pod_probe": [{"port": PORT}],
            "wave": 1,
        },
    }
    site.certificate("web", NAME, issuer="ca", targets=["secret", "pods"])


def configure_in_secret(web: Web, site: Site) -> None:
    """A certificate in the Secret itself, and a target that finds who uses it."""
    own = {"apiGroups": [""], "resources": ["secrets"], "verbs": [*NEEDED_OWN, "patch"]}
    who = web.account(*role(finds=True), own)
    place = {
        "type": "kubernetes",
        "namespace": web.namespace,
        "kubeconfig": str(who.write_kubeconfig(site.directory / "kubeconfig", web.namespace)),
    }
    path = f"/api/v1/namespaces/{web.namespace}/secrets/pair"
    web.cluster.api.delete(path)  # its type cannot be changed
    data = {"tls.crt": OLD.fullchain_pem, "tls.key": OLD.key_pem}
    web.put_data(data, type="kubernetes.io/tls")
    site.internal()
    pods = {"mounting": True, "secret": "versioned", "pod_probe": [{"port": PORT}]}
    site.config["targets"] = {"pods": {**place, **pods}}
    store = {**place, "secret": "pair", "adopt": True}
    site.certificate("web", NAME, issuer="ca", targets=["pods"], store=store)


def template_of(web: Web, reference: Reference) -> Object:
    """The pod template as it is in the API."""
    path = KINDS[reference.kind].path(web.namespace, reference.name)
    template: Object = web.cluster.api.get(path)["spec"]["template"]
    return template
