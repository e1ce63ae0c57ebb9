"""``certrotd config``: check what is configured, or print how it may look."""

from __future__ import annotations

from pathlib import Path

from certrotd.cli.output import print_json, say


def check(config: Path, *, as_json: bool) -> int:
    """Carry out ``certrotd config check``; the exit code is 2 if anything is wrong."""
    from certrotd.config.load import check as check_file

    problems, warnings = check_file(config)
    if as_json:
        found = [("error", p) for p in problems] + [("warning", p) for p in warnings]
        print_json(
            [
                {
                    "severity": severity,
                    "file": str(problem.file),
                    "line": problem.line,
                    "path": problem.path,
                    "message": problem.message,
                }
                for severity, problem in found
            ]
        )
    else:
        for problem in problems:
            say(str(problem))
        for warning in warnings:
            say(f"{warning} (warning)")
        if not problems:
            say(f"{config} is valid")
    return 2 if problems else 0


def schema() -> int:
    """Carry out ``certrotd config schema``."""
    from certrotd.config.schema import json_schema

    print_json(json_schema())
    return 0
