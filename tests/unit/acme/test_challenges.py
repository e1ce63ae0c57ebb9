"""The two challenges that the library lacks: their records, and what a CA may not make of them."""

from pathlib import Path
from typing import Any

import pytest

from certrotd.acme.challenges import account_label, persistent
from certrotd.errors import NeedsOperator
from certrotd.pki.order import Challenge
from tests.builders import soon
from tests.unit.acme.scripted import NAME, ScriptedCA


def persist(**changes: Any) -> dict[str, Any]:
    return {
        "type": "dns-persist-01",
        "status": "pending",
        "issuer-domain-names": ["ca.example", "second.example"],
        **changes,
    }


def test_the_label_of_an_account_is_that_of_the_draft() -> None:
    """The example of draft-ietf-acme-dns-account-label."""
    url = "https://example.com/acme/acct/ExampleAccount"
    assert account_label(url) == "_ujmmovf2vn55tgye"


def test_dns_account_01_wants_the_digest_under_the_account_s_label(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The value is that of dns-01, by the challenge's own token."""
    issuer = ca.issuer(tmp_path)
    [usual] = issuer.order([NAME], deadline=soon()).challenges()
    ca.challenge["type"] = "dns-account-01"
    other = issuer.proving_by("dns-account-01")
    order = other.order([NAME], deadline=soon())
    [found] = order.challenges()
    label = account_label(f"{ca.base}/accounts/1")
    assert found == Challenge(
        f"{label}._acme-challenge.{NAME}", usual.value, usual.key_authorization
    )
    assert found.proves == NAME
    assert [each.name for each in other.records([NAME], deadline=soon())] == [found.name]
    order.validate()
    assert ca.seen[-2].payload == {}


def test_dns_persist_01_wants_a_record_of_this_account(ca: ScriptedCA, tmp_path: Path) -> None:
    """Any of the CA's names will do; the first is the one to write."""
    ca.challenge = persist()
    ca.authorization["wildcard"] = True
    issuer = ca.issuer(tmp_path).proving_by("dns-persist-01")
    order = issuer.order([NAME], deadline=soon())
    [found] = order.challenges()
    account = f"{ca.base}/accounts/1"
    assert found.name == f"_validation-persist.{NAME}"
    assert found.value == f"ca.example; accounturi={account}; policy=wildcard"
    assert found.persistent is not None
    assert found.persistent.issuers == ("ca.example", "second.example")
    assert found.proves == NAME
    order.validate()
    answered = next(seen for seen in ca.seen if seen.path == "/challenge")
    assert answered.payload == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accounturi": "https://elsewhere.example/acct/7"}, "for the account https://elsewhere"),
        ({"issuer-domain-names": []}, "does not say by which domain names"),
        ({"issuer-domain-names": ["a b"]}, "no usable name for itself"),
        ({"issuer-domain-names": ["192.0.2.1"]}, "no usable names for itself"),
        ({"issuer-domain-names": [f"ca{n}.example" for n in range(11)]}, "no usable names"),
        ({"issuer-domain-names": "ca.example"}, "not a list"),
        ({"issuer-domain-names": None}, "null, not a list"),
    ],
)
def test_a_persistent_record_is_not_made_of_what_a_ca_may_not_ask(
    ca: ScriptedCA, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """A record for somebody else's account would let them have certificates for the name."""
    ca.challenge = persist(**changes)
    order = ca.issuer(tmp_path).proving_by("dns-persist-01").order([NAME], deadline=soon())
    with pytest.raises(NeedsOperator, match=words):
        order.challenges()


def test_an_account_url_that_breaks_the_record_is_refused() -> None:
    """A semicolon would begin another parameter."""
    with pytest.raises(NeedsOperator, match="cannot be written into a TXT record"):
        persistent(NAME, ["ca.example"], "https://ca.example/1;policy=wildcard", wildcard=False)


def test_records_are_known_before_an_order_and_nothing_is_registered_in_a_dry_run(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The command that prints them needs no order; a CA need not list its names."""
    issuer = ca.issuer(tmp_path).proving_by("dns-persist-01")
    names = [NAME, f"*.{NAME}"]
    assert issuer.records(names, deadline=soon(), dry=True) == ()
    assert ca.asked("/account") == 0
    [unnamed] = issuer.records(names, deadline=soon())
    account = f"{ca.base}/accounts/1"
    assert unnamed.value == f"CA-DOMAIN; accounturi={account}; policy=wildcard"
    ca.meta["caaIdentities"] = ["ca.example"]
    [named] = ca.issuer(tmp_path).proving_by("dns-persist-01").records(names, deadline=soon())
    assert named.value == f"ca.example; accounturi={account}; policy=wildcard"
    assert ca.asked("/orders") == 0


def test_a_ca_without_the_challenge_says_which_it_has(ca: ScriptedCA, tmp_path: Path) -> None:
    """The operator chooses another."""
    order = ca.issuer(tmp_path).proving_by("dns-persist-01").order([NAME], deadline=soon())
    with pytest.raises(NeedsOperator, match="does not offer dns-persist-01") as told:
        order.challenges()
    assert told.value.hint == "choose another challenge of the certificate: dns-01"
