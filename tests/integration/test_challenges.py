"""dns-persist-01 and dns-account-01 at a CA that speaks them, by the program itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certrotd.acme.challenges import account_label
from tests.integration.test_solving import hook
from tests.parts import Bind, Parts, Pebble, Resolver, locate
from tests.parts.site import Site, why_failed

NAMES = ("persist.example.test", "*.persist.example.test", "www.example.test")
APEX = "_validation-persist.persist.example.test"


@pytest.fixture
def strict_ca(parts: Parts, zones: tuple[Bind, Resolver]) -> Pebble:
    """A strict CA that rejects every fifth nonce."""
    locate.require("pebble")
    return parts.start(Pebble, dns=zones[0].server, nonce_reject=20, retry_after=0)


@pytest.fixture
def persistent(site: Site, strict_ca: Pebble, zones: tuple[Bind, Resolver]) -> Site:
    """A certificate that is proven by records set once: there is no solver at all."""
    bind, resolver = zones
    site.acme(strict_ca)
    site.dns(resolver, port=bind.port)
    site.certificate("web", *NAMES, challenge="dns-persist-01")
    return site


def records(site: Site) -> dict[str, dict[str, Any]]:
    """What ``dns persist-record`` prints, by the names of the records."""
    run = site.run("dns", "persist-record", "web", "--json")
    assert run.code == 0, run.stderr
    return {row["name"]: row for row in run.json}


def names_in(leaf: x509.Certificate) -> set[str]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def test_dns_persist_01_validates(persistent: Site, zones: tuple[Bind, Resolver]) -> None:
    """Two names and a wildcard, by the records that the command prints; none of them is touched."""
    site, bind = persistent, zones[0]
    missing = why_failed(site.rotate(expect=1), "web")
    assert f"{APEX}: no TXT record" in missing
    printed = records(site)
    assert list(printed) == [APEX, "_validation-persist.www.example.test"]
    for name, row in printed.items():
        assert not row["there"]
        assert row["problem"].startswith(f"{name}: no TXT record")
        assert row["value"].endswith("; policy=wildcard") == (name == APEX)
        assert bind.add_txt(name, row["value"]) == 0
    lines = site.run("dns", "persist-record", "web", "--until", "2099-01-01").stdout.splitlines()
    assert lines[0] == f'{APEX}. IN TXT "{printed[APEX]["value"]}; persistUntil=4070908800"'

    site.rotate()
    assert names_in(site.leaf("web")) == set(NAMES)
    site.rotate("--force")
    assert site.generation("web") == 2
    assert all(row["there"] for row in records(site).values())
    assert all(bind.txt(name) == {row["value"]} for name, row in printed.items())

    # weeks before the next renewal
    assert site.run("watch").code == 0
    bind.delete_txt(APEX)
    told = site.run("watch", "--json")
    assert told.code == 1
    [finding] = [each for row in told.json for each in row["findings"]]
    assert (finding["kind"], finding["severity"]) == ("record_wrong", "warning")
    assert f"a renewal at ca would fail: {APEX}: no TXT record" in finding["words"]


def test_a_persistent_record_that_is_not_right_is_told_before_anything_is_ordered(
    persistent: Site, zones: tuple[Bind, Resolver], strict_ca: Pebble
) -> None:
    """Of another account, without the wildcard, ended: each in words, and the CA is not asked."""
    site, bind = persistent, zones[0]
    [right] = [row["value"] for name, row in records(site).items() if name == APEX]
    account = json.loads((site.state / "accounts/ca/account.json").read_text())["url"]
    cases = {
        right.replace(account, f"{account}0"): f"names the account {account}0, ours is {account}",
        right.removesuffix("; policy=wildcard"): "has no policy=wildcard",
        f"{right}; persistUntil=1000000000": "ended at 2001-09-09 01:46:40Z (persistUntil)",
        right.replace("pebble.letsencrypt.org", "ca.example"): "no record of this CA, but",
    }
    for value, words in cases.items():
        bind.delete_txt(APEX)
        assert bind.add_txt(APEX, value) == 0
        assert words in records(site)[APEX]["problem"]
    assert words in why_failed(site.rotate(expect=1), "web")
    assert "order" not in json.dumps(site.history("web")[-1]["facts"])

    # the control: of several records one that is right is enough
    for name, row in records(site).items():
        assert bind.add_txt(name, row["value"]) == 0
    site.rotate()
    assert names_in(site.leaf("web")) == set(NAMES)


def test_two_accounts_prove_one_name_at_the_same_time(
    site: Site, strict_ca: Pebble, zones: tuple[Bind, Resolver]
) -> None:
    """dns-account-01: each under its own label, which a CNAME may delegate."""
    bind, resolver = zones
    site.dns(resolver, port=bind.port)
    program, log = hook(site, bind, "example.test")
    site.config["solvers"] = {"script": {"type": "exec", "command": [str(program)]}}
    for issuer in ("one", "two"):
        site.acme(strict_ca, issuer)
        names = ("both.example.test", "*.both.example.test")
        site.certificate(issuer, *names, issuer=issuer, challenge="dns-account-01")
    site.rotate()
    labels = []
    for issuer in ("one", "two"):
        assert names_in(site.leaf(issuer)) == set(names)
        labels.append(account_label(account_of(site.state, issuer)))
    said = {line.split()[1] for line in log.read_text().splitlines()}
    wanted = {f"{label}._acme-challenge.both.example.test" for label in labels}
    assert len(wanted) == 2
    assert said == wanted
    assert all(bind.txt(name) == set() for name in wanted)

    delegated = f"{labels[0]}._acme-challenge.both.example.test"
    bind.add_cname(delegated, "elsewhere.example.test")
    site.rotate("one", "--force")
    assert "present elsewhere.example.test" in log.read_text()


def account_of(state: Path, issuer: str) -> str:
    url = json.loads((state / "accounts" / issuer / "account.json").read_text())["url"]
    assert isinstance(url, str)
    return url
