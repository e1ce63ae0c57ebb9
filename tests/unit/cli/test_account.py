"""``certrotd account`` as far as it needs no CA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from certrotd.acme.management import AtTheCa, Shown
from certrotd.cli.account import is_usable
from tests.builders import NOW
from tests.unit.cli.conftest import Certrotd

CA = {"type": "acme", "directory": "https://ca.example.test/directory"}


def beside(config: dict[str, Any]) -> None:
    """An issuer that no certificate is from."""
    config["issuers"]["letsencrypt"] = CA
    config["defaults"] = {"issuer": "lab"}


def test_an_issuer_without_an_account_is_told(
    certrotd: Certrotd, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The CA is not even asked; an internal issuer has none to be shown."""
    assert certrotd("account", "show") == 0
    assert "no issuer of type acme is configured" in capsys.readouterr().err
    beside(config)
    assert certrotd("account", "show") == 0
    said = capsys.readouterr().out
    assert said.startswith("letsencrypt: no account yet")
    assert CA["directory"] in said
    assert certrotd("account", "show", "--json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["issuer"], row["url"], row["key"], row["status"]) == ("letsencrypt", *[None] * 3)
    assert row["rollover"] == {"unfinished": False, "begun": None}


def test_an_account_that_is_damaged_hides_no_other(
    certrotd: Certrotd,
    config: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has its row and is a failure; the others are shown."""
    beside(config)
    config["issuers"] = {"damaged": CA, **config["issuers"]}
    folder = Path(config["state_dir"]) / "accounts" / "damaged"
    folder.mkdir(parents=True)
    (folder / "account.key").write_text("no key")
    assert certrotd("account", "show") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("damaged: its account is not known: ")
    assert "account.key" in first
    assert second.startswith("letsencrypt: no account yet")
    assert certrotd("account", "show", "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert "account.key" in rows[0]["trouble"]
    assert [each["trouble"] for each in rows[1:]] == [None]


@pytest.mark.parametrize("command", ["show", "rollover", "deactivate", "new", "import"])
@pytest.mark.parametrize(("name", "hint"), [("lab", ""), ("letsencript", "letsencrypt")])
def test_an_issuer_that_has_no_accounts_is_refused(
    certrotd: Certrotd,
    config: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    hint: str,
) -> None:
    """With the name that was meant."""
    beside(config)
    more = ("--key", "/nothing") if command == "import" else ()
    assert certrotd("account", command, name, *more) == 2
    said = capsys.readouterr().err
    assert f"there is no issuer '{name}' of type acme" in said
    assert hint in said


@pytest.mark.parametrize("typed", [(), ("--confirm", "other")])
def test_an_account_is_not_ended_without_its_name(
    certrotd: Certrotd,
    config: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    typed: tuple[str, ...],
) -> None:
    """Nothing brings it back; who depends on it is said before."""
    beside(config)
    config["certificates"][0] |= {"issuer": "letsencrypt"}
    config["solvers"] = {"dns": {"type": "exec", "command": ["/bin/true"]}}
    assert certrotd("account", "deactivate", "letsencrypt", *typed) == 2
    said = capsys.readouterr().err
    assert "not confirmed: the account of letsencrypt can order and revoke nothing" in said
    assert "(web cannot be renewed by it then)" in said
    assert "--confirm letsencrypt" in said


@pytest.mark.parametrize(
    ("shown", "usable"),
    [
        (Shown(), True),
        (Shown(key_type="rsa-2048", at_ca=AtTheCa("valid")), True),
        (Shown(key_type="rsa-2048", at_ca=AtTheCa("revoked")), False),
        (Shown(key_type="rsa-2048", at_ca=AtTheCa("valid"), deactivated=NOW), False),
        (Shown(key_type="rsa-2048", trouble="no answer"), False),
        (Shown(trouble="account.key is no key"), False),
    ],
)
def test_the_exit_code_says_whether_orders_are_possible(shown: Shown, usable: bool) -> None:
    """Monitoring looks at nothing else."""
    assert is_usable(shown) == usable
