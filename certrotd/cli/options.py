"""Arguments and options that commands share, and how a command ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.words import subjects

CERTIFICATES = "Certificates, by name or by one of their DNS names"

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help=f"{CERTIFICATES} (default: all).", autocompletion=subjects),
]
_ONE = typer.Argument(metavar="NAME", help="The certificate.", autocompletion=subjects)
Certificate = Annotated[str, _ONE]
AnyCertificate = Annotated[str | None, _ONE]
Confirmed = Annotated[
    str | None,
    typer.Option("--confirm", metavar="NAME", help="The name again, instead of typing it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="List every rule tried, and why it matches or not.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration file.", metavar="FILE")
]


def end(code: int) -> None:
    """End with that exit code."""
    raise typer.Exit(code)


def path_of(context: typer.Context, config: Path | None) -> Path:
    """The configuration file: the one after the command, else the one before it."""
    path = config or context.obj
    assert isinstance(path, Path)
    return path
