"""What a client of TLS offers and whom it trusts, as contexts of OpenSSL's."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Literal

from certrotd.errors import InvalidInput
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.roots import trust

KeyAlgorithm = Literal["RSA", "ECDSA"]
"""How a server proves itself: by an RSA key, or by one on a curve."""

_LEGACY_SERVER_CONNECT = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT; ssl has its name from 3.12 on


class TlsContexts:
    """The contexts of one client, each made when it is first needed; for many threads.

    ``roots`` is a PEM file to check chains against, "system", or None to trust whatever is shown;
    ``names`` tells whether the name must be right too.
    """

    def __init__(self, roots: str | None = None, *, names: bool = True) -> None:
        self._roots = roots
        self._names = names
        self._lock = threading.Lock()
        self._made: dict[tuple[KeyAlgorithm | None, bool], ssl.SSLContext] = {}

    def context(self, kind: KeyAlgorithm | None = None, *, old: bool = False) -> ssl.SSLContext:
        """One that takes only servers with a key of that ``kind``, up to TLS 1.2.

        ``old`` is for who only looks: TLS 1.0 and whatever is weak are spoken too. Raises
        NeedsOperator for unreadable roots.
        """
        with self._lock:
            if (kind, old) not in self._made:
                self._made[kind, old] = self._make(kind, old=old)
            return self._made[kind, old]

    def _make(self, kind: KeyAlgorithm | None, *, old: bool) -> ssl.SSLContext:
        context = no_check() if self._roots is None else checking(self._roots)
        if not self._names:
            context.check_hostname = False
        ciphers = f"a{kind}:!aNULL:!eNULL" if kind else "ALL:!aNULL:!eNULL"
        if kind:  # the ciphers of TLS 1.3 leave the key open, and Python sets no algorithms
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if old:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.options |= _LEGACY_SERVER_CONNECT
            ciphers = f"{ciphers}:@SECLEVEL=0"
        if kind or old:
            context.set_ciphers(ciphers)
        return context


def no_check() -> ssl.SSLContext:
    """A client's context that trusts whatever it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def checking(roots: str) -> ssl.SSLContext:
    """A client's context that checks chain and name; NeedsOperator for unreadable roots."""
    return trust(None if roots == "system" else Path(roots), what="the file of roots")


def kind_of(key_type: str) -> KeyAlgorithm:
    """The kind of a key type, as keys.key_type_of names it."""
    return "RSA" if key_type.startswith("rsa") else "ECDSA"


def kind_shown(leaf: bytes) -> KeyAlgorithm | None:
    """The kind of the key in a leaf in DER, None if it cannot be read."""
    try:
        [certificate] = parse_certificates(leaf)
        return kind_of(facts_of(certificate).key_type)
    except InvalidInput:
        return None
