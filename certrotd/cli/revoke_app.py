"""The options of ``certrotd revoke`` and ``delete``, and certbot's name of ``status``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.options import (
    AnyCertificate,
    Certificate,
    ConfigOption,
    Confirmed,
    Json,
    Names,
    end,
    path_of,
)

revoke_app = typer.Typer()


@revoke_app.command()
def revoke(
    context: typer.Context,
    name: AnyCertificate = None,
    generation: Annotated[
        int | None, typer.Option(metavar="N", help="An earlier one (default: the live one).")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="CERT", help="Instead: a certificate in a file.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="KEY", help="Its key, for --file.")] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="ISSUER", help="Which of several CAs, for --file.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="unspecified, keyCompromise, affiliationChanged, superseded (the default), or "
            "cessationOfOperation.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNER",
            help="account or certificate-key (default: the account, else the key).",
        ),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Revoke first, and replace it then: services may fail.")
    ] = False,
    confirmed: Confirmed = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Revoke a certificate; a live one is replaced before.

    Examples: certrotd revoke web --reason keyCompromise | certrotd revoke web --generation 6 |
    certrotd revoke --file old.pem --key old.key
    """
    from certrotd.cli import revoke as commands

    if (name is None) == (file is None):
        raise typer.BadParameter("name a certificate, or a --file")
    if file is not None:
        if generation is not None or now or as_json:
            raise typer.BadParameter("--generation, --now and --json are for a NAME")
        found = commands.revoke_file(
            path_of(context, config),
            file,
            key=key,
            issuer=issuer,
            reason=reason,
            by=by,
            confirmed=confirmed,
        )
        end(found)
    if key is not None or issuer is not None:
        raise typer.BadParameter("--key and --issuer are for a --file")
    assert name is not None, "one of the two is there"
    end(
        commands.revoke(
            path_of(context, config),
            name,
            generation=generation,
            reason=reason,
            by=by,
            now=now,
            confirmed=confirmed,
            as_json=as_json,
        )
    )


@revoke_app.command()
def delete(
    context: typer.Context,
    name: Certificate,
    revoked: Annotated[
        bool, typer.Option("--revoke", help="Have the CA revoke the live one before.")
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Why, as of revoke (default: cessationOfOperation)."),
    ] = None,
    confirmed: Confirmed = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Delete keys and files of a certificate that is not configured.

    Its entry is gone from the configuration, or disabled there. Prints what goes and what stays.

    Examples: certrotd delete web | certrotd delete web --revoke --confirm web
    """
    from certrotd.cli.delete import delete as carry_out

    if reason is not None and not revoked:
        raise typer.BadParameter("--reason is for --revoke")
    path = path_of(context, config)
    end(carry_out(path, name, revoke=revoked, reason=reason, confirmed=confirmed, as_json=as_json))


@revoke_app.command(hidden=True)
def certificates(
    context: typer.Context, names: Names = None, as_json: Json = False, config: ConfigOption = None
) -> None:
    """As status, by the name that certbot has for it.

    Examples: certrotd certificates | certrotd certificates web
    """
    from certrotd.cli.status import status

    end(status(path_of(context, config), names or [], probe=False, as_json=as_json))
