"""TXT records that stay and authorize an account (draft-ietf-acme-dns-persist).

Decisions without any I/O. The text is an issue-value of RFC 8659 §4.2: the CA's domain name, then
parameters, as in ``ca.example; accounturi=https://ca.example/acct/1; policy=wildcard``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certrotd.dns.words import shown
from certrotd.errors import InvalidInput, NeedsOperator, Transient, one_line
from certrotd.pki.names import canonical, is_ip, is_wildcard
from certrotd.pki.order import Challenge, Persistent

_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e]*")
_SECONDS = re.compile(r"[0-9]{1,12}")
_LAST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
_MAX_SAID = 3
_MAX_STRING = 255
ENDS_SOON = timedelta(days=30)


@dataclass(frozen=True)
class Verdict:
    """What is wrong with the records at a name, in words; empty where one of them is right.

    ``until`` is when that one ends by its own ``persistUntil``, None if it does not.
    """

    problem: str = ""
    until: datetime | None = None


def confirm(
    challenge: Challenge, seen: Mapping[str, Collection[str]], *, now: datetime
) -> datetime | None:
    """When the record that each of the name servers shows ends, None if it does not.

    ``seen`` are the TXT values by the servers' names. Raises NeedsOperator where the record has to
    be set, or corrected, and Transient where only some of the servers show it yet.
    """
    assert challenge.persistent is not None, "the record is one that stays"
    verdicts = {server: judge(each, challenge.persistent, now=now) for server, each in seen.items()}
    wrong = {server: verdict.problem for server, verdict in verdicts.items() if verdict.problem}
    if not wrong:
        ends = [each.until for each in verdicts.values() if each.until is not None]
        return min(ends, default=None)
    what = "; ".join(dict.fromkeys(wrong.values()))
    if len(wrong) < len(verdicts):
        which = ", ".join(sorted(wrong)[:_MAX_SAID])
        raise Transient(f"{challenge.name} is not right on every name server: {which}: {what}")
    raise NeedsOperator(
        f"{challenge.name}: {what}",
        hint=f"set this record once: {zone_line(challenge.name, challenge.value)}",
    )


def lapsing(name: str, end: datetime, not_after: datetime, *, now: datetime) -> str | None:
    """That a record may be gone when the next renewal needs it, or soon; None if it stays.

    ``end`` is that of the record, ``not_after`` that of the certificate.
    """
    if end >= max(not_after, now + ENDS_SOON):
        return None
    return (
        f"the record {name} ends at {end:%Y-%m-%d %H:%M}Z, and the next renewal may need it: set "
        "one that ends later"
    )


def zone_line(name: str, value: str) -> str:
    """The TXT record as a line of a zone file (RFC 1035 §5.1), its text in strings that fit."""
    cut = [value[start : start + _MAX_STRING] for start in range(0, len(value), _MAX_STRING)]
    texts = " ".join('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in cut)
    return f"{name}. IN TXT {texts}"


def judge(values: Collection[str], wanted: Persistent, *, now: datetime) -> Verdict:
    """Whether one of the TXT ``values`` says what is ``wanted``; several may, and the last to end
    counts."""
    found = [_judged(value, wanted, now) for value in sorted(values)]
    right = [each for each in found if each is not None and not each.problem]
    if right:
        ends = [each.until for each in right]
        return Verdict(until=None if None in ends else max(end for end in ends if end))
    wrong = [each.problem for each in found if each is not None]
    if wrong:
        return Verdict("; ".join(wrong[:_MAX_SAID]))
    if values:
        others = ", ".join(shown(one_line(each)) for each in sorted(values)[:_MAX_SAID])
        return Verdict(f"no record of this CA, but {others}")
    return Verdict("no TXT record")


def _judged(value: str, wanted: Persistent, now: datetime) -> Verdict | None:
    """Of one record; None where it is of another CA, or something else."""
    issuer, *rest = (part.strip(" \t") for part in value.split(";"))
    if not _of_ca(issuer.lower(), wanted.issuers):
        return None
    parameters = _parameters(rest)
    if isinstance(parameters, str):
        return Verdict(f"the record of {issuer} is malformed: {parameters}") if rest else None
    account = parameters.get("accounturi", "")
    if account != wanted.account:
        whose = f"the account {one_line(account)}" if account else "no account (accounturi)"
        return Verdict(f"the record of {issuer} names {whose}, ours is {wanted.account}")
    if wanted.wildcard and parameters.get("policy", "").lower() != "wildcard":
        return Verdict(f"the record of {issuer} has no policy=wildcard, which a wildcard needs")
    return _ending(issuer, parameters.get("persistuntil"), now)


def _of_ca(issuer: str, known: Collection[str]) -> bool:
    """Whether a CA goes by that name, in lower case: any domain name will do where none is known.

    CAs know theirs when they look, and then a record without one is of nobody.
    """
    if known:
        return issuer in known
    try:
        plain = "." in issuer and canonical(issuer) == issuer
    except InvalidInput:
        return False
    return plain and not is_ip(issuer) and not is_wildcard(issuer)


def _ending(issuer: str, said: str | None, now: datetime) -> Verdict:
    if said is None:
        return Verdict()
    if not _SECONDS.fullmatch(said):
        return Verdict(f"the record of {issuer} is malformed: persistUntil={one_line(said)}")
    until = datetime.fromtimestamp(min(int(said), _LAST), UTC)
    if until < now:
        return Verdict(f"the record of {issuer} ended at {until:%Y-%m-%d %H:%M:%S}Z (persistUntil)")
    return Verdict(until=until)


def _parameters(parts: Iterable[str]) -> dict[str, str] | str:
    """The parameters by their names in lower case, or what is wrong with them."""
    found: dict[str, str] = {}
    for part in parts:
        tag, equals, value = (each.strip(" \t") for each in part.partition("="))
        if not equals or not tag:
            return f"{shown(one_line(part))} is no parameter"
        if not _VALUE.fullmatch(value):
            return f"{shown(one_line(part))} has something else than printable ASCII"
        if tag.lower() in found:
            return f"{one_line(tag)} is there twice"
        found[tag.lower()] = value
    return found
