"""nginx in three pods behind a Service, which serve the certificate of a Secret."""

import socket
import ssl
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from certrotd.pki.facts import fingerprint
from tests.cluster.objects import Object, container, deployment, secret_volume, service
from tests.cluster.web import API_KINDS, NGINX, PORT, READY
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import DEBIAN

HOST = "web.bench.test"
REFUSED = "refused.bench.test"
"""A name that the pods do not start with, in whatever certificate."""
_START = f"""
if openssl x509 -in /tls/tls.crt -noout -ext subjectAltName | grep -q {REFUSED}; then
  echo "this is no certificate for {HOST}" >&2
  exit 1
fi
exec nginx -g "daemon off;" -c /conf/nginx.conf
"""
_GRACE = 30
_PRE_STOP = 5
_SOON = 5.0
_ANYBODY = ssl.create_default_context()
_ANYBODY.check_hostname = False
_ANYBODY.verify_mode = ssl.CERT_NONE


@dataclass(frozen=True)
class Workload:
    """Pods labelled app=NAME of a ``kind`` ("deployment" …), and their Service of the same name."""

    cluster: Cluster
    namespace: str
    secret: str
    kind: str = "deployment"
    replicas: int = 3
    pre_stop: bool = False
    name: str = "web"

    @property
    def reference(self) -> str:
        """As kubectl and a target's configuration name it."""
        return f"{self.kind}/{self.name}"

    @property
    def path(self) -> str:
        """Of its object in the API."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/{self.kind}s/{self.name}"

    def deploy(self) -> None:
        """Makes all of it, and waits until every pod is available."""
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}}
        config |= {"data": {"nginx.conf": NGINX}}
        objects = [config, service(self.name, PORT), self.manifest()]
        self.cluster.apply(self.namespace, *objects)
        option = f"--namespace={self.namespace}"
        self.cluster.kubectl("rollout", "status", self.reference, option, "--timeout=120s")

    def manifest(self) -> Object:
        """The object as somebody has it in a repository."""
        mounts = [
            {"name": self.secret, "mountPath": "/tls"},
            {"name": "conf", "mountPath": "/conf"},
        ]
        fields: dict[str, Any] = {"volumeMounts": mounts, "readinessProbe": READY}
        if self.pre_stop:
            fields["lifecycle"] = {"preStop": {"sleep": {"seconds": _PRE_STOP}}}
        pod = container(self.cluster.image(DEBIAN), "sh", "-c", _START, **fields)
        volumes = [secret_volume(self.secret), {"name": "conf", "configMap": {"name": "conf"}}]
        made = deployment(
            self.name, self.replicas, pod, volumes=volumes, terminationGracePeriodSeconds=_GRACE
        )
        made["kind"] = API_KINDS[self.kind]
        if self.kind == "statefulset":
            made["spec"]["serviceName"] = self.name
        return made

    # What can be seen of it.

    def address(self) -> tuple[str, int]:
        """Where its Service is."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{self.name}"
        return self.cluster.api.get(path)["spec"]["clusterIP"], PORT

    def get(self) -> Object:
        """Its object."""
        return self.cluster.api.get(self.path)

    def pods(self) -> list[Object]:
        """Its pods that are not on their way out."""
        found = self.cluster.pods(self.namespace, f"app={self.name}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def ids(self) -> set[str]:
        """What tells its pods apart."""
        return {each["metadata"]["uid"] for each in self.pods()}

    def in_secret(self) -> str | None:
        """The leaf in its Secret, by fingerprint; None where that is no certificate."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"
        chain = b64decode(self.cluster.api.get(path)["data"]["tls.crt"])
        try:
            return fingerprint(x509.load_pem_x509_certificates(chain)[0])
        except ValueError:
            return None

    def serves(self, leaf: str | None) -> bool:
        """Whether there are as many pods as there should be, all ready, and each serves that."""
        pods = self.pods()
        if len(pods) != self.replicas or not all(map(_is_ready, pods)):
            return False
        return all(served(each["status"]["podIP"]) == leaf for each in pods)


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def served(address: str) -> str | None:
    """The leaf, by fingerprint, that a handshake with a pod shows; None where there is none."""
    try:
        with (
            socket.create_connection((address, PORT), timeout=_SOON) as connection,
            _ANYBODY.wrap_socket(connection, server_hostname=HOST) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    return None if der is None else fingerprint(x509.load_der_x509_certificate(der))
