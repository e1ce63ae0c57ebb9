"""Where DNS servers are: their usual port, and the addresses behind a name."""

from __future__ import annotations

import socket

from certrotd.address import Address
from certrotd.clock import Deadline
from certrotd.dial import RESOLVER, NotLookedUp, look_up
from certrotd.errors import NeedsOperator, Transient

DNS_PORT = 53
_MAX_ADDRESSES = 16


def resolved(address: Address, *, deadline: Deadline) -> tuple[Address, ...]:
    """The IP addresses behind ``address``, by the system's own look-up; at most 16.

    Raises Transient if the look-up fails for now, or not in time, and NeedsOperator if the name
    does not exist.
    """
    if address.is_ip:
        return (address,)
    try:
        found = look_up(address.host, address.port, socket.SOCK_DGRAM, deadline=deadline)
    except NotLookedUp as error:
        raise Transient(f"DNS server {error}", hint=RESOLVER) from None
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            raise NeedsOperator(
                f"DNS server {address.host} does not resolve: {error.strerror}",
                hint="correct the server's name, or give its IP address",
            ) from error
        raise Transient(f"DNS server {address.host}: look-up failed: {error.strerror}") from error
    hosts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return tuple(Address(host, address.port) for host in list(hosts)[:_MAX_ADDRESSES])
