"""A container of an engine without root gets a certificate, also when it starts later."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.parts import locate
from tests.parts.rootless_docker import USER, RootlessDocker
from tests.parts.site import Site


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An archive with a shell and a folder for certificates."""
    root = tmp_path / "root"
    for folder in ("bin", "srv"):
        (root / folder).mkdir(parents=True)
    busybox = root / "bin/busybox"
    busybox.write_bytes(locate.require("busybox").read_bytes())
    busybox.chmod(0o755)
    for name in ("sh", "cat", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    archive = tmp_path / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return archive


def test_a_container_of_a_rootless_engine(certified: Site, image: Path) -> None:
    """What root is in it is nobody on the machine."""
    with RootlessDocker() as docker:
        docker.run("import", image, "box")
        docker.run("run", "--detach", "--name=box", "--network=none", "box", "/bin/sleep", "9999")
        assert docker.run("exec", "box", "cat", "/proc/self/uid_map").split()[:2] == [
            "0",
            str(USER),
        ]
        told: dict[str, Any] = {"mode": "exec", "command": ["cat", "/srv/privkey.pem"]}
        copied = {"containers": ["box"], "copy_to": {"folder": "/srv"}, **told}
        target = {"type": "docker", "host": docker.host, **copied}
        certified.config["targets"]["box"] = target
        certified.config["certificates"][0]["targets"] = ["box"]

        def held() -> str:
            return docker.run("exec", "box", "cat", "/srv/fullchain.pem")

        certified.rotate("--force")
        first = held()
        assert first == certified.files("web")[0].read_text()
        docker.run("stop", "--time=0", "box")
        certified.rotate("--force")
        docker.run("start", "box")
        assert held() == first
        certified.rotate()
        assert held() == certified.files("web")[0].read_text() != first
