"""certrotd beside a node as it runs in one of its pods: by a ServiceAccount, in the node's network.

It finds the API server as every pod does, by KUBERNETES_SERVICE_HOST and the account's directory,
which is mounted for it alone: the official client, which reads kubeconfigs, is not loaded.
"""

import os
import re
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.measure import ProgramFailed, variables
from tests.parts import Bind, Pebble
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.isolation import NODE_ADDRESS
from tests.parts.kubernetes.secrets import rules as store_rules
from tests.parts.process import wait_until
from tests.parts.site import PROGRAM, Site
from tests.unit.targets.kubernetes_page import role

Rule = Mapping[str, Any]

ACCOUNT = "certrotd"
_DOCS = Path(__file__).parents[2] / "docs"
_RBAC = "rbac.authorization.k8s.io"
# $1 is the account's directory; /run is the program's own, and /var/run leads there
_AS_POD = """
at=/run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$at"
mount --bind "$1" "$at"
shift
exec "$@"
"""


class Installation(Site):
    """A configured certrotd with namespaces of its own: ``own`` for state, ``workloads`` for pods.

    Its account has the rights that the docs give it, and no others. Start it from within the node's
    network. secrets: of the certificates. execs: whether a target runs programs in pods, instead of
    restarting them.
    """

    def __init__(
        self, cluster: Cluster, directory: Path, *secrets: str, execs: bool = False
    ) -> None:
        super().__init__(directory)
        self.cluster = cluster
        self.own = cluster.namespace("certrotd")
        self.workloads = cluster.namespace("shop")
        self._account = directory / "account"
        self._account.mkdir()
        who = cluster.control_plane.service_account(self.own, ACCOUNT)
        token = self._account / "token"
        token.touch(mode=0o600)
        token.write_text(who.token or "")
        (self._account / "ca.crt").write_bytes(cluster.control_plane.ca_file.read_bytes())
        (self._account / "namespace").write_text(self.own)
        everywhere, named = store_rules(*secrets)
        self._allow(self.own, everywhere, *_state_rules())
        self._allow(self.workloads, named, *role(finds=len(secrets) > 1, execs=execs))
        self.config["state"] = {"type": "kubernetes"}

    @property
    def user(self) -> str:
        """Who it is for the API server."""
        return f"system:serviceaccount:{self.own}:{ACCOUNT}"

    def root_of(self, secret: str) -> Path:
        """The topmost certificate of the chain that a Secret has now, as a file."""
        path = f"/api/v1/namespaces/{self.workloads}/secrets/{secret}"
        chain = b64decode(self.cluster.api.get(path)["data"]["tls.crt"])
        file = self.directory / f"{secret}.root.pem"
        topmost = x509.load_pem_x509_certificates(chain)[-1]
        file.write_bytes(topmost.public_bytes(Encoding.PEM))
        return file

    def stored(self, name: str, *names: str, **options: Any) -> dict[str, Any]:
        """One more certificate, kept in the Secret of its name."""
        store = {
            "type": "kubernetes",
            "secret": name,
            "namespace": self.workloads,
            "generations": self.own,
        }
        return self.certificate(name, *names, store=store, **options)

    def ordered_from(self, pebble: Pebble, bind: Bind) -> None:
        """Certificates come from that CA, proven by that DNS server."""
        self.acme(pebble)
        self.rfc2136(bind)
        self.config["dns"] = {"resolvers": [bind.server], "propagation": {"port": bind.port}}

    def pods(self, target: str, *workloads: str, **options: Any) -> None:
        """A target of pods."""
        self.config["targets"][target] = {
            "type": "kubernetes",
            "namespace": self.workloads,
            **({"workloads": list(workloads)} if workloads else {}),
            **options,
        }

    def command_line(self, *arguments: str) -> list[str]:
        """As Site.command_line, in the way of a pod; its id becomes that of certrotd itself."""
        return [*self._as_pod(), *super().command_line(*arguments)]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """As Site.environment, with what a pod finds the API server by."""
        address = {"KUBERNETES_SERVICE_HOST": NODE_ADDRESS, "KUBERNETES_SERVICE_PORT": "6443"}
        return variables({**address, **more})

    def daemon(self, replica: str = "") -> "Logged":
        """``certrotd run``.

        replica: the name of one of several, each of which has a state directory of its own.
        """
        return self.logged("run", replica=replica)

    def logged(self, *arguments: str, replica: str = "") -> "Logged":
        """Starts certrotd, whose log is a file: nobody has to read it meanwhile, however much."""
        path = self.write_for(replica)
        argv = [*self._as_pod(), sys.executable, str(PROGRAM), "-c", str(path), *arguments]
        return Logged(argv, self.environment({}), path.with_suffix(".log"))

    def write_for(self, replica: str) -> Path:
        """Writes the configuration as it is now, for that replica."""
        if not replica:
            self.write()
            return self.path
        path = self.directory / f"{replica}.yaml"
        changed = {**self.config, "state_dir": str(self.directory / replica)}
        path.write_text(yaml.safe_dump(changed, sort_keys=False))
        return path

    def delete(self) -> None:
        """Deletes its namespaces, which is not waited for."""
        for namespace in (self.own, self.workloads):
            self.cluster.api.delete(f"/api/v1/namespaces/{namespace}")

    def _as_pod(self) -> list[str]:
        dies = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount"]
        return [*dies, "sh", "-euc", _AS_POD, "-", str(self._account)]

    def _allow(self, namespace: str, *rules: Rule) -> None:
        """Gives the account a Role there, and waits until it is in force."""
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.own}
        role = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": ACCOUNT},
            "rules": list(rules),
        }
        binding = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": ACCOUNT},
            "subjects": [subject],
            "roleRef": {"kind": "Role", "name": ACCOUNT, "apiGroup": _RBAC},
        }
        self.cluster.apply(namespace, role, binding)
        wait_until(lambda: self._may(namespace, rules[-1]), what="the account has its rights")

    def _may(self, namespace: str, rule: Rule) -> bool:
        attributes = {
            "namespace": namespace,
            "group": rule["apiGroups"][0],
            "resource": rule["resources"][0],
            "verb": rule["verbs"][0],
            "name": (rule.get("resourceNames") or [""])[0],
        }
        asked = {"spec": {"user": self.user, "resourceAttributes": attributes}}
        reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.cluster.api.create(reviews, asked)["status"]["allowed"])


class Logged:
    """A certrotd that writes to a file; one that still runs at the end of the block is killed."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )

    @property
    def pid(self) -> int:
        """That of certrotd itself."""
        return self._process.pid

    @property
    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, *, within: float = 120.0) -> "re.Match[str]":
        """Returns once its log has what the regular expression finds."""

        def is_there() -> bool:
            if re.search(pattern, self.said):
                return True
            if self._process.poll() is not None:
                raise ProgramFailed(f"certrotd ended without saying {pattern!r}:\n{self.tail}")
            return False

        try:
            wait_until(is_there, within=within)
        except TimeoutError:
            raise ProgramFailed(f"not within {within:g} s: {pattern!r}\n{self.tail}") from None
        found = re.search(pattern, self.said)
        assert found is not None
        return found

    @property
    def tail(self) -> str:
        """The end of its log."""
        return self.said[-4000:]

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Sends a signal, also to one that is frozen."""
        self._process.send_signal(number)

    def end(self, *, within: float = 120.0) -> int:
        """Waits for its end; the exit code."""
        return self._process.wait(within)

    def stop(self) -> int:
        """As the kubelet stops a pod; the exit code."""
        self.signal(signal.SIGTERM)
        return self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._process.wait()


def _state_rules() -> list[Rule]:
    """What docs/cluster-state.md has the account be given."""
    text = (_DOCS / "cluster-state.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    [role] = [each for each in map(yaml.safe_load, blocks) if each.get("kind") == "Role"]
    found: list[Rule] = role["rules"]
    return found
