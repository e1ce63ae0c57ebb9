"""A headless Chromium: what it makes of a page, as a picture and as a document."""

import struct
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
_SCHEMES = {"dark": "0", "light": "1"}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A screenshot; ``ground`` is the colour of its upper left corner."""

    path: Path
    width: int
    height: int
    ground: tuple[int, int, int]

    @property
    def is_dark(self) -> bool:
        """Whether the ground is."""
        return sum(self.ground) < 3 * 80


@dataclass(frozen=True)
class Browser:
    """Starts anew, with an empty profile, for each page."""

    binary: Path

    def dom(self, url: str) -> str:
        """The document as the browser has read it, serialized."""
        return self._run("--dump-dom", url)

    def screenshot(self, url: str, path: Path, *, width: int, height: int, scheme: str) -> Picture:
        """A picture of so many pixels, for somebody who prefers ``scheme``, light or dark."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._run(
            f"--screenshot={path}",
            f"--window-size={width},{height}",
            f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}",
            url,
        )
        return _read(path)

    def _run(self, *arguments: str) -> str:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command: Sequence[str] = [
                str(self.binary),
                *_QUIET,
                f"--user-data-dir={profile}",
                *arguments,
            ]
            run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
        return run.stdout


def _read(path: Path) -> Picture:
    """Enough of a PNG (RFC 2083): its size, and the first pixel, which no filter changes."""
    data = path.read_bytes()
    assert data.startswith(_SIGNATURE), f"{path} is no PNG"
    width, height = struct.unpack(">II", data[16:24])
    pixels, position = b"", len(_SIGNATURE)
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        if data[position + 4 : position + 8] == b"IDAT":
            pixels += data[position + 8 : position + 8 + length]
        position += length + 12
    first = zlib.decompressobj().decompress(pixels, 4)
    return Picture(path, width, height, (first[1], first[2], first[3]))
