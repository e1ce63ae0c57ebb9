"""A connection of which nobody reads without end."""

import socket

import pytest

from certrotd.ssh.metered import Metered, SentTooMuch


def test_a_server_that_sends_too_much_is_cut_off() -> None:
    """After the limit, and not before."""
    ours, theirs = socket.socketpair()
    with theirs, Metered.of(ours) as metered:
        metered.left = 10
        theirs.sendall(bytes(10))
        assert len(metered.recv(100)) == 10
        theirs.sendall(b"x")
        with pytest.raises(SentTooMuch, match="more than 16 MiB"):
            metered.recv_into(bytearray(1))
