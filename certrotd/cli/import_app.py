"""The command ``certrotd import``, with its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.options import Json, end


def import_command(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="certbot, lego or acme.sh.")],
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="Its directory (default: /etc/letsencrypt, ./.lego or ~/.acme.sh).",
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="DIR",
            help="Write config.yaml and secrets there, and import the accounts; without it "
            "nothing is changed.",
        ),
    ] = None,
    state_dir: Annotated[
        Path, typer.Option("--state-dir", metavar="DIR", help="The state_dir to configure.")
    ] = Path("/var/lib/certrotd"),
    ca_bundle: Annotated[
        Path | None,
        typer.Option(
            "--ca-bundle", metavar="FILE", help="Roots of the web server of a CA of your own."
        ),
    ] = None,
    server: Annotated[
        str,
        typer.Option(
            "--server",
            metavar="URL",
            help="The CA's ACME directory, where lego or acme.sh does not keep it.",
        ),
    ] = "",
    dns: Annotated[
        str,
        typer.Option("--dns", metavar="NAME", help="lego's DNS provider, which it does not keep."),
    ] = "",
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file", metavar="FILE", help="The variables that lego's DNS provider reads."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Move in from certbot, lego or acme.sh; a dry run at first.

    Nothing is ordered anew, and services read the same paths. The exit code is 1 if something
    could not be read. The other client is left running: the output names its timer.

    Examples: certrotd import certbot | certrotd import certbot --write /etc/certrotd |
    certrotd import lego /opt/lego --dns hetzner --env-file /etc/lego.env
    """
    from certrotd.cli.moving_in import Wish, bring_in

    wish = Wish(
        client=client,
        path=path,
        folder=write,
        state_dir=state_dir,
        ca_bundle=ca_bundle,
        server=server,
        provider=dns,
        environment=env_file,
    )
    end(bring_in(wish, as_json=as_json))
