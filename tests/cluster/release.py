"""certrotd in a cluster as its chart installs it, from the image of this tree."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from certrotd.pki.facts import fingerprint
from tests.cluster.objects import Object
from tests.parts.kubernetes.chart import CHART
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import CERTROTD

SECRETS = "/run/secrets/certrotd"
"""Where the pods have the files of existingSecret."""


@dataclass(frozen=True)
class Release:
    """A release called certrotd in a namespace of its own."""

    cluster: Cluster
    namespace: str

    @classmethod
    def prepare(cls, cluster: Cluster, *objects: Object) -> "Release":
        """Not installed yet, but its namespace has these objects, and the node the image."""
        cluster.image(CERTROTD)
        release = cls(cluster, cluster.namespace("certrotd"))
        if objects:
            cluster.apply(release.namespace, *objects)
        return release

    def install(self, values: Mapping[str, Any]) -> None:
        """Installs or upgrades it, and returns once its pods are ready."""
        repository, _, tag = CERTROTD.rpartition(":")
        image = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
        options = ("--install", "--wait", "--timeout=5m", "--values=-")
        content = json.dumps({"image": image, **values})
        self.helm("upgrade", "certrotd", CHART, *options, stdin=content)

    def helm(self, command: str, *arguments: Any, stdin: str | None = None) -> str:
        """What helm prints of a command in the namespace."""
        option = f"--namespace={self.namespace}"
        return self.cluster.helm(command, option, *arguments, stdin=stdin)

    def kubectl(self, command: str, *arguments: str) -> str:
        """What kubectl prints of a command in the namespace."""
        return self.cluster.kubectl(command, f"--namespace={self.namespace}", *arguments)

    def run(self, *arguments: str, container: str = "certrotd") -> str:
        """What certrotd prints in a pod of the Deployment."""
        where = ("deployment/certrotd", f"--container={container}", "--", "certrotd")
        return self.kubectl("exec", *where, *arguments)

    def pods(self) -> list[Object]:
        """Those of certrotd that are not on their way out, nor of `helm test`."""
        labels = ("app.kubernetes.io/instance=certrotd", "app.kubernetes.io/component!=test")
        found = self.cluster.pods(self.namespace, ",".join(labels))
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def kill(self, pod: str) -> None:
        """Kills certrotd in a pod, as the kernel does where memory runs out."""
        found = self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{pod}")
        [status] = found["status"]["containerStatuses"]
        self.cluster.kill(status["containerID"].removeprefix("containerd://"))

    def leaf(self, secret: str) -> str:
        """The fingerprint of the leaf in a Secret of a generation."""
        data = self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{secret}")["data"]
        return fingerprint(x509.load_pem_x509_certificate(b64decode(data["tls.crt"])))

    def job(self, name: str) -> str:
        """Has a Job of the CronJob run to its end; what it printed. It must succeed."""
        self.kubectl("create", "job", name, "--from=cronjob/certrotd")
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"

        def state() -> Object:
            found: Object = self.cluster.api.get(path).get("status", {})
            return found

        self.cluster.until(
            lambda: bool({"succeeded", "failed"} & state().keys()),
            within=300,
            what="the Job ends",
            namespace=self.namespace,
        )
        log = self.kubectl("logs", f"job/{name}")
        assert state().get("succeeded") == 1, log
        return log

    def secrets(self) -> dict[str, str]:
        """The resourceVersion of each Secret by its name: those that helm keeps are left out."""
        found = self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/secrets")["items"]
        return {
            each["metadata"]["name"]: each["metadata"]["resourceVersion"]
            for each in found
            if each["type"] != "helm.sh/release.v1"
        }

    def remove(self) -> None:
        """Deletes its namespace, which is not waited for."""
        self.cluster.api.delete(f"/api/v1/namespaces/{self.namespace}")
