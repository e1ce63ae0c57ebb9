"""A handshake in memory: whether a client would trust a pair that no server has yet."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

ROUNDS = 10
"""More flights than any handshake has."""


def refusal(key: bytes, chain: bytes, client: ssl.SSLContext, *, name: str) -> str | None:
    """Why a client refuses the chain for that name, in OpenSSL's words; None if it does not.

    What else may go wrong between this client and a server is nothing that the pair is to blame
    for: a proof tells. Raises OSError where the key cannot be given to OpenSSL.
    """
    try:
        server = _serving(key, chain)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = client.wrap_bio(to_client, to_server, server_hostname=name)
        answering = server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(ROUNDS):
            done = _steps(asking.do_handshake)
            if _steps(answering.do_handshake) and done:
                break
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except ssl.SSLError:
        return None
    return None


def _steps(handshake: Callable[[], None]) -> bool:
    """Whether one side is done; else it waits for the other."""
    try:
        handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _serving(key: bytes, chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # what is weak is for the client to refuse
    # ssl reads keys from files only; this one is memory of this process
    handle = os.memfd_create("certrotd", os.MFD_CLOEXEC)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(key + b"\n" + chain)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
    return context
