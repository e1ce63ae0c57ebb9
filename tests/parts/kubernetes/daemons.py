"""What a node runs beside the control plane: controllers, scheduler, containerd, kubelet, proxy."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.parts import locate, pki
from tests.parts.kubernetes.control_plane import ControlPlane
from tests.parts.kubernetes.images import PAUSE
from tests.parts.kubernetes.isolation import NODE_ADDRESS
from tests.parts.process import Server

Command = Sequence[str | Path]

_AGAIN = 'while :; do "$@" || :; sleep 1; done'

NODE = "node1"
POD_RANGE = "10.244.0.0/24"
CONTAINERD = "/run/containerd/containerd.sock"  # of the node's own /run


class Daemon(Server):
    """One program of a node, started by ``prefix``, and again whenever it ends by itself.

    So does a node's own init or kubelet: the controller manager gives up where the API server,
    just restarted, does not know its rights yet. Once killed by a test it stays down until `start`.
    """

    def __init__(
        self,
        directory: Path,
        prefix: Command,
        command: Command,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self._prefix = prefix
        self._command = command
        self._is_ready = is_ready
        self._environment = environment or {}

    def command(self) -> Command:
        return [*self._prefix, "sh", "-c", _AGAIN, "-", *self._command]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def is_ready(self) -> bool:
        return self._is_ready()

    def stop(self) -> None:
        """At once: a signal to the prefix alone would leave the program."""
        self.kill()


def listens(port: int, address: str = "127.0.0.1") -> Callable[[], bool]:
    """Whether something listens there, for the calling thread's network namespace."""

    def asked() -> bool:
        with socket.create_connection((address, port), timeout=5):
            return True

    return asked


def controller_manager(directory: Path, plane: ControlPlane, prefix: Command) -> Daemon:
    """All controllers that are on by default, each as a ServiceAccount of its own."""
    config = _kubeconfig(directory, plane, "system:kube-controller-manager")
    command: Command = [
        locate.require("kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--root-ca-file={plane.ca_file}",
        f"--service-account-private-key-file={plane.signing_key_file}",
        f"--cluster-signing-cert-file={plane.ca_file}",
        f"--cluster-signing-key-file={plane.ca_key_file}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
    return Daemon(directory, prefix, command, listens(10257))


def scheduler(directory: Path, plane: ControlPlane, prefix: Command) -> Daemon:
    """The one scheduler."""
    config = _kubeconfig(directory, plane, "system:kube-scheduler")
    command: Command = [
        locate.require("kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory}",
    ]
    return Daemon(directory, prefix, command, listens(10259))


def proxy(directory: Path, plane: ControlPlane, prefix: Command) -> Daemon:
    """What makes the addresses of Services work, by iptables of the network namespace."""
    locate.require("iptables")
    config = _kubeconfig(directory, plane, "system:kube-proxy")
    command: Command = [
        locate.require("kube-proxy"),
        f"--kubeconfig={config}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={POD_RANGE}",
        f"--hostname-override={NODE}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
        "--masquerade-all",
        "--iptables-min-sync-period=0s",
        f"--bind-address={NODE_ADDRESS}",
    ]
    return Daemon(directory, prefix, command, listens(10256, NODE_ADDRESS))


def containerd(directory: Path, prefix: Command) -> Daemon:
    """A second containerd beside this machine's, with pods' network by a bridge."""
    binary = locate.require("containerd")
    plugins = locate.require("/usr/lib/cni/bridge").parent
    network = directory / "net.d"
    network.mkdir(parents=True)
    leases = {"type": "host-local", "dataDir": str(directory / "addresses")}
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": leases | {"ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    networks = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}
    (network / "10-pods.conflist").write_text(json.dumps(networks))
    config = directory / "config.toml"
    config.write_text(
        f"""version = 2
root = "{directory / "root"}"
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{network}"
"""
    )
    locate.require("runc")
    path = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    command: Command = [binary, "--config", config]
    asked = [*prefix, locate.require("ctr"), f"--address={CONTAINERD}", "version"]

    def answers() -> bool:
        return subprocess.run(asked, check=False, capture_output=True).returncode == 0

    return Daemon(directory, prefix, command, answers, path)


def kubelet(
    directory: Path, plane: ControlPlane, prefix: Command, *, cgroup: str, sync: str
) -> Daemon:
    """The node's agent; sync: how often it looks at what pods have mounted, e.g. "5s"."""
    config = _kubeconfig(directory, plane, f"system:node:{NODE}", "system:nodes")
    pair = pki.make_leaf(plane.authority, NODE, NODE_ADDRESS)
    certificate, key = pair.write(directory, "serving")
    resolvers = directory / "resolv.conf"
    resolvers.write_text("")  # there is no DNS in the cluster, and this machine's is out of reach
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "x509": {"clientCAFile": str(plane.ca_file)},
            "anonymous": {"enabled": False},
        },
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "1Mi"},  # and not for a disk that is almost full
        "imageGCHighThresholdPercent": 100,  # an image that is gone cannot be pulled again
        "syncFrequency": sync,
        "resolvConf": str(resolvers),
        "volumePluginDir": str(directory / "plugins"),
        "maxPods": 200,
    }
    (directory / "config.yaml").write_text(json.dumps(settings))
    command: Command = [
        locate.require("kubelet"),
        f"--kubeconfig={config}",
        f"--config={directory / 'config.yaml'}",
        f"--root-dir={directory / 'root'}",
        f"--cert-dir={directory}",
        f"--node-ip={NODE_ADDRESS}",
        f"--hostname-override={NODE}",
    ]
    return Daemon(directory, prefix, command, listens(10250, NODE_ADDRESS))


def _kubeconfig(directory: Path, plane: ControlPlane, user: str, *groups: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return plane.user(user, *groups).write_kubeconfig(directory / "kubeconfig")
