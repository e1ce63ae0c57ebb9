"""Which changes of the configuration are of a certificate, so that it is tried again at once."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.config.load import load
from certrotd.daemon.wiring import Site
from certrotd.pki.keys import KeyType, generate, signing_request
from tests.fakes.subjects import certificates_of

Tree = dict[str, Any]
CONFIG: Tree = {
    "state_dir": "/var/lib/certrotd",
    "issuers": {"lab": {"type": "internal"}, "other": {"type": "internal"}},
    "solvers": {"dns": {"type": "exec", "command": ["/bin/true"], "zones": ["example.test"]}},
    "targets": {"service": {"type": "command", "command": ["/bin/false"]}},
    "certificates": [
        {"name": "web", "names": ["web.example.test"], "issuer": "lab", "targets": ["service"]},
        {"name": "mail", "names": ["mail.example.test"], "issuer": "other"},
    ],
}


@pytest.fixture
def digest(tmp_path: Path) -> Callable[[Tree], str]:
    """What the rotations of web go by."""

    def of(config: Tree) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(config))
        site = Site(load(path).config, clock=SystemClock(), command="certrotd run")
        return certificates_of(site)[0].managed.configuration()

    return of


@pytest.mark.parametrize(
    ("place", "value", "matters"),
    [
        (("issuers", "lab", "lifetime"), "1d", True),
        (("solvers", "dns", "command"), ["/bin/false"], True),
        (("targets", "service", "command"), ["/bin/true"], True),
        (("certificates", 0, "names"), ["www.example.test"], True),
        (("certificates", 0, "issuer"), "other", True),
        (("issuers", "other", "lifetime"), "1d", False),
        (("certificates", 1, "names"), ["www.example.test"], False),
        (("concurrency",), 3, False),
    ],
)
def test_a_change_of_what_a_certificate_refers_to_is_one_of_its_own(
    digest: Callable[[Tree], str], place: tuple[str | int, ...], value: Any, matters: bool
) -> None:
    """What is another's is no reason to ask the CA again."""
    changed: Any = deepcopy(CONFIG)
    *way, last = place
    part = changed
    for key in way:
        part = part[key]
    part[last] = value
    assert (digest(changed) != digest(CONFIG)) is matters


def test_another_csr_in_the_file_is_a_change_of_the_certificate(
    digest: Callable[[Tree], str], tmp_path: Path
) -> None:
    """What failed with the one before it is tried again at once."""
    csr, names = tmp_path / "appliance.csr", ["web.example.test"]
    entry = {"name": "web", "names": names, "issuer": "lab", "csr": str(csr)}
    config = {**CONFIG, "certificates": [entry]}
    seen = []
    for _ in range(2):
        csr.write_bytes(signing_request(generate(KeyType.ECDSA_P256), names))
        seen += [digest(config), digest(config)]
    assert len(set(seen)) == 2
