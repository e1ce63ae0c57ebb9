"""Which limits an issuer has: its own, Let's Encrypt's, or none."""

from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.certs.limits.configured import limits_of
from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT, Limit, Limits
from certrotd.config.load import load

PRODUCTION = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


@pytest.mark.parametrize(
    ("directory", "budget", "expected"),
    [
        (PRODUCTION, None, LETS_ENCRYPT),
        (STAGING, None, None),
        ("https://ca.example.com/acme-v02.api.letsencrypt.org", None, None),
        (PRODUCTION, "none", None),
        (PRODUCTION, "{orders: 10, per: 1d}", Limits(orders=Limit(10, timedelta(days=1)))),
        (STAGING, "{orders: 5}", Limits(orders=Limit(5, timedelta(hours=3)))),
    ],
)
def test_limits_are_what_is_written_or_what_is_known_of_the_ca(
    tmp_path: Path, directory: str, budget: str | None, expected: Limits | None
) -> None:
    """A limit too many delays certificates, one too few has the CA refuse them for days."""
    path = tmp_path / "config.yaml"
    line = f"    budget: {budget}\n" if budget else ""
    path.write_text(f"issuers:\n  ca:\n    type: acme\n    directory: {directory}\n{line}")
    assert limits_of(load(path).config.issuers["ca"]) == expected


def test_the_authority_of_ones_own_has_no_limit(tmp_path: Path) -> None:
    """Nobody else is asked, so nobody can refuse."""
    path = tmp_path / "config.yaml"
    path.write_text("issuers:\n  ca: {type: internal}\n")
    assert limits_of(load(path).config.issuers["ca"]) is None


def test_lets_encrypts_limits_leave_a_tenth_for_others() -> None:
    """Orders that were placed by hand, or by another host of the account, count too."""
    expected = Limits(
        orders=Limit(270, timedelta(hours=3)),
        domain=Limit(45, timedelta(days=7)),
        duplicates=Limit(4, timedelta(days=7)),
        failures=Limit(4, timedelta(hours=1)),
    )
    assert expected == LETS_ENCRYPT
