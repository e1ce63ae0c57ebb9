"""``certrotd keys backup``, ``drill``, ``restore`` and ``shares``."""

from __future__ import annotations

import sys
from pathlib import Path

from certrotd.assessment.transitions import destructions
from certrotd.audit.record import parse
from certrotd.cli.keys import one_keyring
from certrotd.cli.output import print_json, print_table, say
from certrotd.config.secrets import FileSecret, Secret
from certrotd.daemon.wiring import Site
from certrotd.errors import InvalidInput, NeedsOperator, UsageError
from certrotd.escrow.age import Identities, Key, Passphrase, Shares
from certrotd.escrow.backup import MAX_BACKUP
from certrotd.escrow.configured import drill_key_of
from certrotd.escrow.restore import Destruction
from certrotd.files.reading import read_file
from certrotd.keys import escrow

By = tuple[Path | None, Path | None, Path | None]
"""The files of an identity, of shares and of a passphrase; at most one is given."""
MAX_TYPED = 64 * 1024
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""The screen of a terminal, and what was scrolled off it (ECMA-48, and xterm for the last)."""


def backup(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys backup``; the exit code."""
    with one_keyring(config, name, "backup") as (keyring, site):
        place = escrow.back_up(keyring, site.audit)
        warnings = list(keyring.backups.warnings()) if keyring.backups else []
    for words in warnings:
        say(words)
    print_json({"name": name, "backup": place}) if as_json else say(place, sys.stdout)
    return 0


def drill(config: Path, name: str, by: By, *, file: Path | None, as_json: bool) -> int:
    """Carry out ``certrotd keys drill``; the exit code."""
    with one_keyring(config, name, "drill") as (keyring, site):
        entry = keyring.entry.backup
        if entry is None and file is None:
            raise escrow.no_backup(keyring)
        key = _key(by) or (drill_key_of(entry) if entry else None)
        if key is None:
            raise UsageError(
                "nothing is given that opens a backup", hint="--identity, --shares or --passphrase"
            )
        found = escrow.drilled(keyring, site.audit, key, _read(file) if file else None)
    if as_json:
        print_json(found.to_json())
    else:
        rows = [(each.code.value, f"{each.why} ({each.hint})") for each in found.findings]
        proven = ", ".join(map(str, found.versions)) or "none"
        rows = rows or [("ok", f"revision {found.revision}: versions {proven} would come back")]
        print_table(("RESULT", "WHY"), rows)
        for number in found.still_held:
            say(f"version {number} is destroyed, and this backup still has its key")
    return 0 if found.succeeded else 1


def restore(config: Path, name: str, file: Path, by: By, *, anew: bool, as_json: bool) -> int:
    """Carry out ``certrotd keys restore``; the exit code."""
    with one_keyring(config, name, "restore") as (keyring, site):
        entry = keyring.entry.backup
        key = _key(by) or (drill_key_of(entry) if entry else None)
        if key is None:
            raise UsageError(
                "nothing is given that opens the backup",
                hint="--identity, --shares or --passphrase",
            )

        def destroyed() -> tuple[Destruction, ...]:
            return _destroyed(site, keyring.policy.name)

        data = _read(file)
        back = escrow.restore(keyring, site.audit, data, key, anew=anew, destroyed=destroyed)
    if as_json:
        print_json({"name": name, "revision": back.revision, "notes": list(back.notes)})
    else:
        say(f"{name}: restored, at revision {back.revision}", sys.stdout)
        for note in back.notes:
            say(f"{name}: {note}", sys.stdout)
        say(f"{name}: certrotd keys deliver {name} writes its outputs", sys.stdout)
    return 0


def make_shares(threshold: int, of: int, *, as_json: bool) -> int:
    """Carry out ``certrotd keys shares``; the exit code."""
    from certrotd.escrow.shares import split

    made = split(threshold, of)
    words = [each.reveal().decode() for each in made.shares]
    if as_json:
        print_json({"recipient": made.recipient, "threshold": threshold, "shares": words})
        return 0
    recipient = f"recipient: {made.recipient}"
    say(recipient, sys.stdout)
    one_by_one = sys.stdin.isatty() and sys.stdout.isatty()
    for number, line in enumerate(words, 1):
        share = f"share {number} of {of}"
        if one_by_one:
            _show_alone(share, line)
        else:
            say(f"{share}: {line}", sys.stdout)
    if one_by_one:  # the screen that had it was cleared
        say(recipient, sys.stdout)
    return 0


def _show_alone(share: str, line: str) -> None:
    """Show a share until its custodian has it, and not longer, however that ends."""
    try:
        input(f"{share}: Enter shows it to its custodian, alone. ")
        say(f"{share}: {line}", sys.stdout)
        input("Enter clears the screen. ")
    except EOFError:
        raise NeedsOperator(
            "standard input ended before every custodian had a share",
            hint="make all shares anew: the ones that were shown are of no use",
        ) from None
    finally:
        sys.stdout.write(_CLEAR)


def _key(by: By) -> Key | None:
    given = [each for each in by if each is not None]
    if len(given) > 1:
        raise UsageError("more than one of --identity, --shares and --passphrase is given")
    identity, shares, passphrase = by
    if identity is not None:
        return Identities(FileSecret(file=identity.absolute()).resolve())
    if shares is not None:
        return Shares(
            _typed() if str(shares) == "-" else FileSecret(file=shares.absolute()).resolve()
        )
    if passphrase is not None:
        return Passphrase(FileSecret(file=passphrase.absolute()).resolve())
    return None


def _typed() -> Secret:
    """What is typed or piped on standard input, to its end."""
    if sys.stdin.isatty():
        say("type the shares, one a line, and end with Ctrl-D:")
    return Secret(sys.stdin.buffer.read(MAX_TYPED))


def _read(file: Path) -> bytes:
    try:
        return read_file(file, limit=MAX_BACKUP)
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}") from None
    except InvalidInput as error:
        raise NeedsOperator(error.message) from None


def _destroyed(site: Site, keyring: str) -> tuple[Destruction, ...]:
    """The versions that the audit log says were destroyed."""
    with site.audit.snapshot() as snapshot:
        return destructions(filter(None, map(parse, snapshot.lines())), keyring)
