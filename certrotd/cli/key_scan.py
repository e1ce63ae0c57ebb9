"""``certrotd keys scan``: ciphertext that is in no dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from certrotd.cli.keys import one_keyring
from certrotd.cli.output import print_json, print_table, say
from certrotd.errors import NeedsOperator
from certrotd.wording import count


def scan(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys scan``; the exit code is 1 if something keeps old keys."""
    with one_keyring(config, name, "scan") as (keyring, _):
        if not keyring.policy.scans:
            raise NeedsOperator(
                f"there is nothing to scan for {name}",
                hint="it has no datasets that certrotd reads, and no residue: paths",
            )
        found = keyring.residues.scan()
        rows = [(each, keyring.residues.ignored(each.place)) for each in found.found]
    undeclared = any(why is None for _, why in rows)
    told: dict[str, Any] = {
        "name": name,
        "columns": found.columns,
        "files": found.files,
        "found": [
            {"place": each.place, "seen": each.seen, "what": each.what, "ignored": why}
            for each, why in rows
        ],
        "unfinished": list(found.unfinished),
        "unreadable": list(found.unreadable),
    }
    if as_json:
        print_json(told)
    else:
        lines = [
            (e.place, str(e.seen), e.what, f"ignored: {why}" if why else "-") for e, why in rows
        ]
        print_table(("PLACE", "SEEN", "WHAT", "DECLARED"), lines)
        for words in found.unfinished:
            say(f"{name}: not seen whole: {words}", sys.stdout)
        for words in found.unreadable:
            say(f"{name}: not looked at: {words}", sys.stdout)
        looked = f"{count(found.columns, 'column')} and {count(found.files, 'file')}"
        what = count(sum(why is None for _, why in rows), "place")
        verdict = f"undeclared ciphertext in {what}" if undeclared else "nothing undeclared"
        say(f"{name}: {verdict}, in {looked} of no dataset", sys.stdout)
    return 1 if undeclared or found.unfinished else 0
