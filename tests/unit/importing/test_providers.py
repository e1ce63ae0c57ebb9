"""DNS plugins of other clients, and the solvers that do the same."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from certrotd.config.solvers import SolverEntry
from certrotd.errors import InvalidInput
from certrotd.importing.configuration import refused
from certrotd.importing.providers import (
    ACME_SH,
    CERTBOT,
    LEGO,
    Recipe,
    from_files,
    rfc2136,
    solver_of,
    tsig_of,
)

_RECIPES = {
    f"{client}-{provider}-{number}": each
    for client, table in (("certbot", CERTBOT), ("lego", LEGO), ("acme.sh", ACME_SH))
    for provider, recipes in table.items()
    for number, each in enumerate(recipes)
}
_SETTINGS = {"url": "https://dns.example.test/api", "zone_id": "0" * 32, "server_id": "localhost"}


@pytest.mark.parametrize("each", _RECIPES.values(), ids=_RECIPES.keys())
def test_a_solver_of_every_recipe_passes_the_schema(each: Recipe) -> None:
    """Its secrets are apart from its options, and nothing is asked for in vain."""
    told = {key: f"secret-{key}" for key in each.secrets}
    for key, option in (*each.needed.items(), *each.settings.items()):
        if option != "zone_id" or each.type != "cloudflare":
            told[key] = _SETTINGS.get(option, "some-text")
    solver = each.made("dns", told)
    assert solver is not None
    assert "secret-" not in repr(solver)
    entry = dict(solver.options)
    for option in solver.secrets:
        *within, last = option.split(".")
        at = entry
        for name in within:
            at = at.setdefault(name, {})
        at[last] = {"file": "/etc/certrotd/secrets/x"}
    assert refused(SolverEntry, entry) == ""


def test_what_is_missing_is_named_and_no_value_is_shown() -> None:
    """A person looks for it by its name there."""
    with pytest.raises(InvalidInput, match="dns_cf needs CF_Token"):
        solver_of("dns_cf", {"CF_Key": "hush"}, ACME_SH)
    with pytest.raises(InvalidInput, match="no recipe for dns_unheard"):
        solver_of("dns_unheard", {}, ACME_SH)
    told: Mapping[str, str] = {"CF_Key": "hush", "CF_Email": "ops@example.test"}
    assert solver_of("dns_cf", told, ACME_SH).options["provider"] == "cloudflare"


def test_updates_signed_by_md5_are_not_taken_over() -> None:
    """certbot signs so where its file names no algorithm."""
    with pytest.raises(InvalidInput, match="hmac-md5"):
        rfc2136(server="192.0.2.1", name="key", algorithm="", secret="eA==")
    made = rfc2136(
        server="2001:db8::1", port="5353", name="key.", algorithm="HMAC-SHA512.", secret="eA=="
    )
    assert made.options["server"] == "[2001:db8::1]:5353"
    assert made.options["tsig"] == {"name": "key", "algorithm": "hmac-sha512"}


def test_key_files_of_bind_are_read() -> None:
    """As tsig-keygen writes them, for acme.sh's dns_nsupdate and lego."""
    text = 'key "k.test" {\n\talgorithm hmac-sha256;\n\tsecret "eA==";\n};\n'
    assert tsig_of(text) == {"name": "k.test", "algorithm": "hmac-sha256", "secret": "eA=="}
    with pytest.raises(InvalidInput) as refusal:
        tsig_of("key hush")
    assert "hush" not in str(refusal.value)


def test_variables_that_name_files_are_their_content(tmp_path: Path) -> None:
    """lego's own convention; one that has the value itself wins."""
    told = {"A_FILE": "/a", "B": "b", "B_FILE": "/never"}
    assert dict(from_files(told, lambda path: f"{path} read\n")) == {"A": "/a read", "B": "b"}
