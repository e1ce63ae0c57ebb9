"""Entries made by the program itself, rather than read from a file."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from certrotd.address import Address
from certrotd.config.certificates import InstallEntry, RenewEntry
from certrotd.config.explain import explain
from certrotd.config.issuers import InternalEntry
from certrotd.config.modes import Mode
from certrotd.config.probes import ProbeEntry
from tests.unit.config.written import config, refused


def test_entries_take_the_values_they_hold() -> None:
    """A demo or an import builds a configuration without writing one first."""
    assert InternalEntry(type="internal", lifetime=timedelta(days=6)).lifetime.days == 6
    assert ProbeEntry(address=Address("127.0.0.1", 443)).address.port == 443
    install = InstallEntry(cert=Path("/x"), cert_mode=Mode(0o444))
    assert (install.paths, str(install.cert_mode)) == ({"cert": Path("/x")}, "0444")
    assert RenewEntry(at=0.5) == RenewEntry.model_validate({"at": "1/2"})


def test_entries_do_not_change() -> None:
    """A reload makes new ones; whoever holds an old one keeps what it was given."""
    entry = RenewEntry(at=0.5)
    with pytest.raises(ValidationError):
        entry.at = 0.6  # type: ignore[misc]


def test_an_error_of_an_unknown_kind_still_has_its_place() -> None:
    """A newer pydantic may tell errors apart that this one does not."""
    unknown = InitErrorDetails(type="date_type", loc=("concurrency", "x"), input="x")
    [fault] = explain(ValidationError.from_exception_data("file", [unknown]))
    assert (fault.loc, fault.message) == (("concurrency", "x"), 'is not valid, got "x"')


@pytest.mark.parametrize("value", ["sha256:", "sha256:ab:cd", f"SHA256:{'0' * 63}x"])
def test_a_fingerprint_of_a_chain_is_one(tmp_path: Path, value: str) -> None:
    """A name would never be found by what was meant as a fingerprint."""
    url = "https://ca.example.com/d"
    acme = f'issuers: {{ca: {{type: acme, directory: "{url}", preferred_chain: "{value}"}}}}\n'
    [problem] = refused(tmp_path, acme)
    assert "must be sha256: and 64 hexadecimal digits, or a name" in problem.message
    right = acme.replace(value, "sha256:" + ":".join(["0f"] * 32))
    assert config(tmp_path, right).issuers["ca"].type == "acme"
