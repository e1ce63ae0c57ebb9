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
        raise InvalidInput(f"a name of {len(text)} characters is not a DNS name")
    if _may_be_ip(text):
        return _ip(text)
    dns = text if text.isascii() else _to_ascii(text)
    dns = dns.lower().removesuffix(".")
    # digits of other scripts may have become an address, which is never what was meant
    if len(dns) > MAX_NAME or _may_be_ip(dns) or not _NAME.fullmatch(dns):
        raise InvalidInput(
            f"{text!r} is not a DNS name",
            hint="letters, digits and hyphens in labels of at most 63; '*' only as the first label",
        )
    if dns.startswith("*.") and "." not in dns[2:]:
        raise InvalidInput(f"{text!r} is a wildcard over a whole top-level domain")
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


def _ip(text: str) -> str:
    literal = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(literal)
    except ValueError:
        hint = "the name alone, without scheme, path or port" if ":" in text else ""
        raise InvalidInput(f"{text!r} is not an IP address", hint=hint) from None
    if "%" in literal:
        raise InvalidInput(
            f"{text!r} is an address of one machine's network only", hint="leave out the zone"
        )
    return str(address)


def _to_ascii(name: str) -> str:
    import idna  # its tables take longer to load than most names need

    prefix, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return prefix + idna.encode(rest, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise InvalidInput(f"{name!r} is not an international DNS name: {error}") from None
