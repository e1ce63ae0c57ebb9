"""A backup brings back the whole keyring, says what it is, and is noticed when it was touched."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pyrage  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.config.secrets import Secret
from certrotd.errors import Failure, InvalidInput
from certrotd.escrow import age, backup, header
from certrotd.escrow.age import Identities, Passphrase, PublicKeys, Shared, Shares
from certrotd.escrow.backup import authentic, header_of, opened_backup, sealed_backup
from certrotd.escrow.canary import canary, opens
from certrotd.escrow.errors import BackupUnreadable, LibraryMissing, NotOpened
from certrotd.escrow.shares import split
from certrotd.keyring.keyring import Keyring, Wrapped
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from tests.unit.escrow.samples import (
    AT,
    activated,
    at_revision,
    destroyed,
    keys,
    payments,
    sealed_by,
)
from tests.unit.keyring.test_document import SEAL, SECRETS

TO, BY = keys()
KEYRING = destroyed(activated(payments(), revision=6), 1, revision=7)
WHOLE = sealed_backup(KEYRING, TO, at=AT)
MICRO = timedelta(microseconds=1)
SENTENCE = Passphrase(Secret("correct horse bättery staple".encode()))


def same(one: Keyring, other: Keyring) -> bool:
    """Whether two keyrings are one, whatever KEKs have wrapped them."""
    return (
        (one.name, one.revision, one.versions) == (other.name, other.revision, other.versions)
        and one.seal.material == other.seal.material
        and {n: _bare(e.secret) for n, e in one.entries.items()}
        == {n: _bare(e.secret) for n, e in other.entries.items()}
        and {n: replace(e, secret=None) for n, e in one.entries.items()}
        == {n: replace(e, secret=None) for n, e in other.entries.items()}
    )


def _bare(secret: Wrapped | None) -> Material | None:
    return secret.material if secret else None


def shows_no_key(text: str) -> None:
    for secret in (*SECRETS, SEAL):
        for shown in (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]):
            assert shown not in text


def test_a_backup_brings_the_whole_keyring_back() -> None:
    """Its keys, states, times, ids and counters, and what is known of destroyed versions."""
    counted = KEYRING.counted(3, 5, 500, at=AT)
    again = opened_backup(sealed_backup(counted, TO, at=AT), BY)
    assert same(again, counted)
    assert again.entries[1].secret is None
    assert not same(again, KEYRING)


def test_nothing_of_a_key_is_in_a_backup_in_clear() -> None:
    """Neither as bytes nor as text."""
    for secret in (*SECRETS, SEAL):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert form not in WHOLE


def test_a_backup_says_what_is_in_it_without_being_opened() -> None:
    """Which keyring, when, which versions in what states, and who can open it."""
    found = header_of(WHOLE)
    assert (found.keyring, found.revision, found.made) == ("payments", 7, AT)
    assert [(each.number, each.state) for each in found.versions] == [
        (1, State.DESTROYED),
        (2, State.DECRYPT_ONLY),
        (3, State.ACTIVE),
    ]
    assert found.live.keys() == found.canaries.keys() == {2, 3}
    assert {n: each.fingerprint for n, each in found.live.items()} == {
        n: KEYRING.entries[n].fingerprint for n in (2, 3)
    }
    assert str(found.sealed_to) == TO.recipients[0]


def test_every_recipient_opens_it_and_nobody_else() -> None:
    """A second recipient is the spare key of the first."""
    other = pyrage.x25519.Identity.generate()
    stranger = pyrage.x25519.Identity.generate()
    to = PublicKeys((*TO.recipients, str(other.to_public())))
    data = sealed_backup(KEYRING, to, at=AT)
    for text in (BY.text, Secret(str(other).encode()), Secret(f"{stranger}\n{other}".encode())):
        assert same(opened_backup(data, Identities(text)), KEYRING)
    with pytest.raises(NotOpened, match="this identity does not open the backup"):
        opened_backup(data, Identities(Secret(str(stranger).encode())))


def test_a_passphrase_opens_what_it_sealed_and_no_other_does() -> None:
    """A backup is also refused a passphrase when it was sealed to recipients."""
    data = sealed_backup(KEYRING, SENTENCE, at=AT)
    assert str(header_of(data).sealed_to) == "a passphrase"
    assert same(opened_backup(data, SENTENCE), KEYRING)
    wrong = Passphrase(Secret(b"correct horse battery wrong"))
    for each, by in ((data, wrong), (data, BY), (WHOLE, SENTENCE)):
        with pytest.raises(NotOpened, match="does not open the backup"):
            opened_backup(each, by)
    costly = re.sub(rb"(-> scrypt \S+ )\d+", rb"\g<1>30", data)
    with pytest.raises(NotOpened, match="asks for more time"):
        opened_backup(costly, SENTENCE)


def test_a_busy_machine_still_opens_what_a_quiet_one_sealed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """age measures for milliseconds how fast it is, and would refuse: it is asked again."""
    data = age.encrypted(b"keys", SENTENCE)
    left = [5]
    real = pyrage.passphrase.decrypt

    def busy(data: bytes, words: str) -> bytes:
        if left[0]:
            left[0] -= 1
            raise pyrage.DecryptError("Excessive work parameter for passphrase.")
        found: bytes = real(data, words)
        return found

    monkeypatch.setattr(pyrage.passphrase, "decrypt", busy)
    assert age.decrypted(data, SENTENCE) == b"keys"
    left[0] = 1000
    with pytest.raises(NotOpened, match="more time than any passphrase"):
        age.decrypted(data, SENTENCE)
    assert left[0] == 950
    costly = re.sub(rb"(-> scrypt \S+ )\d+", rb"\g<1>30", data)
    with pytest.raises(NotOpened, match="more time than any passphrase"):
        age.decrypted(costly, SENTENCE)
    assert left[0] == 949  # it is no backup of ours: once is enough


@pytest.mark.parametrize(
    ("words", "why"), [(b"short", "fewer than 12 bytes"), (b"\xff" * 12, "not UTF-8")]
)
def test_a_poor_passphrase_is_refused(words: bytes, why: str) -> None:
    """Before anything is encrypted with it."""
    with pytest.raises(InvalidInput, match=why):
        sealed_backup(KEYRING, Passphrase(Secret(words)), at=AT)


def test_so_many_custodians_open_a_backup_together() -> None:
    """Any two of three, or all; one of them cannot."""
    made = split(2, 3)
    data = sealed_backup(KEYRING, Shared(made.recipient, 2, 3), at=AT)
    assert str(header_of(data).sealed_to) == "2 of 3 shares"
    words = [each.reveal().decode() for each in made.shares]
    for given_ in (words[:2], words[1:], words, [words[0], words[0], words[2]]):
        assert same(opened_backup(data, Shares(Secret("\n".join(given_).encode()))), KEYRING)
    with pytest.raises(NotOpened, match="1 different shares are given, and 2 are needed"):
        opened_backup(data, Shares(Secret(words[0].encode())))
    with pytest.raises(NotOpened, match="identity of these shares does not open"):
        opened_backup(WHOLE, Shares(Secret("\n".join(words).encode())))


@pytest.mark.parametrize("recipient", ["age1nobody", "ssh-ed25519 AAAA", "", "AGE-PLUGIN-X"])
def test_what_is_no_recipient_is_refused(recipient: str) -> None:
    """Rather than that a backup is made that nobody opens."""
    with pytest.raises(InvalidInput, match="is no recipient of age"):
        sealed_backup(KEYRING, PublicKeys((recipient,)), at=AT)


@pytest.mark.parametrize("number", [0, age.MAX_RECIPIENTS + 1])
def test_a_backup_has_recipients_and_not_too_many(number: int) -> None:
    """None would be a backup for nobody."""
    with pytest.raises(InvalidInput, match="1 to 100 recipients"):
        sealed_backup(KEYRING, PublicKeys(TO.recipients * number), at=AT)


@pytest.mark.parametrize(
    "text",
    [b"", b"# only a comment\n", b"AGE-SECRET-KEY-1XX", b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
     b"AGE-PLUGIN-YUBIKEY-1Q", b"\xff\xfe", "AGE-SECRET-KEY-1ä".encode()],
)  # fmt: skip
def test_what_is_no_identity_is_reported(text: bytes) -> None:
    """By one error that shows nothing of it."""
    with pytest.raises(NotOpened, match="none that can be read here") as refused:
        opened_backup(WHOLE, Identities(Secret(text)))
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no backup of a keyring"),
        (b"age-encryption.org/v1\n", "no backup of a keyring"),
        (WHOLE.replace(b"backup 1\n", b"backup x\n", 1), "its first line"),
        (WHOLE.replace(b"backup 1\n", b"backup 2\n", 1), "of format 2, and this certrotd reads 1"),
        (WHOLE.split(b"\n")[0], "its end is missing"),
        (b"\n".join(WHOLE.split(b"\n")[:2]), "its end is missing"),
        (b"\n".join(WHOLE.split(b"\n")[:3]) + b"\n", "its end is missing"),
        (b"certrotd keyring backup 1\n{}\n0\nx", "its header"),
        (WHOLE + bytes(backup.MAX_BACKUP), "larger than"),
        (WHOLE[:-1], "what age encrypted was changed"),
        (WHOLE + b"x", "what age encrypted was changed"),
    ],
)
def test_a_damaged_backup_is_reported(data: bytes, why: str) -> None:
    """In one line of one type, whatever is wrong with it."""
    with pytest.raises(BackupUnreadable, match=re.escape(why)):
        opened_backup(data, BY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"revision":7', b'"revision":8'),
        (b'"keyring":"payments"', b'"keyring":"paymentz"'),
        (b'"state":"destroyed"', b'"state":"retired"'),
        (b'"made":"2026', b'"made":"2027'),
    ],
)
def test_a_changed_header_is_noticed(old: bytes, new: bytes) -> None:
    """With the keyring before it is opened, and without it when it is."""
    assert WHOLE.count(old) == 1
    changed = WHOLE.replace(old, new)
    assert header_of(changed) != header_of(WHOLE)
    assert authentic(WHOLE, KEYRING)
    assert not authentic(changed, KEYRING)
    with pytest.raises(BackupUnreadable, match="was changed by something else"):
        opened_backup(changed, BY)


def test_a_backup_that_a_stranger_made_is_not_authentic() -> None:
    """Anybody can encrypt to a recipient: only the seal tells who did."""
    forged = sealed_by(KEYRING, Material(b"\x01" * 32))
    data = sealed_backup(forged, TO, at=AT)
    assert opened_backup(data, BY).name == "payments"
    assert not authentic(data, KEYRING)
    assert header_of(data).seal != header_of(WHOLE).seal


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("keyring",), "Not a name"),
        (("keyring",), 7),
        (("revision",), -1),
        (("revision",), True),
        (("made",), "2026-07-01T00:00:00"),
        (("made",), None),
        (("seal",), "a\nb"),
        (("sealed_to",), []),
        (("sealed_to", "recipients"), [1]),
        (("versions",), {"a": 1}),
        (("versions",), [{"number": 1}]),
        (("canaries",), {"1": "*"}),
        (("canaries",), {"x": ""}),
        (("more",), 1),
    ],
)
def test_a_header_of_another_shape_is_refused(where: tuple[str, ...], value: object) -> None:
    """Nothing of it is believed until each value is what it must be."""
    told = header_of(WHOLE).to_json()
    inner = told
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    line = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(BackupUnreadable, match="its header is not what certrotd writes"):
        header.read(line)


def contents() -> dict[str, object]:
    """What age encrypted, as JSON."""
    told: dict[str, object] = json.loads(age.decrypted(WHOLE.split(b"\n", 3)[3], BY))
    return told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"keyring": "payments"', '"keyring": 1'),
        ('"revision": 7', '"revision": "7"'),
        ('"revision": 7', '"revision": 7.0'),
        ('"number": 1', '"number": 1.0'),
        ('"number": 2', '"number": 3'),
        ("+00:00", ""),
        ('"material": "', '"material": "*'),
        ('"aes-256-gcm"', '"aes-128-gcm"'),
        ('"aes-256-gcm"', '"rot13"'),
        ('"fingerprint": "', '"fingerprint": "0'),
        ('"to": "', '"to": "x'),
        ('"id": "v2"', '"id": 2'),
        ('"seal": "', '"seal": "AAAA'),
        ("{", "["),
        ("}", ""),
    ],
)
def test_contents_that_certrotd_did_not_write_are_refused(old: str, new: str) -> None:
    """Whoever knows the recipient can write them, so they are as hostile as a file."""
    text = json.dumps(contents())
    changed = text.replace(old, new)
    assert changed != text
    start, body = b"\n".join(WHOLE.split(b"\n")[:3]), age.encrypted(changed.encode(), TO)
    with pytest.raises(BackupUnreadable, match="damaged: its contents cannot be used") as refused:
        opened_backup(start + b"\n" + body, BY)
    shows_no_key(str(refused.value))


def test_the_contents_can_be_read_without_certrotd() -> None:
    """An age file after three lines, with the keys as base64 in JSON."""
    told = contents()
    versions = told["versions"]
    assert isinstance(versions, list)
    assert [each["material"] for each in versions][:2] == [
        None,
        base64.b64encode(SECRETS[1]).decode(),
    ]


@settings(max_examples=200)
@given(st.data())
def test_no_byte_of_a_backup_can_be_changed(data: st.DataObject) -> None:
    """Changed, cut or grown anywhere, it is one typed error of one line."""
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    act = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    byte = data.draw(st.integers(1, 255))
    changed = {
        "flip": WHOLE[:at] + bytes([WHOLE[at] ^ byte]) + WHOLE[at + 1 :],
        "cut": WHOLE[:at],
        "insert": WHOLE[:at] + bytes([byte]) + WHOLE[at:],
    }[act]
    if changed == WHOLE:
        return
    with pytest.raises(BackupUnreadable) as refused:
        opened_backup(changed, BY)
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_the_same_way(data: bytes) -> None:
    """Alone, as header and as body."""
    start = b"certrotd keyring backup 1\n"
    for each in (data, start + data, b"\n".join(WHOLE.split(b"\n")[:3]) + b"\n" + data):
        with pytest.raises(BackupUnreadable):
            opened_backup(each, BY)


@given(
    st.integers(0, 2**40),
    st.integers(0, 4 * 10**15),
    st.integers(-14, 14),
)
def test_every_header_is_read_as_it_was_written(revision: int, micros: int, zone: int) -> None:
    """At any revision and time."""
    made = datetime.fromtimestamp(0, timezone(timedelta(hours=zone))) + micros * MICRO
    written = header.Header.of(at_revision(KEYRING, revision), TO, at=made)
    assert header.read(written.line()) == written


KEY = DataKey(2, Algorithm.AES_256_GCM, Material(SECRETS[1]), id="v2", iv=b"i" * 16)


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, material=Material(SECRETS[0])),
        replace(KEY, version=3),
        replace(KEY, id="v3"),
        replace(KEY, iv=b"j" * 16),
        replace(KEY, algorithm=Algorithm.CHACHA20_POLY1305),
    ],
)
def test_a_canary_is_opened_by_its_own_key_alone(other: DataKey) -> None:
    """Of the same material, id, algorithm and initialization vector."""
    made = canary("payments", KEY)
    assert opens("payments", KEY, made)
    assert not opens("payments", other, made)
    assert not opens("users", KEY, made)
    assert not opens("payments", KEY, made[:5])
    assert not opens("payments", KEY, b"")


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    monkeypatch.setitem(sys.modules, "pyrage", None)
    for act in (
        lambda: sealed_backup(KEYRING, TO, at=AT),
        lambda: opened_backup(WHOLE, BY),
        lambda: split(2, 3),
    ):
        with pytest.raises(LibraryMissing, match="not installed") as missing:
            act()
        assert "[escrow]" in str(missing.value)


def test_nothing_of_a_secret_is_shown() -> None:
    """Neither by what opens a backup, nor by what is read from one."""
    for shown in (repr(BY), repr(SENTENCE), repr(split(2, 2)), repr(opened_backup(WHOLE, BY))):
        shows_no_key(shown)
        assert "AGE-SECRET" not in shown
        assert "horse" not in shown
    assert repr(header_of(WHOLE)).count("canaries") == 0
    assert issubclass(BackupUnreadable, Failure)
    assert header_of(WHOLE).made.tzinfo is UTC
