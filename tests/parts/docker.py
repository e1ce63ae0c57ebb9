"""A Docker daemon of the tests' own, and containers in which systemd is the first process."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.parts import locate, pki
from tests.parts.process import Server, ServerFailed, free_port, wait_until

# What systemd needs and a container does not have by itself; --privileged asks for more than some
# hosts have to give.
_CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "DAC_READ_SEARCH")


class Engine(Server):
    """A Docker engine that listens on a socket in a directory of its own: ``host``."""

    def __init__(self, prefix: str) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix=prefix)))
        self.client = locate.require("docker")
        self.host = f"unix://{self.directory}/docker.sock"

    def is_ready(self) -> bool:
        try:
            self.run("version")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> None:
        if self.is_running:
            # what still runs would outlive a dockerd that has no time to wait for it
            for container in self.run("ps", "--all", "--quiet").split():
                self.run("rm", "--force", "--volumes", container)
        super().stop()

    def run(self, *arguments: str | Path, within: float = 600.0, host: str = "") -> str:
        """What a docker command prints; it must succeed. ``host``: by another way to the engine."""
        return subprocess.run(
            [self.client, "--host", host or self.host, *arguments],
            env={**os.environ, "DOCKER_BUILDKIT": "0"},  # not every docker has the other builder
            check=True,
            capture_output=True,
            text=True,
            timeout=within,
        ).stdout


class Docker(Engine):
    """dockerd without networks: each container has loopback alone.

    Everything it keeps is in a short directory of its own (its sockets' paths have a limit),
    removed at the end. Root is needed. It listens at ``host``, and over TCP at ``remote`` to who
    has the files ``tls`` of a client.
    """

    def __init__(self) -> None:
        super().__init__("certrotd-docker-")
        self._daemon = locate.require("dockerd")
        self.remote = f"tcp://127.0.0.1:{free_port()}"
        root, keys = pki.make_root(), self.directory / "tls"
        ca, _ = root.write(keys, "ca")
        self._server = pki.make_leaf(root, "127.0.0.1").write(keys, "server")
        cert, key = pki.make_client(root, "certrotd").write(keys, "client")
        self.tls = {"ca": str(ca), "cert": str(cert), "key": str(key)}

    def command(self) -> Sequence[str | Path]:
        return [
            self._daemon,
            *("--data-root", self.directory / "data"),
            *("--exec-root", self.directory / "exec"),
            *("--pidfile", self.directory / "pid"),
            *("--host", self.host, "--host", self.remote),
            *("--tlsverify", "--tlscacert", self.tls["ca"]),
            *("--tlscert", self._server[0], "--tlskey", self._server[1]),
            "--bridge=none",
            "--iptables=false",
        ]

    def stop(self) -> None:
        super().stop()
        for mount in _mounts_below(self.directory):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.directory)

    def boot(self, name: str, root: Path, *, mounts: Sequence[tuple[Path, Path]] = ()) -> None:
        """Starts a container of that name on a root file system (a tar), and waits for systemd.

        ``mounts`` are pairs of a file of this machine and where the container reads it.
        """
        image = f"certrotd-test/{name}"
        self.run("import", root, image)
        self.run(
            *("run", "--detach", "--name", name, "--network", "none", "--env", "container=docker"),
            *("--stop-signal", "SIGRTMIN+3"),  # systemd takes no other for "halt"
            *(option for each in _CAPABILITIES for option in ("--cap-add", each)),
            *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
            *("--tmpfs", "/run", "--tmpfs", "/tmp"),
            *("--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
            *(option for here, there in mounts for option in ("--volume", f"{here}:{there}:ro")),
            *(image, "/sbin/init"),
        )
        # without it systemd cannot mount a service's credentials
        self.run("exec", name, "mount", "--make-rshared", "/")
        wait_until(lambda: self._state(name) == "running", within=300, what="systemd is up")

    def _state(self, name: str) -> str:
        """What systemd says of itself, or nothing where it cannot be asked yet."""
        argv: list[str | Path] = [self.client, "--host", self.host, "exec", name]
        argv += ["systemctl", "is-system-running"]
        ran = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300)
        state = ran.stdout.strip()
        if state == "degraded":
            failed = self.run("exec", name, "systemctl", "--failed", "--no-pager")
            raise ServerFailed(f"systemd is {state}\n{failed}")
        return state


def _mounts_below(directory: Path) -> list[str]:
    """What is mounted there, the innermost first (proc_pid_mountinfo(5))."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((each for each in mounts if each.startswith(f"{directory}/")), reverse=True)
