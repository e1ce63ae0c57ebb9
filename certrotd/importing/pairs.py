"""The pairs of key and certificate that other clients keep, looked at as certrotd adopts them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.importing.found import Pair
from certrotd.importing.reading import Reader
from certrotd.pki import keys
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.verify import usable_pair

WITH_KEY = ("privkey", "combined", "pkcs12")


def examined(
    reader: Reader,
    privkey: Path,
    certificate: Path,
    chain: Path | None,
    read: Mapping[str, Path],
    *,
    now: datetime,
) -> Pair:
    """The pair; raises Failure for one that certrotd would not adopt."""
    key = reader.read(privkey, limit=keys.MAX_KEY_BYTES)
    data = reader.read(certificate)
    more = reader.read(chain) if chain else b""
    certificates = parse_certificates(data + b"\n" + more, what=reader.relative(certificate))
    leaf = usable_pair(key, certificates, what=reader.relative(privkey), now=now)
    facts = facts_of(leaf)
    if not facts.names:
        raise InvalidInput(f"{reader.relative(certificate)} has no names")
    return Pair(privkey, certificate, chain, facts, read, modes_of(read))


def modes_of(read: Mapping[str, Path]) -> dict[str, Any]:
    """Owner and modes for copies at these paths: as they are, but never a key for everybody."""
    found: dict[str, Any] = {}
    for kind, path in read.items():
        try:
            status = os.stat(path)
        except OSError:
            continue  # it is made with the defaults
        bits = stat.S_IMODE(status.st_mode)
        option = "mode" if kind in WITH_KEY else "cert_mode"
        found.setdefault(option, f"{bits & (0o640 if option == 'mode' else 0o644):04o}")
        if option == "mode":
            mine = os.geteuid(), os.getegid()
            owners = {"owner": status.st_uid, "group": status.st_gid}
            different = (status.st_uid, status.st_gid) != mine
            found |= owners if different else {}
    return found
