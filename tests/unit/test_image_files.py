"""What the image is built of agrees with the rest of the tree."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGE = (ROOT / "docs/image.md").read_text()


def argument(name: str) -> str:
    """The default of a build argument."""
    [found] = re.findall(rf'^ARG {name}="?([^"\n]*)"?$', DOCKERFILE, re.MULTILINE)
    return str(found)


def test_the_base_is_pinned_by_its_digest() -> None:
    """A tag alone would be another image tomorrow."""
    assert re.fullmatch(r"python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", argument("BASE"))
    assert argument("BUILDER") == "${BASE}"


def test_every_extra_exists_and_is_on_the_page() -> None:
    """What is left out is, too."""
    extras = argument("EXTRAS").split()
    known = {*PROJECT["project"]["optional-dependencies"]} - {"all"}
    assert known >= {*extras}
    assert f"`{' '.join(extras)}`" in PAGE
    [left_out] = re.findall(r"^- Left out: (.*?)\.\n- ", PAGE, re.MULTILINE | re.DOTALL)
    assert {*re.findall(r"`(\w+)`", left_out)} - {"kubeconfig"} == known - {*extras}


def test_what_installs_it_is_that_of_the_scripts() -> None:
    """One version of uv, by its hashes."""
    pinned = (ROOT / "deploy/image/uv.txt").read_text()
    [version] = re.findall(r"^uv==(\S+) \\$", pinned, re.MULTILINE)
    assert f"\nVERSION={version}\n" in (ROOT / "scripts/parts/uv").read_text()
    assert pinned.count("--hash=sha256:") > 1


def test_nothing_but_what_it_copies_is_sent_to_the_builder() -> None:
    """A build must not see the rest of a directory, where secrets may be."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        copied |= {each.removesuffix("/uv.txt") for each in line.split()}
    assert sent == copied


def test_no_program_of_the_image_runs_as_root() -> None:
    """By number, so that the kubelet can tell."""
    assert re.search(r"^USER 65532:65532$", DOCKERFILE, re.MULTILINE)
    assert "65532:65532" in PAGE
