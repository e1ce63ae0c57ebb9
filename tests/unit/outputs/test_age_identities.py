"""Identities files of age: what is refused, and comments of others."""

from __future__ import annotations

import pytest

from certrotd import bech32
from certrotd.outputs.age_identities import AgeIdentities
from certrotd.outputs.errors import NotExpressible
from tests.unit.outputs.refusing import FILE, SECRET, delivery, refused

IDENTITIES = AgeIdentities(FILE)
AGE = bech32.encoded("age-secret-key-", SECRET).upper()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"# a\n{AGE}X\n", f"line 2 of {FILE} is no identity of age: its checksum is wrong"),
        ("AGE-PLUGIN-YUBIKEY-1QQQ\n", "line 1 of .* is no key that begins with age-secret-key-1"),
        (f"{AGE.lower()[:40]}\n", "its checksum is wrong"),
        (f"{AGE}\n{AGE}\n", "one key is there twice"),
        (bech32.encoded("age-secret-key-", SECRET[:16]), "its length is wrong"),
        ("\n".join([AGE] * 1001), "has over 1000 keys"),
    ],
    ids=["damaged", "plugin", "cut", "twice", "short", "many"],
)
def test_what_is_no_identity_of_age_is_refused(text: str, words: str) -> None:
    """At its line, and nothing of it is shown."""
    refused(IDENTITIES, text, words)
    with pytest.raises(NotExpressible) as failure:
        IDENTITIES.parse({FILE: text.encode()})
    assert AGE[20:40].lower() not in str(failure.value).lower()


def test_comments_of_others_stay_and_those_of_keys_go_with_them() -> None:
    """As age-keygen writes them above a key."""
    text = f"# created: 2026-01-01T00:00:00+01:00\n# public key: age1x\n{AGE}\n# ours: since 2026\n"
    wanted = delivery(IDENTITIES, "", "")
    written = (IDENTITIES.render(wanted, {FILE: text.encode()})[FILE] or b"").decode()
    first, *rest = written.splitlines()
    assert first == "# ours: since 2026"
    assert [each.partition(":")[0] for each in rest if each.startswith("#")] == [
        "# created",
        "# public key",
    ] * 2
    assert AGE not in written
    assert IDENTITIES.render(wanted, {FILE: written.encode()})[FILE] == written.encode()
