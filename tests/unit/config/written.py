"""Configurations as an operator writes them, and what reading them says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certrotd.config.load import Loaded, check, load
from certrotd.config.model import Config
from certrotd.errors import ConfigInvalid, ConfigProblem

LAB = "issuers: {lab: {type: internal}}\n"
WEB = "certificates:\n- name: web\n  names: [example.com]\n"
MINIMAL = LAB + WEB


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    """A configuration file holding ``text``."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def loaded(folder: Path, text: str) -> Loaded:
    """What loading ``text`` gives; fails the test if it is refused."""
    return load(write(folder, text))


def config(folder: Path, text: str) -> Config:
    """The configuration that ``text`` is, without a warning."""
    found = loaded(folder, text)
    assert found.warnings == ()
    return found.config


def refused(folder: Path, text: str) -> tuple[ConfigProblem, ...]:
    """The problems for which ``text`` is refused; fails the test if it is not."""
    file = write(folder, text)
    with pytest.raises(ConfigInvalid) as caught:
        load(file)
    assert set(caught.value.problems) <= set(check(file)[0])
    return caught.value.problems


def said(problems: tuple[ConfigProblem, ...]) -> list[str]:
    """The problems as ``line: path: message``."""
    return [f"{problem.line}: {problem.path}: {problem.message}" for problem in problems]


@contextmanager
def not_root() -> Iterator[None]:
    """Someone whom permissions bind, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
