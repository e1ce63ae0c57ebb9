"""What is wrong with a target of containers is one line."""

from pathlib import Path

import pytest

from tests.unit.config.written import MINIMAL, refused, said

DOCKER = MINIMAL + "targets:\n  box: {type: docker, %s}\n"
TLS = "tls: {ca: /ca, cert: /c, key: /k}"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("mode: signal", "targets.box: needs containers, services, labelled or mounting"),
        ("containers: [-a]", "must be the name of a container, such as web, got"),
        ("services: [web]", "must be PROJECT/SERVICE of Compose, such as shop/web, got"),
        ("labelled: true, mode: exec", "needs mode: exec and command together"),
        ("labelled: true, command: [x]", "needs mode: exec and command together"),
        ("labelled: true, mode: restart, signal: USR1", "signal is for mode: signal"),
        ("labelled: true, host: /run/docker.sock", "must be unix:///PATH or tcp://HOST:PORT"),
        ("labelled: true, host: 'tcp://h:1/x'", "must be unix:///PATH or tcp://HOST:PORT"),
        ("labelled: true, host: 'http://h:1'", "must be unix:///PATH or tcp://HOST:PORT"),
        ("labelled: true, host: 'tcp://h:2375'", "is tcp without tls: whoever reaches that port"),
        (f"labelled: true, {TLS}", "tls is for tcp://HOST:PORT"),
    ],
)
def test_it_is_refused(tmp_path: Path, written: str, words: str) -> None:
    """With what would be right."""
    [line] = said(refused(tmp_path, DOCKER % written))
    assert words in line
