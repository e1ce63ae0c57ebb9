"""What is wrong with a target of containers is one line."""

from pathlib import Path

import pytest

from tests.unit.config.written import LAB, MINIMAL, config, refused, said

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
        ("labelled: true, mode: recreate, check: [x]", "check is not for mode: recreate"),
        ("labelled: true, mode: recreate, copy_to: {folder: /x}", "copy_to is not for mode"),
        ("labelled: true, mode: recreate, probe: [{address: 'h:1'}]", "probe is not for mode"),
        ("labelled: true, mode: recreate, container_probe: [{port: 1}]", "watch: looks at what"),
    ],
)
def test_it_is_refused(tmp_path: Path, written: str, words: str) -> None:
    """With what would be right."""
    [line] = said(refused(tmp_path, DOCKER % written))
    assert words in line


def test_certificates_that_one_target_would_write_over_each_other_are_refused(
    tmp_path: Path,
) -> None:
    """Each has a folder of its own, or a target."""
    both = "certificates:\n" + "".join(
        f"  - {{name: {name}, names: [{name}.test], targets: [box]}}\n" for name in ("a", "b")
    )
    target = "targets:\n  box: {type: docker, labelled: true, copy_to: {folder: %s}}\n"
    [line] = said(refused(tmp_path, LAB + both + target % "/tls"))
    assert '"box" would write this certificate over that of' in line
    assert "have {certificate} in the folder" in line
    config(tmp_path, LAB + both + target % "'/tls/{certificate}'")
