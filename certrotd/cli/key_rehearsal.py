"""``certrotd keys rehearse``: a compromise, played on copies of the keyring and of its data."""

from __future__ import annotations

import sys
from pathlib import Path

from certrotd.cli.keys import one_keyring
from certrotd.cli.output import print_json, print_table, say, span
from certrotd.errors import Transient
from certrotd.keys.rehearsals import rehearsed
from certrotd.keys.rehearsing import Stopping


def rehearse(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys rehearse``; the exit code is 1 if the rehearsal failed."""
    with one_keyring(config, name, "rehearse") as (keyring, site):
        try:
            found = rehearsed(keyring, site.audit)
        except Stopping:
            raise Transient("the rehearsal was interrupted, and says nothing") from None
    if as_json:
        print_json(found.to_json())
        return 0 if found.succeeded else 1
    rows = [
        (e.name, f"{e.rows:,}", f"{e.of:,}", f"{e.bytes:,}", f"{e.seconds:.2f} s", span(e.expected))
        for e in found.datasets
    ]
    print_table(("DATASET", "COPIED", "OF", "BYTES", "TOOK", "ALL OF IT"), rows)
    for each in found.left_out:
        say(f"{name}: {each} is not rehearsed: it cannot be copied, or tells no key", sys.stdout)
    for words in found.problems:
        say(f"{name}: {words}", sys.stdout)
    say(f"{name}: the rehearsal of version {found.version}: {found}", sys.stdout)
    return 0 if found.succeeded else 1
