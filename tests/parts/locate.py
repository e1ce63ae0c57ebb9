"""Where the real programs are: the cache that `scripts/parts` fills, then PATH."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

# A plain user's PATH on Debian lacks the directories where servers are.
_POSTGRESQL = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_EXTRA_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", *_POSTGRESQL)
_SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "parts"
# Programs built or installed by a script of that name, in the version the script pins.
_PARTS = {
    "pebble": "pebble",
    "pebble-challtestsrv": "pebble",
    "step-ca": "step-ca",
    "ansible-vault": "ansible",
    "certbot": "certbot",
    "lego": "lego",
    "sops": "sops",
    "docker-compose": "compose",
    "vault-transit": "vault-transit",
    "etcd": "kubernetes",
    "helm": "kubernetes",
    "kube-apiserver": "kubernetes",
    "kube-controller-manager": "kubernetes",
    "kube-proxy": "kubernetes",
    "kube-scheduler": "kubernetes",
    "kubectl": "kubernetes",
    "kubelet": "kubernetes",
    "pause": "kubernetes",
    "kwok": "kwok",
}


def find(program: str) -> Path | None:
    """The program's path, or None where this machine does not have it."""
    if part := _PARTS.get(program):
        built = _part_directory(part) / "bin" / program
        return built if os.access(built, os.X_OK) else None
    found = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *_EXTRA_PATH]))
    return Path(found) if found else None


def require(program: str) -> Path:
    """The program's path; without it the test is skipped, or fails under CERTROTD_DEMAND=all.

    CERTROTD_DEMAND=none skips even where the program is there: a run without servers.
    """
    if os.environ.get("CERTROTD_DEMAND") == "none":
        pytest.skip(f"this run starts no real parts ({program})")
    path = find(program)
    if path is None:
        _is_missing(program)
    return path


def require_servers(what: str) -> None:
    """Skips the test in a run without servers; for one that comes with the environment."""
    if os.environ.get("CERTROTD_DEMAND") == "none":
        pytest.skip(f"this run starts no real parts ({what})")


def require_part(part: str) -> Path:
    """The directory that the script of that name fills; as require() says where it is missing."""
    if os.environ.get("CERTROTD_DEMAND") == "none":
        pytest.skip(f"this run starts no real parts ({part})")
    directory = _part_directory(part)
    if not directory.is_dir():
        _is_missing(part)
    return directory


def require_image() -> Path:
    """The archive of certrotd's image that scripts/parts/image makes of this very tree."""
    if os.environ.get("CERTROTD_DEMAND") == "none":
        pytest.skip("this run starts no real parts (certrotd's image)")
    asked: list[str | Path] = [_SCRIPTS / "image", "--path"]
    answer = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    archive = Path(answer) / "image.tar"
    if not archive.is_file():
        _is_missing("certrotd's image of this tree")
    return archive


def _is_missing(what: str) -> NoReturn:
    lacking(f"{what} is not installed: run scripts/test or scripts/parts")


def lacking(why: str) -> NoReturn:
    """Skips the test because of what this machine lacks, or fails it where tiers are demanded."""
    if os.environ.get("CERTROTD_DEMAND", "none") != "none":
        pytest.fail(why)
    pytest.skip(why)


def require_root() -> None:
    """Skips the test for a plain user, or fails it under CERTROTD_DEMAND=all."""
    if os.environ.get("CERTROTD_DEMAND") == "all" and os.geteuid() != 0:
        pytest.fail("this test must run as root")
    if os.environ.get("CERTROTD_DEMAND") == "none" or os.geteuid() != 0:
        pytest.skip("this test needs root")


def _part_directory(part: str) -> Path:
    version = re.search(r"^VERSION=(\S+)", (_SCRIPTS / part).read_text(), re.MULTILINE)
    if version is None:
        raise ValueError(f"{_SCRIPTS / part} does not say its VERSION")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "certrotd" / "parts" / f"{part}-{version[1]}"
