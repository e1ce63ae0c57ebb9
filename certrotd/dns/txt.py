"""Which TXT values an answer shows at the name that was asked, and what it says if none."""

from __future__ import annotations

from dataclasses import dataclass

import dns.flags
import dns.rcode
from dns.message import Message
from dns.rdatatype import RdataType

from certrotd.dns.wire import code, records

_NONE = "no TXT records"
NOTHING = frozenset({"", "NXDOMAIN", _NONE})
"""What ``otherwise`` is where a server has said that the value is not there."""


@dataclass(frozen=True)
class TxtValues:
    """The TXT values a server has at a name; ``otherwise`` says why there is none at all."""

    values: frozenset[str]
    otherwise: str = ""


def txt_values(answer: Message, name: str) -> TxtValues:
    """The values in ``answer`` at exactly ``name``; records of other names do not count."""
    if answer.rcode() != dns.rcode.NOERROR:
        return TxtValues(frozenset(), code(answer))
    if texts := records(answer, name, RdataType.TXT):
        values = (b"".join(rdata.strings) for rdata in texts)
        return TxtValues(frozenset(value.decode("ascii", "replace") for value in values))
    if records(answer, name, RdataType.CNAME):
        return TxtValues(frozenset(), "a CNAME instead of TXT records")
    authoritative = answer.flags & dns.flags.AA
    return TxtValues(frozenset(), _NONE if authoritative else "not authoritative for it")
