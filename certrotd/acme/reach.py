"""Which hosts a CA may name: those of its directory's own domain, and none of this machine's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from certrotd.address import is_ip
from certrotd.errors import NeedsOperator

Addresses = Callable[[str], Iterable[str]]


class AllowedUrls:
    """Judges the URLs that a CA names, by the URL of its ``directory``.

    They may be on the directory's host, on hosts of its registered name (its last two labels), and
    on those of ``also_hosts``. Whoever answers in the CA's place could else have us ask a cloud's
    metadata service, or what listens on this machine alone.
    """

    def __init__(self, directory: str, also_hosts: Collection[str] = ()) -> None:
        self._home = _host(directory)
        self._also = frozenset(host.lower() for host in also_hosts)

    def check(self, url: str) -> None:
        """Raises NeedsOperator for a URL, which is one of https, on another's host."""
        host = _host(url)
        if host == self._home or host in self._also:
            return
        if _registered(host) is not None and _registered(host) == _registered(self._home):
            return
        raise NeedsOperator(
            f"the CA at {self._home} names {url}, on another host: not contacted",
            hint=f"if that is right, list {host} in also_hosts of the issuer",
        )

    def check_addresses(self, host: str, found: Iterable[str], look_up: Addresses) -> None:
        """Raises NeedsOperator where a host's addresses are this machine's or link's alone.

        They may be if those of the directory's own host are, which ``look_up`` gives.
        """
        if host == self._home:
            return
        for kind in ("is_loopback", "is_link_local", "is_unspecified", "is_multicast"):
            private = [each for each in found if _is(kind, each)]
            if private and not any(_is(kind, each) for each in look_up(self._home)):
                raise NeedsOperator(
                    f"the CA at {self._home} names {host}, which is {private[0]}: not contacted",
                    hint="certrotd contacts such an address only if the directory has one too",
                )


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _registered(host: str) -> tuple[str, ...] | None:
    labels = tuple(host.split("."))
    return None if is_ip(host) or len(labels) < 2 else labels[-2:]


def _is(kind: str, text: str) -> bool:
    address: Any = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return bool(getattr(address, kind))
