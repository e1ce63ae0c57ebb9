"""Identifiers a certificate is for: DNS names, wildcards and IP addresses in one canonical form."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from certrotd.errors import InvalidInput

MAX_NAME = 253
MAX_TEXT = 4 * MAX_NAME
LABEL = "certrotd"
"""What stands for the ``*`` of a wildcard where somebody must be asked for one name."""
MAX_LABEL = 63
MAX_SHOWN = 60
MAX_WHY = 200
_LENGTHS = "a DNS name has at most 253 characters, and 63 between two dots"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9._-]*)")
_NAME = re.compile(r"(?:\*\.)?(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)")


def canonical(name: str) -> str:
    """The one spelling of a DNS name, wildcard (RFC 6125 §6.4.3) or IP address.

    Lower case, no trailing dot, IDN as A-labels (RFC 5890), IPv6 compressed (RFC 5952).
    Raises InvalidInput for anything that is neither.
    """
    text = name.strip()
    if not text:
        raise InvalidInput("a name is empty", hint="a DNS name or an IP address is needed")
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"a name of {len(text):,} characters is not a DNS name", hint=_LENGTHS)
    if _may_be_ip(text):
        return _ip(text)
    dns = text if text.isascii() else _to_ascii(text)
    dns = dns.lower().removesuffix(".")
    # digits of other scripts may have become an address, which is never what was meant
    if len(dns) > MAX_NAME or _may_be_ip(dns) or not _NAME.fullmatch(dns):
        raise InvalidInput(f"{_shown(text)} is not a DNS name", hint=_right(text, dns))
    if dns.startswith("*.") and "." not in dns[2:]:
        raise InvalidInput(f"{_shown(text)} is a wildcard over a whole top-level domain")
    return dns


def is_ip(name: str) -> bool:
    """Whether a canonical name is an IP address."""
    return _may_be_ip(name)


def is_wildcard(name: str) -> bool:
    """Whether a canonical name is a wildcard."""
    return name.startswith("*.")


def base(name: str) -> str:
    """The name an authorization is for: a wildcard's parent domain (RFC 8555 §7.1.3)."""
    return name[2:] if is_wildcard(name) else name


def instance_of(name: str) -> str:
    """A name that a certificate for a canonical ``name`` is good for: below a wildcard, else it."""
    if not is_wildcard(name):
        return name
    parent = base(name)
    return f"{LABEL[: MAX_NAME - len(parent) - 1]}.{parent}"


def covers(granted: Iterable[str], wanted: str) -> bool:
    """Whether a certificate for ``granted`` is valid for the canonical name ``wanted``.

    A wildcard matches exactly one label and never an IP address (RFC 6125 §6.4.3).
    """
    names = set(granted)
    if wanted in names:
        return True
    if is_ip(wanted) or is_wildcard(wanted):
        return False
    _, _, parent = wanted.partition(".")
    return bool(parent) and f"*.{parent}" in names


def _may_be_ip(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def _right(text: str, dns: str) -> str:
    """What would be right instead of something that is no DNS name."""
    if "@" in text:
        return "an e-mail address is none"
    if "/" in text:
        return "the name or the address alone, without path or network"
    if re.search(r"[\s,;]", text):
        return "one name for each item of the list"
    if len(dns) > MAX_NAME:
        return f"it has {len(dns)} characters: {_LENGTHS}"
    if any(len(label) > MAX_LABEL for label in dns.split(".")):
        return _LENGTHS
    if dns.startswith("."):
        return f"write {_shown(dns[1:])}, or {_shown(f'*{dns}')} for every name below it"
    return "letters, digits and hyphens in labels of at most 63; '*' only as the first label"


def _ip(text: str) -> str:
    literal = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(literal)
    except ValueError:
        raise _not_an_address(text) from None
    if "%" in literal:
        raise InvalidInput(
            f"{_shown(text)} is an address of one machine's network only", hint="leave out the zone"
        )
    return str(address)


def _not_an_address(text: str) -> InvalidInput:
    if match := _URL.match(text):
        alone = f"write {_shown(match[1])}" if match[1] else "write the name alone"
        return InvalidInput(f"{_shown(text)} is a URL, not a name", hint=alone)
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        alone = f"write {_shown(host.strip('[]'))}: certificates are for any port"
        return InvalidInput(f"{_shown(text)} has a port, and a name has none", hint=alone)
    return InvalidInput(f"{_shown(text)} is not an IP address")


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


def _to_ascii(name: str) -> str:
    import idna  # its tables take longer to load than most names need

    prefix, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return prefix + idna.encode(rest, uts46=True).decode("ascii")
    except UnicodeError as error:
        why = str(error)[:MAX_WHY]
        raise InvalidInput(f"{_shown(name)} is not an international DNS name: {why}") from None
