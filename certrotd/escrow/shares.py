"""A backup identity of age that no one holds: split k-of-n among custodians by SLIP-39.

The identity is made once, at a ceremony. Its public half is configured as the recipient, so that
backups need no custodian; only opening one does. Each share is one line of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from certrotd import bech32
from certrotd.config.secrets import Secret
from certrotd.errors import InvalidInput
from certrotd.escrow.errors import LibraryMissing, NotOpened
from certrotd.extras import how_to_install

MAX_SHARES = 16
"""SLIP-39 gives the index of a share four bits."""
MAX_TEXT = 16 * 1024
_PREFIX = "age-secret-key-"
_SIZE = 32


@dataclass(frozen=True)
class Split:
    """The recipient of backups, and the shares of its identity, each for one custodian."""

    recipient: str
    threshold: int
    shares: tuple[Secret, ...] = field(repr=False)


def split(threshold: int, of: int) -> Split:
    """A new identity of age as ``of`` shares, of which any ``threshold`` open a backup.

    It is kept nowhere. Raises InvalidInput for numbers that SLIP-39 does not have.
    """
    check_numbers(threshold, of)
    try:
        import pyrage  # type: ignore[import-untyped]
        from shamir_mnemonic import generate_mnemonics  # type: ignore[import-untyped]
    except ImportError:
        raise _missing() from None
    identity = pyrage.x25519.Identity.generate()
    secret = bech32.decoded(_PREFIX, str(identity))
    [words] = generate_mnemonics(1, [(threshold, of)], secret)
    return Split(
        str(identity.to_public()), threshold, tuple(Secret(each.encode()) for each in words)
    )


def check_numbers(threshold: int, of: int) -> None:
    """Whether ``threshold`` of ``of`` shares can be; raises InvalidInput."""
    if not 2 <= threshold <= of <= MAX_SHARES:
        raise InvalidInput(
            f"{threshold} of {of} shares cannot be",
            hint=f"2 or more must be needed, and {MAX_SHARES} is the most there can be; for one "
            "custodian use an age recipient",
        )


def joined(shares: Secret) -> str:
    """The identity of age that the shares make: one share a line, with comments after #.

    More than are needed are fine. Raises NotOpened, which shows no word of a share.
    """
    lines = _lines(shares)
    try:
        from shamir_mnemonic import MnemonicError, Share
        from shamir_mnemonic.shamir import (  # type: ignore[import-untyped]
            ShareGroup,
            recover_ems,
        )
    except ImportError:
        raise _missing() from None
    group = ShareGroup()
    for number, line in enumerate(lines, 1):
        try:
            share = Share.from_mnemonic(line)
        except (MnemonicError, ValueError, LookupError):
            raise NotOpened(
                f"share {number} is mistyped: it has a word that no share has, or lacks one",
                hint="compare it with the custodian's sheet word for word",
            ) from None
        if share.group_count != 1 or len(share.value) != _SIZE:
            raise NotOpened(
                f"share {number} is no share of a backup identity",
                hint="it may be of a wallet: give the shares that certrotd made",
            )
        _added(group, share, number)
    needed = group.member_threshold()
    distinct = {share.index: share for share in sorted(group, key=lambda each: each.index)}
    if len(distinct) < len(group):
        raise _other("two shares with one number differ")
    if len(distinct) < needed:
        raise NotOpened(
            f"{len(distinct)} different shares are given, and {needed} are needed",
            hint="ask more custodians for theirs",
        )
    minimal = ShareGroup()
    minimal.shares = set(list(distinct.values())[:needed])
    try:
        secret = recover_ems({0: minimal}).decrypt(b"")
    except MnemonicError:
        raise _other("they do not fit together") from None
    return bech32.encoded(_PREFIX, secret).upper()


def _added(group: object, share: object, number: int) -> None:
    from shamir_mnemonic import MnemonicError

    try:
        group.add(share)  # type: ignore[attr-defined]
    except MnemonicError:
        raise _other(f"share {number} is of another set than the first") from None


def _lines(shares: Secret) -> Sequence[str]:
    data = shares.reveal()
    if len(data) > MAX_TEXT:
        raise NotOpened(f"the shares are longer than {MAX_TEXT} bytes", hint="give one a line")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise NotOpened("the shares are not plain words", hint="give one share a line") from None
    lines = [line.partition("#")[0].strip().lower() for line in text.splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise NotOpened("no share is given", hint="give one share a line")
    if len(found) > MAX_SHARES:
        raise NotOpened(f"more than {MAX_SHARES} shares are given", hint="give one share a line")
    return found


def _other(why: str) -> NotOpened:
    return NotOpened(
        f"these shares are not of one identity: {why}",
        hint="give shares of one ceremony: all begin with the same three words",
    )


def _missing() -> LibraryMissing:
    return LibraryMissing(
        "shares need pyrage and shamir-mnemonic, which are not installed",
        hint=how_to_install("escrow"),
    )
