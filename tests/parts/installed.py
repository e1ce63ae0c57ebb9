"""certrotd as ``pip install`` would put it on a Debian 12, made without a network there."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(site: Path, *extras: str, itself: bool = True) -> None:
    """What it needs, with those extras, and certrotd ``itself``, in a new folder of packages."""
    uv = _output(ROOT / "scripts/parts/uv").strip()
    site.parent.mkdir(exist_ok=True)
    locked = site.with_name(f"{site.name}.txt")
    more = [option for each in extras for option in ("--extra", each)]
    wanted: tuple[str | Path, ...] = (
        "--no-dev",
        "--no-emit-project",
        *more,
        "--output-file",
        locked,
    )
    _output(uv, "export", "--quiet", "--frozen", *wanted)
    into = (uv, "pip", "install", "--quiet", "--target", site, "--python-version", "3.11")
    _output(*into, "--requirements", locked)
    if itself:
        built = site.with_name(f"{site.name}.dist")
        _output(uv, "build", "--quiet", "--wheel", "--out-dir", built, ROOT)
        [wheel] = built.glob("*.whl")
        _output(*into, "--no-deps", wheel)


def _output(*argv: str | Path) -> str:
    ran = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=ROOT, timeout=1800)
    if ran.returncode:
        raise AssertionError(f"{argv} exited with {ran.returncode}: {ran.stdout}{ran.stderr}")
    return ran.stdout
