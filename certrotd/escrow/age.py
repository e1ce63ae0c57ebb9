"""Whom a backup is encrypted to, what opens it, and both by age (age-encryption.org/v1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from certrotd.config.secrets import Secret
from certrotd.errors import InvalidInput, one_line
from certrotd.escrow.errors import LibraryMissing, NotOpened, damaged
from certrotd.escrow.shares import joined
from certrotd.extras import how_to_install
from certrotd.kek.passphrase import MIN_PASSPHRASE

MAX_RECIPIENTS = 100


@dataclass(frozen=True)
class PublicKeys:
    """Recipients: ``age1…``, ``ssh-ed25519 …`` or ``ssh-rsa …``; any one of them opens it."""

    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Shared:
    """The recipient whose identity custodians hold in shares (shares.split)."""

    recipient: str
    threshold: int
    of: int


@dataclass(frozen=True)
class Passphrase:
    """A passphrase, which both encrypts and opens."""

    passphrase: Secret


@dataclass(frozen=True)
class Identities:
    """The text of an identity file of age, or a private key of OpenSSH without a passphrase."""

    text: Secret


@dataclass(frozen=True)
class Shares:
    """Shares of custodians, one a line."""

    text: Secret


Recipients = PublicKeys | Shared | Passphrase
Key = Identities | Passphrase | Shares


def encrypted(data: bytes, to: Recipients) -> bytes:
    """``data`` as a file of age; raises InvalidInput for recipients that are none."""
    pyrage = _pyrage()
    if isinstance(to, Passphrase):
        out: bytes = pyrage.passphrase.encrypt(data, _words(to))
        return out
    sealed: bytes = pyrage.encrypt(data, _recipients(pyrage, to))
    return sealed


def check(to: Recipients) -> None:
    """Whether encrypted() would encrypt to them; raises as it does."""
    pyrage = _pyrage()
    if isinstance(to, Passphrase):
        _words(to)
    else:
        _recipients(pyrage, to)


def _recipients(pyrage: Any, to: PublicKeys | Shared) -> Sequence[object]:
    recipients = to.recipients if isinstance(to, PublicKeys) else (to.recipient,)
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise InvalidInput(f"a backup has 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}")
    return [_recipient(pyrage, each) for each in recipients]


def decrypted(data: bytes, by: Key) -> bytes:
    """What encrypted() encrypted; raises BackupUnreadable.

    NotOpened, which is one, where the key may be wrong: it does not always tell that from damage.
    """
    pyrage = _pyrage()
    try:
        if isinstance(by, Passphrase):
            return _by_passphrase(pyrage, data, _words(by))
        text = joined(by.text).encode() if isinstance(by, Shares) else by.text.reveal()
        opened: bytes = pyrage.decrypt(data, _identities(pyrage, text))
        return opened
    except pyrage.DecryptError as error:
        if "xcessive work" in str(error):
            raise NotOpened(
                "the backup asks for more time than any passphrase should take",
                hint="certrotd did not write it",
            ) from None
        if not isinstance(by, Passphrase) and any(each in str(error) for each in _DAMAGE):
            raise damaged("what age encrypted was changed") from None
        raise NotOpened(
            f"{_WHAT[type(by)]} not open the backup",
            hint="its header says to whom it is sealed; if that fits, it is damaged: take another",
        ) from None


def _by_passphrase(pyrage: Any, data: bytes, words: str) -> bytes:
    """What a passphrase opens; raises pyrage.DecryptError.

    age refuses what would take 16 times as long as it takes for encrypting, by a measurement of
    milliseconds: on a busy machine it is tried again, for what certrotd itself may have written.
    """
    tries = _TRIES if (found := _WORK.search(data[:_HEADER])) and int(found[1]) <= _WORKS else 1
    while True:
        tries -= 1
        try:
            out: bytes = pyrage.passphrase.decrypt(data, words)
            return out
        except pyrage.DecryptError as error:
            if not tries or "xcessive work" not in str(error):
                raise


_WORK = re.compile(rb"\n-> scrypt [^ \n]{1,40} (\d{1,2})\n")
_WORKS, _TRIES, _HEADER = 22, 50, 200  # 2^22: 4 GiB of memory and a quarter of a minute
_DAMAGE = ("MAC is invalid", "decryption error")
"""What age says once an identity fits."""
_WHAT = {
    Passphrase: "this passphrase does",
    Identities: "this identity does",
    Shares: "the identity of these shares does",
}


def _words(by: Passphrase) -> str:
    value = by.passphrase.reveal()
    if len(value) < MIN_PASSPHRASE:
        raise InvalidInput(
            f"the passphrase of the backup has fewer than {MIN_PASSPHRASE} bytes",
            hint="take a longer one",
        )
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the passphrase of the backup is not UTF-8") from None


def _recipient(pyrage: Any, text: str) -> object:
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        key: object = kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise InvalidInput(
            f"{one_line(text[:60])} is no recipient of age",
            hint="give the line that age-keygen -y prints (age1…), or an SSH public key of "
            "type ssh-ed25519 or ssh-rsa",
        ) from None
    return key


def _identities(pyrage: Any, text: bytes) -> Sequence[object]:
    """Every identity in the text of a file."""
    try:
        if b"-----BEGIN" in text:
            return [pyrage.ssh.Identity.from_buffer(text)]
        lines = [line.strip() for line in text.decode("ascii").splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        found = [pyrage.x25519.Identity.from_str(line) for line in wanted]
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise NotOpened(
            "what is given as identity is none that can be read here",
            hint="give a file that age-keygen wrote, decrypted, or an OpenSSH private key that has "
            "no passphrase; keys of plugins open the backup with age itself",
        )
    return found


def _pyrage() -> Any:
    try:
        import pyrage  # type: ignore[import-untyped]
    except ImportError:
        raise LibraryMissing(
            "backups need pyrage, which is not installed", hint=how_to_install("escrow")
        ) from None
    return pyrage
