"""What people type instead of a command, and what completes a word of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from certrotd.id import Id

_MEANT = {
    "certificate": "status",
    "certbot": "import certbot",
    "certonly": "rotate",
    "certs": "status",
    "check": "config check",
    "abort": "cancel",
    "ack": "wake",
    "acknowledge": "wake",
    "daemon": "run",
    "deploy": "rotate",
    "help": "--help",
    "info": "inspect",
    "install": "rotate",
    "issue": "rotate",
    "key": "keys list",
    "keyring": "keys list",
    "keyrings": "keys list",
    "list": "status",
    "lego": "import lego",
    "log": "history",
    "logs": "history",
    "ls": "status",
    "migrate": "import",
    "obtain": "rotate",
    "order": "rotate",
    "register": "account new",
    "reissue": "rotate",
    "renew": "rotate",
    "restore": "rollback",
    "revert": "rollback",
    "schema": "config schema",
    "serve": "run",
    "show": "status",
    "show_account": "account show",
    "start": "run",
    "test": "rotate --dry-run",
    "undo": "rollback",
    "unregister": "account deactivate",
    "validate": "config check",
    "verify": "watch",
    "version": "--version",
    "account list": "account show",
    "account ls": "account show",
    "account register": "account new",
    "account status": "account show",
    "config lint": "config check",
    "config show": "config check",
    "config test": "config check",
    "config validate": "config check",
    "config verify": "config check",
    "audit check": "audit verify",
    "audit list": "audit show",
    "audit log": "audit show",
    "keys abort": "keys cancel",
    "keys census": "keys show",
    "keys check": "keys list",
    "keys create": "keys rotate",
    "keys delete": "rotate key/NAME, once nothing keeps the version: certrotd keys show NAME",
    "keys destroy": "rotate key/NAME, once nothing keeps the version: certrotd keys show NAME",
    "keys export": "keys backup",
    "keys generate": "keys rotate",
    "keys import": "keys adopt",
    "keys inspect": "keys show",
    "keys ls": "keys list",
    "keys migrate": "keys reencrypt",
    "keys new": "keys rotate",
    "keys promote": "keys activate",
    "keys rehearsal": "keys rehearse",
    "keys revoke": "keys compromise",
    "keys status": "keys list",
    "keys undo": "keys rollback",
    "keys verify": "keys drill",
    "keys versions": "keys show",
}
"""By what other programs call it."""


class Commands(TyperGroup):
    """A group that knows what the commands of other programs are called here."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer does, which itself suggests what is spelt alike."""
        group = "" if ctx.parent is None else f"{ctx.info_name} "
        if args and args[0] not in self.commands and (meant := _MEANT.get(group + args[0])):
            ctx.fail(f"No such command {args[0]!r}. Did you mean: certrotd {meant}")
        return super().resolve_command(ctx, args)


def subjects(context: typer.Context, incomplete: str) -> list[str]:
    """The subjects that a word may become, by id once it has a slash, else by name.

    None if the configuration cannot be read.
    """
    configured = _configured(context)
    called = [str(each) if "/" in incomplete else each.name for each in configured]
    return [text for text in called if text.startswith(incomplete)]


def _configured(context: typer.Context) -> list[Id]:
    from certrotd.clock import SystemClock
    from certrotd.config.load import load
    from certrotd.daemon.wiring import Site
    from certrotd.errors import Failure

    path = context.params.get("config") or context.find_root().params["config"]
    try:
        config = load(Path(path), lenient=True).config
        site = Site(config, clock=SystemClock(), command="certrotd", dry=True)
        return [subject.id for subject in site.inventory.subjects]
    except (Failure, OSError):
        return []  # nobody wants to read why while typing; the command itself says it
