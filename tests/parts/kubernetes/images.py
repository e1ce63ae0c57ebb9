"""Container images made of files, as archives that containerd imports: no registry is needed."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.parts import locate

BUSYBOX = "docker.io/certrotd-test/busybox:1"
DEBIAN = "docker.io/certrotd-test/debian:1"
CERTROTD = "docker.io/library/certrotd:test"
PAUSE = "docker.io/certrotd-test/pause:1"

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
_TYPE = "application/vnd.oci.image"


def busybox(directory: Path) -> Path:
    """The archive of BUSYBOX: a shell, httpd, cat and the like, and nobody (65534) to run as.

    What looks up names there, as wget does even for an address, crashes: it is linked statically.
    """
    program = locate.require("busybox")
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    layer = directory / "busybox.tar"
    with tarfile.open(layer, "w") as tar:
        for file in [program, *_libraries(program)]:
            name = "bin/busybox" if file == program else str(file).lstrip("/")
            tar.add(file.resolve(), name)
        for applet in sorted({*applets.stdout.split()} - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        accounts = b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
        _add(tar, "etc/passwd", accounts)
    return archive(directory, BUSYBOX, layer, ["/bin/sh"])


def debian(directory: Path) -> Path:
    """The archive of DEBIAN: what scripts/parts/systemd-base makes, with nginx and Python."""
    layer = locate.require_part("systemd-base") / "rootfs.tar"
    return archive(directory, DEBIAN, layer, ["/bin/sh"])


def certrotd(_directory: Path) -> Path:
    """The archive of CERTROTD: what scripts/parts/image builds of the Dockerfile."""
    return locate.require_image()


def pause(directory: Path) -> Path:
    """The archive of PAUSE, whose one process holds a pod's namespaces."""
    layer = directory / "pause.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(locate.require("pause"), "pause")
    return archive(directory, PAUSE, layer, ["/pause"])


def archive(directory: Path, name: str, layer: Path, entrypoint: Sequence[str]) -> Path:
    """An image of one layer (a tar) as an archive (OCI image-spec, image layout).

    name: with registry and tag, as the nodes know it. Returns the path of the archive.
    """
    with layer.open("rb") as content:
        layer_digest = hashlib.file_digest(content, "sha256").hexdigest()
    system = {"architecture": _ARCHITECTURE[platform.machine()], "os": "linux"}
    config = _json(
        {
            **system,
            "config": {
                "Entrypoint": list(entrypoint),
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    )
    described = {
        "mediaType": f"{_TYPE}.layer.v1.tar",
        "digest": f"sha256:{layer_digest}",
        "size": layer.stat().st_size,
    }
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": _descriptor(f"{_TYPE}.config.v1+json", config),
            "layers": [described],
        }
    )
    entry = _descriptor(f"{_TYPE}.manifest.v1+json", manifest)
    entry |= {"platform": system, "annotations": {"io.containerd.image.name": name}}
    file = directory / f"{name.rpartition('/')[2].partition(':')[0]}.oci.tar"
    with tarfile.open(file, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for blob in (config, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        with layer.open("rb") as content:
            _add_stream(tar, f"blobs/sha256/{layer_digest}", content, layer.stat().st_size)
    return file


def _libraries(program: Path) -> list[Path]:
    """What a program is linked with; nothing where it is static (ldd(1))."""
    ran = subprocess.run(["ldd", program], check=False, capture_output=True, text=True)
    words = ran.stdout.split() if ran.returncode == 0 else []
    return [Path(word) for word in words if word.startswith("/")]


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(blob)}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    _add_stream(tar, name, io.BytesIO(content), len(content))


def _add_stream(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    tar.addfile(header, content)
