"""What the configuration asks of an issuer besides names is part of what is asked for."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.clock import SystemClock
from certrotd.daemon.wiring import open_site
from tests.fakes.subjects import certificates_of


def terms(directory: Path, **options: Any) -> str:
    """Those of the certificate of a private CA with these options."""
    path = directory / "config.yaml"
    entry = {"type": "internal", **options}
    certificates = [{"name": "web", "names": ["web.example.test"]}]
    config = {"state_dir": str(directory), "issuers": {"lab": entry}, "certificates": certificates}
    path.write_text(yaml.safe_dump(config))
    with open_site(path, clock=SystemClock(), command="test") as site:
        [subject] = certificates_of(site)
        return subject.managed.policy.terms


@pytest.mark.parametrize(("options", "same"), [({"lifetime": "6d"}, False), ({}, True)])
def test_a_changed_lifetime_of_a_private_ca_changes_the_terms(
    tmp_path: Path, options: dict[str, str], same: bool
) -> None:
    """A shorter certificate is then taken without --force."""
    assert (terms(tmp_path) == terms(tmp_path, **options)) is same


def test_a_changed_common_name_does_not_change_the_terms(tmp_path: Path) -> None:
    """It says nothing of the leaf."""
    assert terms(tmp_path) == terms(tmp_path, common_name="another")
