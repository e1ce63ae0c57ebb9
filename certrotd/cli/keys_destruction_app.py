"""The commands of ``certrotd keys`` about the end of a key."""

from __future__ import annotations

from typing import Annotated

import typer

from certrotd.cli.keys_app import Name, Reason, Version
from certrotd.cli.options import ConfigOption, Json, end, path_of

destruction_app = typer.Typer()


@destruction_app.command("hold")
def keys_hold(
    context: typer.Context,
    name: Name,
    version: Version,
    reason: Reason,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Until when (default: for ever).")
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Forbid that a key is withheld or destroyed.

    Example: certrotd keys hold orders 2 --reason "case 4711" --until 2027-06-30
    """
    from certrotd.cli.key_destruction import hold as carry_out

    path = path_of(context, config)
    end(carry_out(path, name, version, why=reason, until=until, as_json=as_json))


@destruction_app.command("release")
def keys_release(
    context: typer.Context,
    name: Name,
    version: Version,
    reason: Reason,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """End a hold.

    Example: certrotd keys release orders 2 --reason "case 4711 is closed"
    """
    from certrotd.cli.key_destruction import release as carry_out

    end(carry_out(path_of(context, config), name, version, why=reason, as_json=as_json))


@destruction_app.command("exposure")
def keys_exposure(
    context: typer.Context,
    name: Name,
    version: Version,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Report what a key protected, for when others know it.

    Since when, by whom and how often it was used, and which secrets are to be changed elsewhere.

    Example: certrotd keys exposure orders 2
    """
    from certrotd.cli.key_exposure import exposure as carry_out

    end(carry_out(path_of(context, config), name, version, as_json=as_json))


@destruction_app.command("scan")
def keys_scan(
    context: typer.Context,
    name: Name,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Look for ciphertext that is in no dataset.

    In the databases and directories of the datasets. Nothing there is written.

    Example: certrotd keys scan orders
    """
    from certrotd.cli.key_scan import scan as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@destruction_app.command("prove")
def keys_prove(
    context: typer.Context,
    name: Name,
    version: Version,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show and verify the proof that a key was destroyed by right.

    By the audit log, whose chain is verified, and the keyring. It changes nothing.

    Example: certrotd keys prove orders 2
    """
    from certrotd.cli.key_proof import prove as carry_out

    end(carry_out(path_of(context, config), name, version, as_json=as_json))


@destruction_app.command("confirm")
def keys_confirm(
    context: typer.Context,
    name: Name,
    version: Version,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Confirm that a withheld key may be destroyed.

    With confirm: two in its configuration, two people have to.

    Example: certrotd keys confirm orders 2
    """
    from certrotd.cli.key_destruction import confirm as carry_out

    end(carry_out(path_of(context, config), name, version, as_json=as_json))
