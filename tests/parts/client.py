"""The outside view of a server: what it answers over HTTPS and which leaf it serves."""

import socket
import ssl
import urllib.request
from pathlib import Path

from cryptography import x509


def https(url: str, *, ca_file: Path | None, body: bytes | None = None) -> bytes:
    """GETs (or POSTs the body to) a URL, trusting that CA file alone, past any proxy."""
    context = ssl.create_default_context(cafile=ca_file)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(url, data=body, timeout=10) as response:
        answer: bytes = response.read()
    return answer


def served_leaf(host: str, port: int, server_name: str, *, timeout: float = 10) -> x509.Certificate:
    """The certificate a new TLS connection is shown, whatever it is worth."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=timeout) as connection,
        context.wrap_socket(connection, server_hostname=server_name) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    if der is None:
        raise ssl.SSLError("the server showed no certificate")
    return x509.load_der_x509_certificate(der)


def trusted_leaf(host: str, port: int, server_name: str, roots: bytes) -> x509.Certificate:
    """The certificate a client is shown that trusts those roots (PEM) alone and checks the name.

    Raises ssl.SSLCertVerificationError.
    """
    context = ssl.create_default_context(cadata=roots.decode())
    with (
        socket.create_connection((host, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=server_name) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)
