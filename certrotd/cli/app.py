"""The command line: every command with its options, and where it is carried out."""

from __future__ import annotations

import copy
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from certrotd.cli.account_app import account_app
from certrotd.cli.first_word import first_word
from certrotd.cli.import_app import import_command
from certrotd.cli.init_app import init
from certrotd.cli.keys_adopt_app import adopt_app
from certrotd.cli.keys_app import keys_app
from certrotd.cli.keys_backups_app import backups_app
from certrotd.cli.keys_destruction_app import destruction_app
from certrotd.cli.options import (
    CERTIFICATES,
    Certificate,
    ConfigOption,
    Explain,
    Json,
    Names,
    end,
    path_of,
)
from certrotd.cli.revoke_app import revoke_app
from certrotd.cli.subcommands import (
    audit_app,
    config_app,
    dns_app,
    internal_app,
    notify_app,
)
from certrotd.cli.warned import warnings_in_lines
from certrotd.cli.words import Commands, subjects
from certrotd.errors import ConfigInvalid, Failure, UsageError, one_line

_Misused: Any = typer.BadParameter.__base__
"""What typer raises of a wrong usage: an exception of click's, or of its copy of it."""

DEFAULT_CONFIG = Path("/etc/certrotd/config.yaml")

app = typer.Typer(
    name="certrotd",
    help="Rotates TLS certificates and proves that services use them, or rolls back.",
    no_args_is_help=True,
    cls=Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init)
app.add_typer(revoke_app)  # without a name: its commands are those of the program
app.add_typer(config_app, name="config")
app.add_typer(audit_app, name="audit")
app.add_typer(notify_app, name="notify")
app.add_typer(internal_app, name="internal")
app.add_typer(account_app, name="account")
app.add_typer(dns_app, name="dns")
for part in (backups_app, adopt_app, destruction_app):
    keys_app.add_typer(part)  # without a name: its commands are those of "keys"
app.add_typer(keys_app, name="keys")


def _version(wanted: bool) -> None:
    if wanted:  # beside other options; alone it is answered before typer is loaded
        from certrotd import __version__

        sys.stdout.write(f"certrotd {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Option(
            "--config",
            "-c",
            envvar="CERTROTD_CONFIG",
            help="The configuration file; before or after the command.",
            metavar="FILE",
        ),
    ] = DEFAULT_CONFIG,
    version: Annotated[  # noqa: ARG001  # has been answered
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    context.obj = config


@app.command("run")
def run_daemon(context: typer.Context, config: ConfigOption = None) -> None:
    """Run as a daemon and rotate whatever becomes due.

    SIGHUP reloads the configuration. SIGTERM finishes or undoes running rotations, then exits.

    Example: certrotd -c /etc/certrotd/config.yaml run
    """
    from certrotd.cli.run import run as carry_out

    end(carry_out(path_of(context, config)))


@app.command()
def rotate(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help=f"{CERTIFICATES}, or --all.", autocompletion=subjects),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every certificate.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Renew even if nothing is due or a rollback holds renewals. A rotation in flight, "
            "or a kept order, is finished first.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and show what would be done; change nothing.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print only what was done and what failed."),
    ] = False,
    wait: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="How long to wait, such as 5m, while another process is at work."
        ),
    ] = "10s",
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Finish interrupted rotations; renew and deploy what is due.

    Examples: certrotd rotate web | certrotd rotate --all | certrotd rotate web --force
    """
    from certrotd.cli.rotate import rotate as carry_out

    end(
        carry_out(
            path_of(context, config),
            _names(names, everything),
            force=force,
            dry_run=dry_run,
            quiet=quiet,
            wait=wait,
            as_json=as_json,
        )
    )


@app.command()
def plan(
    context: typer.Context,
    names: Names = None,
    explain: Explain = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show what is due, why, and the steps.

    Examples: certrotd plan | certrotd plan web --explain | certrotd plan web --json
    """
    from certrotd.cli.status import plan as carry_out

    names = names or []
    end(carry_out(path_of(context, config), names, explained=explain, as_json=as_json))


@app.command()
def status(
    context: typer.Context,
    names: Names = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask every endpoint what it serves right now.")
    ] = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show state, dates, what is next and why, and what targets serve.

    Examples: certrotd status | certrotd status web --probe | certrotd status --json
    """
    from certrotd.cli.status import status as carry_out

    end(carry_out(path_of(context, config), names or [], probe=probe, as_json=as_json))


@app.command()
def watch(
    context: typer.Context, names: Names = None, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Check files, targets and watched endpoints now.

    The exit code is 1 if anything is wrong.

    Examples: certrotd watch | certrotd watch web --json
    """
    from certrotd.cli.watch import watch as carry_out

    end(carry_out(path_of(context, config), names or [], as_json=as_json))


@app.command()
def inspect(
    what: Annotated[str, typer.Argument(metavar="PATH|HOST:PORT", help="A file, or an endpoint.")],
    sni: Annotated[
        str | None, typer.Option("--sni", help="The server name to ask for (default: HOST).")
    ] = None,
    starttls: Annotated[
        str | None,
        typer.Option("--starttls", help="smtp, imap, pop3, ldap, postgres, mysql or xmpp."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the certificates in a PEM or DER file, or of an endpoint.

    Examples: certrotd inspect /etc/ssl/web.pem | certrotd inspect example.com:443
    """
    from certrotd.cli.inspect import inspect as carry_out

    end(carry_out(what, sni=sni, starttls=starttls, as_json=as_json))


@app.command()
def history(
    context: typer.Context,
    names: Names = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=1, help="Show at most so many of each.")
    ] = 10,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show earlier rotations and their outcomes, the newest last.

    Examples: certrotd history web | certrotd history --json -n 100
    """
    from certrotd.cli.history import history as carry_out

    end(carry_out(path_of(context, config), names or [], last=last, as_json=as_json))


@app.command()
def rollback(
    context: typer.Context,
    name: Certificate,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="GENERATION", help="Default: the newest usable earlier one."),
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Go back to a generation, prove it, and hold renewals for a day.

    Examples: certrotd rollback web | certrotd rollback web --to 6
    """
    from certrotd.cli.rotate import rollback as carry_out

    end(carry_out(path_of(context, config), name, to=to, as_json=as_json))


@app.command()
def cancel(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The certificate: web, or certificate/web.",
            autocompletion=subjects,
        ),
    ],
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Undo a rotation in flight, back to its last savepoint.

    Examples: certrotd cancel web | certrotd cancel certificate/web --json
    """
    from certrotd.cli.rotate import cancel as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@app.command()
def wake(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help=f"{CERTIFICATES}.", autocompletion=subjects),
    ],
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Look at a waiting rotation now: what it waits for has come.

    The daemon looks within a second; it may be rotating meanwhile.

    Examples: certrotd wake web | certrotd wake web mail --json
    """
    from certrotd.cli.wake import wake as carry_out

    end(carry_out(path_of(context, config), names, as_json=as_json))


app.command("import")(import_command)


def run() -> int:
    """Parse and carry out; 0 done or nothing due, 1 something failed, 2 usage or configuration."""
    try:
        with warnings_in_lines():
            code: int | None = _command_line(first_word(sys.argv[1:]))(standalone_mode=False)
            return code or 0
    except SystemExit as end:  # how typer ends where it completes words
        return end.code if isinstance(end.code, int) else 2
    except _Misused as misused:  # its words repeat what was typed, or pasted
        shown = io.StringIO()
        misused.show(shown)
        sys.stderr.writelines(f"{one_line(line)}\n" for line in shown.getvalue().splitlines())
        return 2
    except ConfigInvalid as invalid:
        for problem in invalid.problems:
            print(f"certrotd: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    except Failure as failure:
        print(f"certrotd: {failure}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(failure, UsageError) else 1


def _command_line(first: str | None) -> Any:
    """What parses the arguments: of one command or group if the first word is its name, else of
    all, which takes longer to build than to parse with.
    """
    part = copy.copy(app)
    part.registered_commands = [
        each
        for each in app.registered_commands
        if first == (each.name or (each.callback and each.callback.__name__))
    ]
    part.registered_groups = [each for each in app.registered_groups if first == each.name]
    known = part.registered_commands or part.registered_groups
    return typer.main.get_command(part if known else app)


def _names(names: list[str] | None, everything: bool) -> list[str]:
    if bool(names) == everything:
        raise typer.BadParameter("name certificates, or use --all")
    return names or []
