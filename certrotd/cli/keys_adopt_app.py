"""The command ``certrotd keys adopt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.keys_app import Name
from certrotd.cli.options import ConfigOption, Json, end, path_of
from certrotd.errors import UsageError

adopt_app = typer.Typer()


@adopt_app.command("adopt")
def keys_adopt(
    context: typer.Context,
    name: Name,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="The output that has the keys."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--output", metavar="TYPE", help="The type of that output, such as tink."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Plan the keyring of an application, such as airflow."),
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="Its database, no password.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="The password of that.")
    ] = None,
    password_env: Annotated[
        str | None, typer.Option("--password-env", metavar="VARIABLE", help="Or where it is.")
    ] = None,
    targets: Annotated[
        list[str] | None, typer.Option("--target", metavar="NAME", help="What restarts it.")
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="TABLE=COLUMN,…", help="A table of your own."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the profile."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the plan into conf.d, and adopt by it.")
    ] = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Take over an application's keys; its files do not change.

    Switch off whatever rotated them before: two cannot give out versions. Jobs of cron and timers
    of systemd that name the file are listed. With --profile, the keyring is not configured yet:
    its configuration is printed, and its data counted; nothing changes without --write.

    Examples: certrotd keys adopt orders --from /etc/app/keys.json --output json-keystore |
    certrotd keys adopt airflow --profile airflow --database sqlite:////srv/airflow/airflow.db
    --from /etc/airflow/airflow.env
    """
    from certrotd.cli.key_profiles import Asked, adopt_by_profile
    from certrotd.cli.keys import adopt as carry_out

    path = path_of(context, config)
    account = database, password_file, password_env
    asked = Asked(
        profile, source, *account, targets or (), tables or (), options or (), write=write
    )
    if asked != Asked(source=source):
        if form is not None:
            raise UsageError("--profile tells the type of the output: leave --output out")
        end(adopt_by_profile(path, name, asked, as_json=as_json))
    end(carry_out(path, name, source=source, form=form, as_json=as_json))
