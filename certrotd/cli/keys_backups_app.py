"""The commands of ``certrotd keys`` about backups, and what is rehearsed with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.keys_app import Name
from certrotd.cli.options import ConfigOption, Json, end, path_of

backups_app = typer.Typer()
Identity = Annotated[
    Path | None,
    typer.Option("--identity", metavar="FILE", help="An identity of age, or an SSH key."),
]
Shares = Annotated[
    Path | None, typer.Option("--shares", metavar="FILE", help="Shares, one a line; - reads them.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase", metavar="FILE", help="A file with the passphrase.")
]


@backups_app.command("backup")
def keys_backup(
    context: typer.Context, name: Name, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Back the keyring up now, where its configuration says.

    Example: certrotd keys backup orders
    """
    from certrotd.cli.key_backups import backup as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@backups_app.command("drill")
def keys_drill(
    context: typer.Context,
    name: Name,
    identity: Identity = None,
    shares: Shares = None,
    passphrase: PassphraseFile = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="This backup, not the newest.")
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Try whether the newest backup would bring every key back.

    Nothing is written.

    Examples: certrotd keys drill orders --identity key.txt | certrotd keys drill orders --shares -
    """
    from certrotd.cli.key_backups import drill as carry_out

    by = identity, shares, passphrase
    end(carry_out(path_of(context, config), name, by, file=file, as_json=as_json))


@backups_app.command("rehearse")
def keys_rehearse(
    context: typer.Context, name: Name, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Play the compromise of a key on copies.

    It tells whether it would work, and how long it takes.

    Nothing that is live changes.

    Example: certrotd keys rehearse orders
    """
    from certrotd.cli.key_rehearsal import rehearse as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@backups_app.command("restore")
def keys_restore(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Option("--from", metavar="FILE", help="The backup.")],
    identity: Identity = None,
    shares: Shares = None,
    passphrase: PassphraseFile = None,
    anew: Annotated[
        bool, typer.Option("--older", help="Go back although the keyring there is newer.")
    ] = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Go on from a backup; what is there is kept aside.

    A key that was destroyed since stays destroyed.

    Example: certrotd keys restore orders --from FILE --identity key.txt
    """
    from certrotd.cli.key_backups import restore as carry_out

    by = identity, shares, passphrase
    end(carry_out(path_of(context, config), name, file, by, anew=anew, as_json=as_json))


@backups_app.command("shares")
def keys_shares(
    threshold: Annotated[int, typer.Option("--threshold", help="How many open a backup.")],
    of: Annotated[int, typer.Option("--of", help="How many there are.")],
    as_json: Json = False,
) -> None:
    """Make a backup identity that nobody holds alone, in shares.

    Each custodian gets a line of words.

    Print it on paper, not into a file. The recipient goes into the configuration.

    Example: certrotd keys shares --threshold 2 --of 3
    """
    from certrotd.cli.key_backups import make_shares as carry_out

    end(carry_out(threshold, of, as_json=as_json))
