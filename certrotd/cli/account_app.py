"""The commands of ``certrotd account``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.options import ConfigOption, Confirmed, Json, end, path_of
from certrotd.cli.words import Commands

account_app = typer.Typer(
    cls=Commands,
    help="Manage the accounts at CAs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Issuer = Annotated[str, typer.Argument(metavar="ISSUER", help="The issuer, of type acme.")]


@account_app.command("show")
def account_show(
    context: typer.Context,
    issuers: Annotated[
        list[str] | None, typer.Argument(metavar="ISSUER", help="Issuers (default: all).")
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show accounts: URL, contacts, key, and their status at the CA.

    The exit code is 1 if one cannot be used, or its CA does not answer.

    Examples: certrotd account show | certrotd account show letsencrypt --json
    """
    from certrotd.cli.account import show as carry_out

    end(carry_out(path_of(context, config), issuers or [], as_json=as_json))


@account_app.command("rollover")
def account_rollover(
    context: typer.Context, issuer: Issuer, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Give an account a new key.

    It is of the type that account_key asks for; the account's URL stays. If interrupted, run it
    again, or leave it to the next order.

    Example: certrotd account rollover letsencrypt
    """
    from certrotd.cli.account import rollover as carry_out

    end(carry_out(path_of(context, config), issuer, as_json=as_json))


@account_app.command("deactivate")
def account_deactivate(
    context: typer.Context,
    issuer: Issuer,
    confirm: Confirmed = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """End an account for good.

    The CA takes no more orders or revocations from it. Its certificates stay valid. Nothing is
    ordered until certrotd account new.

    Example: certrotd account deactivate letsencrypt
    """
    from certrotd.cli.account import deactivate as carry_out

    end(carry_out(path_of(context, config), issuer, confirmed=confirm, as_json=as_json))


@account_app.command("new")
def account_new(
    context: typer.Context, issuer: Issuer, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Register an account where there is none, or it has ended.

    It has a new key. An account that is valid is never replaced.

    Example: certrotd account new letsencrypt
    """
    from certrotd.cli.account import new as carry_out

    end(carry_out(path_of(context, config), issuer, as_json=as_json))


@account_app.command("import")
def account_import(
    context: typer.Context,
    issuer: Issuer,
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            metavar="FILE",
            help="The account's key: PEM (lego, acme.sh), or certbot's private_key.json.",
        ),
    ],
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Use an account that another program registered at this CA.

    The key is copied; another account that is there is never replaced.

    Example: certrotd account import le --key account.pem
    """
    from certrotd.cli.account import bring as carry_out

    end(carry_out(path_of(context, config), issuer, key, as_json=as_json))
