"""Network addresses as people write them: ``192.0.2.1:53``, ``[2001:db8::1]:443``, ``ns1:53``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from certrotd.errors import InvalidInput, one_line

if TYPE_CHECKING:
    from socket import AddressFamily

StartTls = Literal["smtp", "imap", "pop3", "ldap", "postgres", "mysql", "xmpp"]
"""The protocols that begin without TLS, and change to it."""

_HOST = re.compile(r"(?!-)(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_EXAMPLE = "192.0.2.1:443 or [2001:db8::1]:443"


@dataclass(frozen=True, slots=True)
class Address:
    """A host (an IP literal without brackets, or a name) and a port."""

    host: str
    port: int

    @property
    def is_ip(self) -> bool:
        """Whether ``host`` is an IP address (else it is a name to look up at use)."""
        return is_ip(self.host)

    @property
    def family(self) -> AddressFamily:
        """AF_INET or AF_INET6; only meaningful when ``is_ip``."""
        import socket  # a few milliseconds that only the DNS needs

        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, *, default_port: int | None = None) -> Address:
    """Read ``host:port`` or ``[v6]:port``; without a port where there is a ``default_port``.

    Raises InvalidInput with what would be right.
    """
    if "://" in text:
        raise InvalidInput(f"{_shown(text)} is a URL", hint=f"host and port, such as {_EXAMPLE}")
    host, port = _split(text)
    if ":" in host and not is_ip(host):
        raise InvalidInput(f"{_shown(text)} is not a host and a port", hint=f"such as {_EXAMPLE}")
    if not (is_ip(host) or _is_name(host)):
        raise InvalidInput(f"{_shown(text)} has no usable host", hint=f"such as {_EXAMPLE}")
    if port is None:
        if default_port is None:
            raise InvalidInput(f"{_shown(text)} lacks a port", hint=f"such as {_EXAMPLE}")
        return Address(host, default_port)
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise InvalidInput(
            f"{_shown(text)} has no port from 1 to 65535", hint=f"such as {_EXAMPLE}"
        )
    return Address(host, int(port))


def _split(text: str) -> tuple[str, str | None]:
    """Host and port; a bare IPv6 address is all host."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if closed and ":" in host and (not rest or rest.startswith(":")):
            return host, rest[1:] if rest else None
        return "", None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def is_ip(host: str) -> bool:
    """Whether it is an IP address, without brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    """A host name; not something a resolver may read as an address, such as 127.1 (RFC 3696 §2)."""
    return bool(_HOST.fullmatch(host)) and not host.rpartition(".")[2].isdigit()


def _shown(text: str) -> str:
    return f'"{one_line(text[:40])}{"…" if len(text) > 40 else ""}"'
