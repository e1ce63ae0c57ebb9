"""``certrotd history``: the results of earlier rotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from certrotd.cli.output import names_of, print_json, print_table
from certrotd.daemon.wiring import looking
from certrotd.id import Id
from certrotd.pki.revocation import words_of
from certrotd.rotation.outcome import remark_of


def history(config: Path, names: Sequence[str], *, last: int, as_json: bool) -> int:
    """Carry out ``certrotd history``; the exit code."""
    with looking(config, "certrotd history") as site:
        lines = [
            _named(line, subject.id)
            for subject in site.inventory.chosen(names)
            for line in subject.history.lines()[-last:]
        ]
    lines.sort(key=lambda line: str(line["ended"]))
    if as_json:
        print_json(lines)
        return 0
    called = names_of([Id(line["kind"], line["name"]) for line in lines])
    rows = [
        (
            name,
            str(line["began"])[:19] + "Z",
            str(line["ended"])[:19] + "Z",
            str(line["outcome"]),
            "; ".join([str(line["why"]), *words_of(line["facts"])]),
            _failure(line),
        )
        for name, line in zip(called, lines, strict=True)
    ]
    print_table(("NAME", "BEGAN", "ENDED", "OUTCOME", "WHY", "FAILURE"), rows)
    return 0


def _named(line: Mapping[str, Any], subject: Id) -> dict[str, Any]:
    """The line with the two parts of the id; those of an older certrotd have the name alone."""
    rest = {key: value for key, value in line.items() if key not in ("subject", "name")}
    return {"kind": subject.kind, "name": subject.name, **rest}


def _failure(line: Mapping[str, Any]) -> str:
    if not line["failure"]:
        return ""
    remark = remark_of(line["facts"])
    return f"{line['failed_step']}: {line['failure']}" + (f"; {remark}" if remark else "")
