"""The groups of commands: ``certrotd config``, ``audit``, ``notify``, ``internal`` and ``dns``."""

from __future__ import annotations

from typing import Annotated

import typer

from certrotd.cli.options import Certificate, ConfigOption, Json, end, path_of
from certrotd.cli.words import Commands

config_app = typer.Typer(
    cls=Commands,
    help="Check the configuration, or print its schema.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
audit_app = typer.Typer(
    cls=Commands,
    help="Read the audit log, and verify its hash chain.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
notify_app = typer.Typer(
    help="Test the notifications.", no_args_is_help=True, rich_markup_mode=None
)
internal_app = typer.Typer(
    help="Manage the roots of internal issuers.", no_args_is_help=True, rich_markup_mode=None
)

dns_app = typer.Typer(
    help="Print the DNS records that you set yourself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dns_app.callback()
def _dns() -> None:
    """Keep its only command a command of its own."""


@config_app.command("check")
def config_check(
    context: typer.Context, as_json: Json = False, config: ConfigOption = None
) -> None:
    """List every problem of the configuration and what it names.

    Example: certrotd -c /etc/certrotd/config.yaml config check
    """
    from certrotd.cli.configure import check as carry_out

    end(carry_out(path_of(context, config), as_json=as_json))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    Example: certrotd config schema > certrotd.schema.json
    """
    from certrotd.cli.configure import schema as carry_out

    end(carry_out())


@audit_app.command("show")
def audit_show(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show only this certificate.")
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="Show at most this many.")] = 20,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show what certrotd did, the newest last.

    Examples: certrotd audit show web | certrotd audit show --json -n 1000
    """
    from certrotd.cli.audit import show as carry_out

    end(carry_out(path_of(context, config), name, last=last, as_json=as_json))


@audit_app.command("verify")
def audit_verify(
    context: typer.Context, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Check that no record was changed, removed, inserted or moved.

    The exit code is 1 if one was, or if the end is missing.

    Example: certrotd audit verify
    """
    from certrotd.cli.audit import verify as carry_out

    end(carry_out(path_of(context, config), as_json=as_json))


@audit_app.command("export")
def audit_export(context: typer.Context, config: ConfigOption = None) -> None:
    """Print every record as JSON lines, the oldest first.

    Example: certrotd audit export | gzip > audit.jsonl.gz
    """
    from certrotd.cli.audit import export as carry_out

    end(carry_out(path_of(context, config)))


@notify_app.command("test")
def notify_test(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Notifications (default: all)."),
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Send a test alert through each notification.

    Prints the result of each; the exit code is 1 if one failed.

    Examples: certrotd notify test | certrotd notify test ops --json
    """
    from certrotd.cli.notify import test as carry_out

    end(carry_out(path_of(context, config), names or [], as_json=as_json))


@internal_app.command("init")
def internal_init(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The issuer.")],
    config: ConfigOption = None,
) -> None:
    """Make the root of an internal issuer, or a new one after a loss.

    certrotd makes only the first root by itself: every client must be given the new one.

    Example: certrotd internal init lab
    """
    from certrotd.cli.internal import init as carry_out

    end(carry_out(path_of(context, config), name))


@dns_app.command("persist-record")
def dns_persist_record(
    context: typer.Context,
    name: Certificate,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="When the record ends (default: never)."),
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Print the TXT records that prove names for good.

    They are those of dns-persist-01, as lines of a zone file. Makes the account at the CA if there
    is none yet. Also tells whether each record is there; certrotd itself never writes one.

    Examples: certrotd dns persist-record web | certrotd dns persist-record web --json
    """
    from certrotd.cli.dns import persist_record as carry_out

    end(carry_out(path_of(context, config), name, until=until, as_json=as_json))
