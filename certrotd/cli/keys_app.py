"""The commands of ``certrotd keys``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from certrotd.cli.options import ConfigOption, Confirmed, Explain, Json, end, path_of
from certrotd.cli.words import Commands

keys_app = typer.Typer(
    cls=Commands,
    help="Rotate application data keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The keyring.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Keyrings (default: all).")]


def version_of(text: str) -> int:
    """The number of a version, as in ``3`` or ``v3``."""
    digits = text.removeprefix("v")
    if not digits.isdecimal() or not digits.isascii() or int(digits[:9]) < 1:
        raise typer.BadParameter(f"{text!r} is no version: certrotd keys list shows their numbers")
    return int(digits[:9])


Version = Annotated[
    int, typer.Argument(metavar="VERSION", parser=version_of, help="The key version.")
]


def _reason(text: str) -> str:
    if not text.strip() or len(text) > MAX_REASON:
        message = f"say why, in 1 to {MAX_REASON} characters"
        raise typer.BadParameter(message, param_hint="--reason")
    return text.strip()


MAX_REASON = 500
Reason = Annotated[str, typer.Option("--reason", callback=_reason, help="Why, for the audit log.")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask every consumer what it has now.")]


@keys_app.command("list")
def keys_list(
    context: typer.Context,
    names: Names = None,
    ask: Ask = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """List keyrings: the state of each version, and what comes next.

    Examples: certrotd keys list | certrotd keys list --json
    """
    from certrotd.cli.keys import listing as carry_out

    end(carry_out(path_of(context, config), names or [], ask=ask, as_json=as_json))


@keys_app.command("show")
def keys_show(
    context: typer.Context,
    name: Name,
    ask: Ask = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show the history of every version, and who has which keys.

    Example: certrotd keys show orders --ask
    """
    from certrotd.cli.keys import show as carry_out

    end(carry_out(path_of(context, config), name, ask=ask, as_json=as_json))


@keys_app.command("plan")
def keys_plan(
    context: typer.Context,
    names: Names = None,
    explain: Explain = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Show what happens to keyrings, when, why, and the steps.

    Example: certrotd keys plan orders --explain
    """
    from certrotd.cli.keys import plan as carry_out

    end(carry_out(path_of(context, config), names or [], explained=explain, as_json=as_json))


@keys_app.command("rotate")
def keys_rotate(
    context: typer.Context,
    name: Name,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the audit log.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look for what is in the way, and change nothing.")
    ] = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Stage a new key; it encrypts once every consumer has it.

    An application that holds one key is cut over; the dry run says for how long it is stopped.

    Examples: certrotd keys rotate orders --reason "audit finding 12" |
    certrotd keys rotate orders --dry-run
    """
    path = path_of(context, config)
    if dry_run:
        from certrotd.cli.key_datasets import rotate_dry

        end(rotate_dry(path, name, as_json=as_json))
    from certrotd.cli.keys import rotate as carry_out

    if reason is None:
        context.fail("Missing option '--reason'.")
    end(carry_out(path, name, reason=_reason(reason), as_json=as_json))


@keys_app.command("activate")
def keys_activate(
    context: typer.Context, name: Name, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Activate the staged key once every consumer has it.

    Example: certrotd keys activate orders
    """
    from certrotd.cli.keys import activate as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@keys_app.command("deliver")
def keys_deliver(
    context: typer.Context,
    name: Name,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Also what something else has changed: it is kept aside."),
    ] = False,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Write the outputs anew, and have every consumer confirm.

    Example: certrotd keys deliver orders
    """
    from certrotd.cli.keys import deliver as carry_out

    end(carry_out(path_of(context, config), name, overwrite=overwrite, as_json=as_json))


@keys_app.command("rollback")
def keys_rollback(
    context: typer.Context, name: Name, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Undo the newest rotation's last step; cancel one in flight.

    Nothing becomes unreadable: a key that has encrypted stays with every consumer.

    Example: certrotd keys rollback orders
    """
    from certrotd.cli.keys import rollback as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@keys_app.command("cancel")
def keys_cancel(
    context: typer.Context, name: Name, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Undo the rotation in flight to its last savepoint.

    Example: certrotd keys cancel orders
    """
    from certrotd.cli.keys import cancel as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@keys_app.command("compromise")
def keys_compromise(
    context: typer.Context,
    name: Name,
    version: Annotated[
        int | None,
        typer.Argument(
            metavar="[VERSION]", parser=version_of, help="The version (default: the active one)."
        ),
    ] = None,
    *,
    reason: Reason,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="It was a mistake; only before it is replaced.")
    ] = False,
    confirm: Confirmed = None,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Replace a key that others may know, at once.

    One that no longer encrypts is marked. A re-encryption gives way to it; what cannot be done now
    is remembered, and done later.

    Example: certrotd keys compromise orders 3 --reason "laptop stolen"
    """
    from certrotd.cli.key_compromise import compromise as carry_out
    from certrotd.cli.key_compromise import withdraw as carry_back

    path = path_of(context, config)
    if withdraw:
        end(carry_back(path, name, version, reason=reason))
    end(carry_out(path, name, version, reason=reason, confirmed=confirm, as_json=as_json))


@keys_app.command("enable")
def keys_enable(
    context: typer.Context,
    name: Name,
    version: Version,
    reason: Reason,
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Give a retired or withheld key back to every consumer.

    Example: certrotd keys enable orders 2 --reason "a backup of May is restored"
    """
    from certrotd.cli.keys import enable as carry_out

    end(carry_out(path_of(context, config), name, version, reason=reason, as_json=as_json))


@keys_app.command("reencrypt")
def keys_reencrypt(
    context: typer.Context,
    name: Name,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count and look, and change nothing.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=256, help="By so many processes (needs Dask)."),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option("--dask", metavar="tls://HOST:PORT", help="By the workers of a scheduler."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="As a worker: only shard I (from 0) of a re-encryption that certrotd has begun.",
        ),
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="With --shard, for one to begin.")
    ] = "10m",
    as_json: Json = False,
    config: ConfigOption = None,
) -> None:
    """Bring what is stored in its datasets under the active key.

    A rotation does so by itself. The dry run counts values by key, and lists what does not open.

    Examples: certrotd keys reencrypt orders --dry-run | certrotd keys reencrypt orders --workers 4
    """
    path = path_of(context, config)
    if dry_run and (workers is not None or dask is not None):
        raise typer.BadParameter("a dry run has no workers", param_hint="--dry-run")
    if shard is not None:
        if dry_run or workers is not None or dask is not None:
            raise typer.BadParameter("only --wait goes with it", param_hint="--shard")
        from certrotd.cli.key_shards import shard as carry_out_shard

        end(carry_out_shard(path, name, shard, wait))
    from certrotd.cli.key_datasets import reencrypt as carry_out

    end(carry_out(path, name, dry_run=dry_run, as_json=as_json, workers=workers, dask=dask))


Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what has the name of the output.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="The output, of one file.")
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="The files.")]


@keys_app.command("encrypt")
def keys_encrypt(
    context: typer.Context,
    name: Name,
    files: Files,
    output: Output = None,
    overwrite: Overwrite = False,
    config: ConfigOption = None,
) -> None:
    """Encrypt files of any size under the active key, into FILE.crd.

    The files stay. So do mode and time of change.

    Examples: certrotd keys encrypt shop dump.sql | certrotd keys encrypt shop a.pdf b.pdf
    """
    from certrotd.cli.key_files import encrypt as carry_out

    end(carry_out(path_of(context, config), name, files, output, overwrite=overwrite))


@keys_app.command("decrypt")
def keys_decrypt(
    context: typer.Context,
    name: Name,
    files: Files,
    output: Output = None,
    overwrite: Overwrite = False,
    config: ConfigOption = None,
) -> None:
    """Decrypt files of "keys encrypt", into FILE without .crd.

    The plaintext is for its owner alone (0600). The audit log tells who decrypted which file.

    Example: certrotd keys decrypt shop dump.sql.crd
    """
    from certrotd.cli.key_files import decrypt as carry_out

    end(carry_out(path_of(context, config), name, files, output, overwrite=overwrite))


@keys_app.command("rewrap")
def keys_rewrap(
    context: typer.Context, name: Name, as_json: Json = False, config: ConfigOption = None
) -> None:
    """Wrap every key anew by the present KEKs; the keys stay.

    After a KEK was rotated in its service, added, or removed from the configuration.

    Example: certrotd keys rewrap orders
    """
    from certrotd.cli.keys import rewrap as carry_out

    end(carry_out(path_of(context, config), name, as_json=as_json))


@keys_app.command("report")
def keys_report(
    context: typer.Context,
    names: Names = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="From when (default: a year).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Until when (default: now).")
    ] = None,
    form: Annotated[
        Literal["md", "json", "csv"], typer.Option("--format", help="How it is written.")
    ] = "md",
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there, with FILE.sig."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write what assessors ask, reconciled with the audit log.

    Inventory, rotations, cryptoperiods, drills, exceptions.

    It is signed (Ed25519) where it is written to a file.

    Example: certrotd keys report --from 2026-01-01 --format md -o report.md
    """
    from certrotd.cli.key_report import make_report as carry_out

    path = path_of(context, config)
    end(carry_out(path, names or [], since=since, until=until, form=form, out=out))
