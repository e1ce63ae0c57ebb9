"""Ways in which a listener serves TLS, or misbehaves."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

from certrotd.pki.keys import to_pem
from tests.parts import pki
from tests.parts.listener import Listener, Serve
from tests.unit.pki.crafted import ec_key

__all__ = ["Listener", "context_of", "context_of_der", "dripping", "tls"]


def context_of(pair: pki.Pair, directory: Path) -> ssl.SSLContext:
    """A server's context with a pair, whose files are written to ``directory``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(directory, f"{pair.certificate.serial_number:x}"))
    return context


def context_of_der(directory: Path, *chain: bytes) -> ssl.SSLContext:
    """A server's context with certificates in DER, whatever they say; ec_key() is the leaf's."""
    certificates, key = directory / "der.crt", directory / "der.key"
    certificates.write_text("".join(map(ssl.DER_cert_to_PEM_cert, chain)))
    key.write_bytes(to_pem(ec_key()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates, key)
    return context


def tls(*contexts: ssl.SSLContext, forever: Iterable[ssl.SSLContext] = ()) -> Serve:
    """Serves with each context in turn, then with those of ``forever``, or the last one."""
    turns = itertools.chain(contexts, itertools.cycle(forever or contexts[-1:]))

    def serve(connection: socket.socket) -> None:
        with next(turns).wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    return serve


def dripping(connection: socket.socket) -> None:
    """Says one byte every now and then, so that no single wait for one is long."""
    while True:
        connection.sendall(b"2")
        with contextlib.suppress(TimeoutError):
            connection.settimeout(0.05)
            if not connection.recv(4096):
                return
