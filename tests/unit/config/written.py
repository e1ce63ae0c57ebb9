"""Configurations as an operator writes them, and what reading them says."""

from pathlib import Path

from certrotd.config.load import Loaded, check, load
from certrotd.config.model import Config
from certrotd.errors import ConfigInvalid, Problem

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


def refused(folder: Path, text: str) -> tuple[Problem, ...]:
    """The problems for which ``text`` is refused; fails the test if it is not."""
    file = write(folder, text)
    try:
        load(file)
    except ConfigInvalid as error:
        assert error.problems == check(file)[0]
        return error.problems
    raise AssertionError("the configuration was accepted")


def said(problems: tuple[Problem, ...]) -> list[str]:
    """The problems as ``line: path: message``."""
    return [f"{problem.line}: {problem.path}: {problem.message}" for problem in problems]
