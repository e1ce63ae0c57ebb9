"""A Docker daemon that root did not start, as dockerd-rootless.sh starts one."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.docker import Engine
from tests.parts.process import wait_until

USER = 64_999
"""A number that no user of a machine has; its name is in no file of the machine either."""
_NAME = "certrotd-rootless"
# newuidmap and newgidmap look into these; the daemon alone sees ours
_START = """\
for name in passwd subuid subgid; do mount --bind "$1/etc/$name" "/etc/$name"; done
exec setpriv --reuid="$2" --regid="$2" --clear-groups \\
  env HOME="$1" XDG_RUNTIME_DIR="$1/run" PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  rootlesskit --state-dir="$1/run/rootlesskit" --net=host --copy-up=/etc --copy-up=/run sh -c '
    rm -f /run/docker /run/containerd /run/xtables.lock
    exec dockerd --rootless --host "unix://$1/docker.sock" --data-root "$1/run/data" \\
      --exec-root "$1/run/exec" --pidfile "$1/run/pid" --bridge=none --iptables=false
  ' - "$1"
"""


class RootlessDocker(Engine):
    """dockerd in a user namespace; its containers have a network of their own, and loopback there.

    Root starts it, for it takes a user with subordinate ids, whom the machine need not have.
    """

    def __init__(self) -> None:
        locate.require_root()
        for program in ("rootlesskit", "newuidmap", "dockerd"):
            locate.require(program)
        super().__init__("certrotd-rootless-")
        known = self.directory / "etc"
        known.mkdir()
        passwd = Path("/etc/passwd").read_text()
        line = f"{_NAME}:x:{USER}:{USER}::{self.directory}:/bin/sh\n"
        (known / "passwd").write_text(passwd + line)
        for name in ("subuid", "subgid"):
            (known / name).write_text(f"{_NAME}:1000000:65536\n")
        (self.directory / "run").mkdir()
        for each in (self.directory, self.directory / "run"):
            shutil.chown(each, USER, USER)

    def command(self) -> Sequence[str | Path]:
        return ["unshare", "--mount", "sh", "-ec", _START, "-", self.directory, str(USER)]

    def stop(self) -> None:
        super().stop()
        wait_until(self._is_over, what="nothing of the daemon runs")
        shutil.rmtree(self.directory)

    def _is_over(self) -> bool:
        ran = subprocess.run(["pgrep", "--uid", str(USER)], check=False, capture_output=True)
        return ran.returncode == 1
