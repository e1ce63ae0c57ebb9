"""etcd and kube-apiserver: the whole API with its authorization, and nothing that runs pods."""

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.parts import locate, pki
from tests.parts.client import https
from tests.parts.kubernetes.api import Api, ApiError, Credentials, Object
from tests.parts.process import Server, free_port, wait_until

SERVICE_RANGE = "10.96.0.0/24"
_IN_CLUSTER = "10.96.0.1"  # the first of that range: the service "kubernetes"
_ISSUER = "https://kubernetes.default.svc.cluster.local"


Right = tuple[str, str, str]
"""Group, resource and verb."""


class Etcd(Server):
    """One member on loopback ports of its own, without TLS; what it keeps outlives a restart."""

    def __init__(self, directory: Path, *, prefix: Sequence[str | Path] = ()) -> None:
        super().__init__(directory)
        self._binary = locate.require("etcd")
        self._prefix = prefix
        self.url = f"http://127.0.0.1:{free_port()}"
        self._peers = f"http://127.0.0.1:{free_port()}"

    def command(self) -> Sequence[str | Path]:
        return [
            *self._prefix,
            self._binary,
            "--name=test",
            f"--data-dir={self.directory / 'data'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self._peers}",
            f"--initial-advertise-peer-urls={self._peers}",
            f"--initial-cluster=test={self._peers}",
            "--unsafe-no-fsync",  # a test's data need not outlive the machine
            "--log-level=warn",
        ]

    def is_ready(self) -> bool:
        return b"true" in https(f"{self.url}/health", ca_file=None)

    def stop(self) -> None:
        """At once: without other members nobody is told."""
        self.kill()


class ControlPlane(Server):
    """An API server with RBAC in force, on etcd; ready in seconds, without root.

    `pause`, `resume`, `kill` and `restart` are the API server's; etcd has its own, in `etcd`.
    No controller runs: a Deployment makes no pods, a deleted namespace stays Terminating, and a
    ServiceAccount is there once a test makes it (`service_account`).

    address, port: where it listens; names: further names of its certificate.
    prefix: what its programs are started by, for another network namespace. flags: further ones.
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        prefix: Sequence[str | Path] = (),
        flags: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        self._binary = locate.require("kube-apiserver")
        self.etcd = Etcd(directory / "etcd", prefix=prefix)
        self._prefix = prefix
        self._flags = flags
        self._address = address
        self._port = port or free_port()
        self.url = f"https://{address}:{self._port}"
        self._pki = directory / "pki"
        self.authority = pki.make_root("Kubernetes test CA")
        self.ca_file, self.ca_key_file = self.authority.write(self._pki, "ca")
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
        serving = pki.make_leaf(self.authority, *names, address, "127.0.0.1", _IN_CLUSTER)
        self._serving = serving.write(self._pki, "serving")
        signing = pki.make_root("ServiceAccount tokens")
        self.signing_key_file = signing.write(self._pki, "tokens")[1]
        self._verifying_key_file = self._pki / "tokens.pub"
        self._verifying_key_file.write_bytes(
            signing.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        self._client = pki.make_client(self.authority, "kube-apiserver", "system:masters").write(
            self._pki, "kubelet-client"
        )
        self.audit_log = directory / "audit.log"
        self.admin = self.user("admin", "system:masters")
        self.api = Api(self.admin)

    # Who may ask.

    def user(self, name: str, *groups: str) -> Credentials:
        """A user's client certificate; RBAC decides what it may do, except for system:masters."""
        file = "".join(letter if letter.isalnum() else "-" for letter in name)
        pair = pki.make_client(self.authority, name, *groups)
        written = pair.write(self._pki, f"{file}-{secrets.token_hex(4)}")
        return Credentials(self.url, self.ca_file, certificate=written)

    def service_account(
        self, namespace: str, name: str, *, seconds: int = 3600, bound_to: Object | None = None
    ) -> Credentials:
        """A ServiceAccount's token by TokenRequest, made if there is no such account.

        seconds: until it expires, 600 at least. bound_to: e.g. {"kind": "Pod", "apiVersion": "v1",
        "name": …}; the token dies with that object.
        """
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        if not self.api.exists(f"{accounts}/{name}"):
            self.api.create(accounts, {"metadata": {"name": name}})
        wanted: Object = {"expirationSeconds": seconds}
        if bound_to is not None:
            wanted["boundObjectRef"] = bound_to
        answer = self.api.create(f"{accounts}/{name}/token", {"spec": wanted})
        return Credentials(self.url, self.ca_file, token=answer["status"]["token"])

    def allow(self, namespace: str, account: str, *rules: Object) -> None:
        """Gives a ServiceAccount of the namespace a Role with those rules there, and no other.

        In force when this returns, for rules of resources without names.
        """
        roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        before: set[Right] = set()
        with suppress(ApiError):
            before = _rights(self.api.get(f"{roles}/roles/{account}")["rules"])
        for kind in ("rolebindings", "roles"):
            with suppress(ApiError):
                self.api.delete(f"{roles}/{kind}/{account}")
        self.api.create(f"{roles}/roles", {"metadata": {"name": account}, "rules": list(rules)})
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": {"name": account},
            "subjects": [subject],
            "roleRef": {"kind": "Role", "name": account, "apiGroup": group},
        }
        self.api.create(f"{roles}/rolebindings", binding)
        now = _rights(rules)
        self._await(namespace, account, now, before - now)

    def _await(self, namespace: str, account: str, given: set[Right], taken: set[Right]) -> None:
        """Returns once the API server, which learns of Roles by watching them, goes by these."""

        def in_force() -> bool:
            may = {each for each in given | taken if self._may(namespace, account, *each)}
            return may == given

        wait_until(in_force, what=f"the rights of {account} are in force")

    def _may(self, namespace: str, account: str, group: str, resource: str, verb: str) -> bool:
        attributes = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        user = f"system:serviceaccount:{namespace}:{account}"
        asked = {"spec": {"user": user, "resourceAttributes": attributes}}
        reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.api.create(reviews, asked)["status"]["allowed"])

    def namespace(self, prefix: str = "test") -> str:
        """Makes a namespace of a name of its own."""
        made = self.api.create("/api/v1/namespaces", {"metadata": {"generateName": f"{prefix}-"}})
        return str(made["metadata"]["name"])

    # The process.

    def command(self) -> Sequence[str | Path]:
        certificate, key = self._serving
        client, client_key = self._client
        return [
            *self._prefix,
            self._binary,
            f"--bind-address={self._address}",
            f"--advertise-address={self._address}",
            f"--secure-port={self._port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.ca_file}",
            f"--etcd-servers={self.etcd.url}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={self._verifying_key_file}",
            f"--service-account-signing-key-file={self.signing_key_file}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            f"--kubelet-client-certificate={client}",
            f"--kubelet-client-key={client_key}",
            f"--kubelet-certificate-authority={self.ca_file}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={self._policy()}",
            f"--audit-log-path={self.audit_log}",
            "--profiling=false",
            *self._flags,
        ]

    def _policy(self) -> Path:
        """Who asked what, without what was said: Secrets never reach the log."""
        policy = self.directory / "audit-policy.yaml"
        policy.write_text(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n"
            "rules:\n- level: Metadata\n"
        )
        return policy

    def environment(self) -> Mapping[str, str]:
        # half a processor's time goes to collecting garbage otherwise, of a heap that is small
        return {"GOGC": "400"}

    def is_ready(self) -> bool:
        try:
            return bool(self.api.get("/readyz")["text"] == "ok")
        except ApiError:
            return False

    def start(self) -> Self:
        """Starts etcd, if need be, and the API server."""
        if not self.etcd.is_running:
            self.etcd.start()
        try:
            return super().start()
        except BaseException:
            self.etcd.stop()
            raise

    def stop(self) -> None:
        """Ends both at once: asked to, the API server waits a minute for those who watch."""
        self.kill()
        self.etcd.stop()

    def restart(self) -> Self:
        """Kills the API server and starts it again at the same address; etcd goes on."""
        self.kill()
        return self.start()

    @contextmanager
    def slow_etcd(self, *, stopped: float = 0.3, running: float = 0.02) -> Iterator[None]:
        """Within it etcd stands still for most of the time (seconds): each answer comes late."""
        leave = threading.Event()

        def beat() -> None:
            while not leave.is_set():
                self.etcd.pause()
                leave.wait(stopped)
                self.etcd.resume()
                leave.wait(running)

        beating = threading.Thread(target=beat)
        beating.start()
        try:
            yield
        finally:
            leave.set()
            beating.join()


def _rights(rules: Sequence[Object]) -> set[Right]:
    """Group, resource and verb of each right that a Role gives to all objects."""
    return {
        (group, resource, verb)
        for rule in rules
        if not rule.get("resourceNames")
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
