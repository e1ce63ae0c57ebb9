"""TLS handshakes with what a target serves: which leaf, and whether its chain is trusted."""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from certrotd.clock import Clock, Deadline
from certrotd.errors import Failure, ProofFailed, Transient
from certrotd.observe.starttls import Protocol as StartTls
from certrotd.observe.starttls import upgrade

HANDSHAKE_TIMEOUT = 10.0
FIRST_PAUSE = 0.05
MAX_PAUSE = 1.0
BETWEEN = 0.02


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to look.

    ``sni`` is asked for; ``consecutive`` handshakes must agree within ``deadline`` seconds;
    ``roots`` is a PEM file to check the chain against, "system", or None for no check.
    """

    host: str
    port: int
    sni: str
    starttls: StartTls | None = None
    consecutive: int = 3
    deadline: float = 30.0
    roots: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.sni})"


@dataclass(frozen=True, slots=True)
class Served:
    """What one handshake showed: the leaf in DER and its SHA-256 in lower hex."""

    fingerprint: str
    leaf: bytes


class TlsProber:
    """The prober over real sockets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def look(self, endpoint: Endpoint) -> Served:
        """One handshake, trusting nobody; Transient when it cannot be completed."""
        leaf = _handshake(endpoint, _no_check(), HANDSHAKE_TIMEOUT)
        return Served(hashlib.sha256(leaf).hexdigest(), leaf)

    def prove(self, endpoint: Endpoint, fingerprint: str) -> None:
        """As Prober.prove: fresh handshakes until enough in a row show the leaf.

        A reload is asynchronous and old workers linger, so the first answers may be the old leaf.
        """
        deadline = Deadline(self._clock, endpoint.deadline)
        pause, streak, seen = FIRST_PAUSE, 0, "nothing"
        while streak < endpoint.consecutive:
            try:
                served = self.look(endpoint).fingerprint
                matches = served == fingerprint
                seen = f"certificate {served[:16]}"
            except Failure as failure:
                matches, seen = False, str(failure)
            streak = streak + 1 if matches else 0
            if deadline.passed and streak < endpoint.consecutive:
                raise ProofFailed(
                    f"{endpoint} does not serve certificate {fingerprint[:16]} "
                    f"after {endpoint.deadline:g}s, but {seen}",
                    hint="the service did not take the new files, or another one answers there",
                )
            if not matches:
                deadline.pause(pause)
                pause = min(pause * 1.5, MAX_PAUSE)
            elif streak < endpoint.consecutive:
                deadline.pause(BETWEEN)
        if endpoint.roots is not None:
            self.trust(endpoint)

    def trust(self, endpoint: Endpoint) -> None:
        """A handshake that checks the chain against ``endpoint.roots`` and the name against sni."""
        context = ssl.create_default_context()
        if endpoint.roots not in (None, "system"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(cafile=str(Path(str(endpoint.roots))))
            except (OSError, ssl.SSLError) as error:
                raise ProofFailed(f"cannot read the roots {endpoint.roots}: {error}") from None
        try:
            _handshake(endpoint, context, HANDSHAKE_TIMEOUT)
        except _Untrusted as error:
            raise ProofFailed(
                f"{endpoint} serves a chain that is not trusted: {error.message}",
                hint=f"checked against {endpoint.roots}",
            ) from None


class _Untrusted(Transient):
    """The chain or the name did not verify."""


def _no_check() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _handshake(endpoint: Endpoint, context: ssl.SSLContext, timeout: float) -> bytes:
    where = str(endpoint)
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=timeout) as plain:
            if endpoint.starttls is not None:
                upgrade(plain, endpoint.starttls)
            with context.wrap_socket(plain, server_hostname=endpoint.sni) as secure:
                leaf = secure.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        raise _Untrusted(error.verify_message) from None
    except TimeoutError:
        raise Transient(f"{where}: no TLS handshake within {timeout:g}s") from None
    except (OSError, ssl.SSLError) as error:
        raise Transient(f"{where}: no TLS handshake: {error.strerror or error}") from None
    if not leaf:
        raise Transient(f"{where}: the server sent no certificate")
    return leaf
