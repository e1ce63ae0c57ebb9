"""What is shown of one delivery: the host, what is there, and the facts on its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from certrotd.deliveries.subject import DeliveryFound
from certrotd.lifecycle.details import Cell, Consumer, Details, Table


def consumers_of(found: DeliveryFound) -> Sequence[Consumer]:
    """The host, and what it has."""
    policy, live, known = found.policy, found.standing.live, found.standing.delivered
    if known is None:
        return [Consumer(policy.host, "nothing was delivered yet", False)]
    current = live is not None and live.number == known.generation and not known.drift
    words = f"generation {known.generation}" + (f", changed: {known.drift}" if known.drift else "")
    return [Consumer(policy.host, words, current, unproven=not policy.endpoints)]


def json_of(found: DeliveryFound) -> dict[str, Any]:
    """For listings; moments stay moments."""
    policy, known = found.policy, found.standing.delivered
    return {
        "certificate": policy.certificate.name,
        "names": list(policy.names),
        "host": policy.host,
        "place": policy.live,
        "fingerprint": known.fingerprint if known else None,
        "delivered": known.at if known else None,
        "seen": known.seen if known else None,
        "drift": (known.drift or None) if known else None,
    }


def details_of(found: DeliveryFound) -> Details:
    """The facts and tables of its page."""
    known = found.standing.delivered
    rows = [
        (
            Cell(f"{found.policy.live}/{name}", code=True),
            Cell(f"{each.mode:04o}", code=True),
            Cell(f"{each.uid}:{each.gid}"),
            Cell(each.sha256, code=True, cut=16),
        )
        for name, each in (known.stamps.items() if known else ())
    ]
    table = Table("Files", ("Path there", "Mode", "Owner", "SHA-256"), rows, "None so far.")
    return Details(tuple(_facts(found)), (table,))


def _facts(found: DeliveryFound) -> Iterator[tuple[str, Cell]]:
    policy, known = found.policy, found.standing.delivered
    yield "Certificate", Cell(policy.certificate.name)
    yield "Host", Cell(policy.place, code=True)
    yield "Directory there", Cell(policy.directory, code=True)
    if policy.command:
        yield "Command there", Cell(" ".join(policy.command), code=True)
    if known is None:
        return
    yield "Folder there", Cell(known.folder, code=True)
    yield "Delivered", Cell(moment=known.at)
    yield "Last seen there", Cell(moment=known.seen, note=known.drift)
    yield "Certificate there ends", Cell(moment=known.not_after)
