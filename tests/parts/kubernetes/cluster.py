"""A Kubernetes of one node, in namespaces of its own: real pods, of images made by the tests."""

import fcntl
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.parts import locate
from tests.parts.kubernetes import daemons, images
from tests.parts.kubernetes.api import Api, ApiError, Credentials, Object
from tests.parts.kubernetes.control_plane import ControlPlane
from tests.parts.kubernetes.isolation import (
    NODE_ADDRESS,
    Isolation,
    remove_cgroups,
    remove_directory,
)
from tests.parts.process import Server, wait_until

Kind = TypeVar("Kind", bound=Server)

_PREFIX = "certrotd-cluster-"
_IMAGES = {
    images.BUSYBOX: images.busybox,
    images.DEBIAN: images.debian,
    images.CERTROTD: images.certrotd,
}


class CommandFailed(Exception):
    """A program ended with a status that is not 0; the message has what it printed."""


class Cluster:
    """The whole node; each of its programs is a Server that a test may pause, kill and restart.

    Pods have addresses in 10.244.0.0/24, Services in 10.96.0.0/24; both are reachable from within
    `network` alone. There is no DNS: pods find Services by address or environment.
    sync: how often the kubelet looks at what pods have mounted (a minute in the wild).

    Its directory is removed at the end, and by the next cluster's start where pytest was killed:
    then nothing else is left of it, as all its processes and mounts end with their namespaces.
    """

    def __init__(self, *, sync: str = "5s") -> None:
        locate.require_root()
        _remove_abandoned()
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.directory.chmod(0o755)  # pods run as other users
        self._held = _hold(self.directory)
        assert self._held is not None
        self._sync = sync
        self._servers: list[Server] = []
        self._imported: set[str] = set()
        self.isolation = Isolation(self.directory / "isolation")
        self.control_plane: ControlPlane
        self.api: Api
        self.controller_manager: Server
        self.scheduler: Server
        self.containerd: Server
        self.kubelet: Server
        self.proxy: Server
        self.kubeconfig = self.directory / "kubeconfig"

    # From the beginning to the end.

    def start(self) -> Self:
        """Starts everything; the node is ready then, and namespace "default" can have pods."""
        try:
            self.isolation.start()
            with self.network():
                self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def _start_all(self) -> None:
        prefix = self.isolation.inside()
        at = self.directory
        self.containerd = self._start(daemons.containerd(at / "containerd", prefix))
        self.control_plane = self._start(
            ControlPlane(at / "control-plane", address=NODE_ADDRESS, port=6443, prefix=prefix)
        )
        plane = self.control_plane
        self.api = plane.api
        plane.admin.write_kubeconfig(self.kubeconfig)
        self.controller_manager = daemons.controller_manager(at / "controllers", plane, prefix)
        self.scheduler = daemons.scheduler(at / "scheduler", plane, prefix)
        self.proxy = daemons.proxy(at / "proxy", plane, prefix)
        self.kubelet = daemons.kubelet(
            at / "kubelet", plane, prefix, cgroup=at.name, sync=self._sync
        )
        self._import(images.PAUSE, images.pause)
        for server in (self.controller_manager, self.scheduler, self.kubelet):
            self._start(server)
        wait_until(self._is_ready, what="the node is ready")
        self._start(self.proxy)  # it looks for its node at once, and then not for half a minute
        self.await_account("default")

    def _start(self, server: Kind) -> Kind:
        self._servers.append(server)
        return server.start()

    def _is_ready(self) -> bool:
        try:
            node = self.api.get(f"/api/v1/nodes/{daemons.NODE}")
        except ApiError:
            return False
        states = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
        return states.get("Ready") == "True"

    def stop(self) -> None:
        """Ends everything, and removes every trace of it."""
        for server in reversed(self._servers):  # first: the namespaces' end waits for each of them
            server.stop()
        self.isolation.stop()
        wait_until(lambda: not _processes_of(self.directory), what="the pods' processes are gone")
        remove_cgroups(self.directory.name)
        if self._held is not None:
            os.close(self._held)
            self._held = None
        remove_directory(self.directory)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # What is done with it.

    def network(self) -> AbstractContextManager[None]:
        """Within it the calling thread, and what it starts, is in the node's network."""
        return self.isolation.network()

    def import_image(self, archive: Path) -> None:
        """Gives the node an image: an OCI archive, or what `docker save` wrote.

        Pods name it as the archive does, with imagePullPolicy Never or IfNotPresent.
        """
        self.run(*self._ctr(), "images", "import", archive)

    def image(self, name: str) -> str:
        """images.BUSYBOX, DEBIAN or CERTROTD, which is imported once; the name again."""
        self._import(name, _IMAGES[name])
        return name

    def _import(self, name: str, make: Callable[[Path], Path]) -> None:
        if name in self._imported:
            return
        with tempfile.TemporaryDirectory(dir=self.directory) as made:
            self.import_image(make(Path(made)))
        self._imported.add(name)

    def tag(self, image: str, name: str) -> None:
        """Gives an image that the node has another name, too; both with registry and tag."""
        self.run(*self._ctr(), "images", "tag", "--force", image, name)

    def kill(self, container: str) -> None:
        """Kills the first process of a container, whose id the pod's status has."""
        self.run(*self._ctr(), "tasks", "kill", "--signal=SIGKILL", container)

    def _ctr(self) -> list[str | Path]:
        return [locate.require("ctr"), f"--address={daemons.CONTAINERD}", "--namespace=k8s.io"]

    def namespace(self, prefix: str = "test") -> str:
        """Makes a namespace of a name of its own, which can have pods."""
        name = self.control_plane.namespace(prefix)
        self.await_account(name)
        return name

    def await_account(self, namespace: str) -> None:
        """Returns once the ServiceAccount "default" is there: without it pods are refused."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        wait_until(lambda: self.api.exists(path), what=f"ServiceAccount default of {namespace}")

    def pods(self, namespace: str, selector: str = "") -> list[Object]:
        """The pods of a namespace that a label selector finds; all by default."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        found: list[Object] = self.api.get(path, labelSelector=selector)["items"]
        return found

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, by: Credentials | None = None
    ) -> str:
        """What kubectl prints; raises CommandFailed. by: whose it is, instead of the admin's."""
        return self._client("kubectl", *arguments, stdin=stdin, by=by)

    def helm(
        self, *arguments: str | Path, stdin: str | None = None, by: Credentials | None = None
    ) -> str:
        """What helm prints; raises CommandFailed."""
        return self._client("helm", *arguments, stdin=stdin, by=by)

    def _client(
        self, name: str, *arguments: str | Path, stdin: str | None, by: Credentials | None
    ) -> str:
        config = self.kubeconfig
        with tempfile.TemporaryDirectory(dir=self.directory) as made:
            if by is not None:
                config = by.write_kubeconfig(Path(made) / "kubeconfig")
            environment = {"KUBECONFIG": str(config), "HOME": str(self.directory)}
            return self.run(locate.require(name), *arguments, stdin=stdin, environment=environment)

    def sh(self, command: str, *, directory: Path) -> str:
        """What a line of shell prints that asks the cluster by kubectl or helm."""
        programs = f"{locate.require('kubectl').parent}:{os.environ['PATH']}"
        environment = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)}
        line = ("sh", "-euc", f"cd {shlex.quote(str(directory))}\n{command}")
        return self.run(*line, environment=environment | {"PATH": programs})

    def apply(self, namespace: str, *objects: Mapping[str, Any]) -> None:
        """Makes or changes objects of a namespace, as `kubectl apply --server-side` does."""
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        options = ("--server-side", "--force-conflicts", f"--namespace={namespace}")
        self.kubectl("apply", *options, "--filename=-", stdin=content)

    def run(
        self,
        *argv: str | Path,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
        within: float = 300.0,
    ) -> str:
        """What a program of this machine prints in the node's namespaces; raises CommandFailed."""
        ran = subprocess.run(
            [*self.isolation.inside(), *argv],
            input=stdin,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
        )
        if ran.returncode:
            said = f"{ran.stdout}{ran.stderr}"
            raise CommandFailed(f"{[*map(str, argv)]} exited with {ran.returncode}: {said}")
        return ran.stdout

    def until(
        self,
        condition: Callable[[], bool],
        *,
        within: float = 120.0,
        what: str = "",
        namespace: str | None = None,
    ) -> None:
        """Returns once it holds; a failed answer of the API is a "not yet".

        Where it does not within the time, AssertionError says what the namespace's events are.
        """
        end = time.monotonic() + within
        while True:
            with suppress(ApiError, OSError):
                if condition():
                    return
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        told = "" if namespace is None else self.story(namespace)
        raise AssertionError(f"not within {within} s: {what}\n{told}")

    def story(self, namespace: str) -> str:
        """The pods and events of a namespace, for a failed test's message."""
        option = f"--namespace={namespace}"
        pods = self.kubectl("get", "pods", option, "--output=wide")
        return pods + self.kubectl("get", "events", option, "--sort-by=.metadata.creationTimestamp")


def _hold(directory: Path) -> int | None:
    """Locks a cluster's directory for as long as its process lives; None where another has it."""
    held = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def _remove_abandoned() -> None:
    """Removes what killed runs left: directories, and control groups without processes."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        held = _hold(directory)
        if held is None:
            continue
        remove_cgroups(directory.name)
        remove_directory(directory)
        os.close(held)


def _processes_of(directory: Path) -> list[int]:
    """Processes in control groups named after a cluster's directory (proc_pid_cgroup(5))."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if f"/{directory.name}" in file.read_text():
                found.append(int(file.parent.name))
    return found
