"""What a proxy says before it passes a connection on (the PROXY protocol, versions 1 and 2)."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from typing import Literal

Version = Literal["v1", "v2"]
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXIED = 0x21  # version 2, command PROXY
_STREAM = {4: 0x11, 6: 0x21}  # address family and TCP


def header(connection: socket.socket, version: Version) -> bytes:
    """The header of a connection of our own: from its near end to its far end."""
    source, destination = connection.getsockname()[:2], connection.getpeername()[:2]
    ends = [ip_address(host.partition("%")[0]) for host in (source[0], destination[0])]
    ports = (source[1], destination[1])
    if version == "v1":
        near, far = (str(each) for each in ends)
        return f"PROXY TCP{ends[0].version} {near} {far} {ports[0]} {ports[1]}\r\n".encode("ascii")
    addresses = b"".join(each.packed for each in ends) + struct.pack("!HH", *ports)
    family = _STREAM[ends[0].version]
    return _SIGNATURE + struct.pack("!BBH", _PROXIED, family, len(addresses)) + addresses
