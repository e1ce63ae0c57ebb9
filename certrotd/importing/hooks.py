"""The targets of certrotd that do what a hook of another client did."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from certrotd.importing.found import Hook

_VERBS = ("reload", "restart", "reload-or-restart", "try-restart", "try-reload-or-restart")
_PLAIN = re.compile(r"[A-Za-z0-9_./@: -]+", re.ASCII)
_PROGRAMS = ("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")
_TOO_LONG = 1000


def target_of(hook: Hook) -> tuple[str, Mapping[str, Any]]:
    """A name for the target and its entry; an empty entry for a hook that no target can run."""
    if unit := _reloads(hook.command):
        name, verb = unit
        if (name, verb) == ("nginx", "reload"):
            return "nginx", {"type": "nginx"}
        unit_name = name if "." in name else f"{name}.service"
        return f"{verb}-{name}", {"type": "systemd", "unit": unit_name, "verb": verb}
    if len(hook.command) > _TOO_LONG or not hook.command.isprintable():
        return "", {}
    entry: dict[str, Any] = {"type": "command", "command": ["/bin/sh", "-c", hook.command]}
    if hook.environment:
        entry["environment"] = dict(hook.environment)
    return "hook", entry


def _reloads(command: str) -> tuple[str, str] | None:
    """The unit and the verb of a command that does nothing else than reload one service."""
    if not _PLAIN.fullmatch(command):
        return None
    match [_program(word) if at == 0 else word for at, word in enumerate(shlex.split(command))]:
        case ["systemctl", verb, unit] if verb in _VERBS:
            return unit.removesuffix(".service"), verb
        case ["service", unit, verb] if verb in _VERBS:
            return unit, verb
        case ["nginx", "-s", "reload"]:
            return "nginx", "reload"
    return None


def _program(word: str) -> str:
    for folder in _PROGRAMS:
        if word.startswith(folder):
            return word.removeprefix(folder)
    return word
