"""Whether services on the other host may read the files again that they had before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from certrotd.deliveries.policy import Delivered
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.keys import load
from certrotd.pki.verify import verify_dates, verify_key
from certrotd.ssh.files import Stamp

_LEAVES, _KEYS = ("fullchain", "cert", "combined"), ("privkey", "combined")


class Folder(Protocol):
    """What is asked of the other host."""

    def different(self, name: str, wanted: Mapping[str, Stamp]) -> str | None: ...
    def read(self, name: str, files: Sequence[str]) -> dict[str, bytes]: ...


def unfit(
    folder: Folder,
    previous: str,
    known: Delivered | None,
    *,
    revoked: Callable[[str], str],
    now: datetime,
) -> str:
    """Why nobody is to be led back to the folder ``previous``; empty if services may read it.

    ``revoked`` says so of a fingerprint, empty for one that is not. What is not ``known`` to be
    delivered from here, as where the state was lost, is looked at.
    """
    if known is not None and known.folder == previous:
        if known.not_after <= now:
            return "the former expired"
        if why := revoked(known.fingerprint):
            return f"the former are of no use: {why}"
        changed = folder.different(previous, known.stamps)
        return f"somebody changed the former there: {changed}" if changed else ""
    try:
        found = folder.read(previous, [f"{each}.pem" for each in {*_LEAVES, *_KEYS}])
        leaves, keys = ([found.get(f"{one}.pem") for one in shapes] for shapes in (_LEAVES, _KEYS))
        leaf = parse_certificates(next(filter(None, leaves)))[0]
        verify_key(load(next(filter(None, keys))), leaf)
        verify_dates([leaf], now=now)
        if why := revoked(facts_of(leaf).fingerprint):
            return f"the former are of no use: {why}"
    except StopIteration:
        return "the former have no key or no certificate"
    except (InvalidInput, NeedsOperator) as wrong:
        return f"the former are of no use: {wrong.message}"
    return ""
