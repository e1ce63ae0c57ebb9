"""Namespaces of a node's own: what runs in them ends with them, and leaves no mount behind."""

import ctypes
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.parts import locate
from tests.parts.process import Server

NODE_ADDRESS = "10.97.0.1"
TESTS_ADDRESS = "10.97.0.2"  # where pods find what listens on the node's 127.0.0.1
_CLONE_NEWNET = 0x40000000  # <sched.h>

# $1 is the directory, $2 the program that stays as process 1. There are no dummy devices
# everywhere, but bridges. Sockets, locks and network namespaces are in /run, pods' logs in
# /var/log, and what plugins note in /var/lib: this machine's stay as they are.
_SET_UP = f"""
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns /run/lock
mount --bind "$1/log" /var/log
mount -t tmpfs tmpfs "$1/var"
mkdir "$1/var/upper" "$1/var/work"
mount -t overlay -o "lowerdir=/var/lib,upperdir=$1/var/upper,workdir=$1/var/work" overlay /var/lib
ip link set lo up
ip link add node0 type bridge
ip address add {NODE_ADDRESS}/24 dev node0
ip link set node0 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
iptables -t nat -A PREROUTING -d {TESTS_ADDRESS} -j DNAT --to-destination 127.0.0.1
touch "$1/ready"
exec "$2"
"""


class Isolation(Server):
    """Process, mount and network namespaces with one address; root is needed.

    The kernel ends all that runs in them as soon as their first process ends, and this one dies
    with pytest: there is nothing that a killed pytest could leave running or mounted.
    Files are this machine's, except for /run, /var/log and what is written to /var/lib.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._binary = locate.require("pause")
        for program in ("unshare", "nsenter", "setpriv", "ip", "iptables"):
            locate.require(program)
        for name in ("log", "var"):
            (directory / name).mkdir()

    def command(self) -> Sequence[str | Path]:
        (self.directory / "ready").unlink(missing_ok=True)
        return [
            # unshare blocks the signal that ends servers of killed tests, and is ended by this one
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--net", "--pid", "--mount", "--mount-proc"),
            *("--fork", "--kill-child=KILL"),
            *("sh", "-euc", _SET_UP, "-", self.directory, self._binary),
        ]

    def is_ready(self) -> bool:
        return (self.directory / "ready").exists()

    def stop(self) -> None:
        """Ends everything in them at once."""
        self.kill()

    @property
    def init(self) -> int:
        """The id that their first process has on this machine."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0])

    def inside(self) -> list[str | Path]:
        """What a program is started by that runs in all three."""
        # nsenter stops with a program that is paused, and must not wait for being continued then
        dies = ["setpriv", "--pdeathsig", "KILL"]
        return [*dies, "nsenter", f"--target={self.init}", "--net", "--pid", "--mount", "--"]

    @contextmanager
    def network(self) -> Iterator[None]:
        """Within it the calling thread is in the network namespace, and what it starts is, too."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(f"/proc/{self.init}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(own)
        finally:
            os.close(own)


def _enter(namespace: int) -> None:
    """setns(2), which Python has from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def remove_cgroups(name: str) -> None:
    """Removes the control groups of that name, and those below, where no process is left."""
    root = Path("/sys/fs/cgroup")
    for top in [root / name, *root.glob(f"*/{name}")]:
        for directory, _directories, _files in os.walk(top, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)


def remove_directory(directory: Path) -> None:
    """Removes a node's directory: nothing is mounted there on this machine."""
    shutil.rmtree(directory, ignore_errors=True)
