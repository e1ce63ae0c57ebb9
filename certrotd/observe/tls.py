"""TLS handshakes with what a target serves: which leaf, and whether its chain is trusted."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import Any

from certrotd.address import StartTls
from certrotd.clock import Clock, Deadline
from certrotd.dial import RESOLVER, NotLookedUp, Timeout, connect, limit
from certrotd.errors import Failure, InvalidInput, ProofFailed, Transient
from certrotd.observe.proxyprotocol import Version as ProxyProtocol
from certrotd.observe.proxyprotocol import header
from certrotd.observe.starttls import upgrade
from certrotd.observe.trust import KeyAlgorithm, TlsContexts, checking, kind_of, kind_shown
from certrotd.wording import count

HANDSHAKE_TIMEOUT = 10.0
FIRST_PAUSE = 0.05
MAX_PAUSE = 1.0
ROW, LONGEST_ROW = 1 / 60, 1.0
"""How long a row of handshakes lasts at least, as a part of the deadline, and in seconds at most.

Half a second, then, by default: an old worker may be starved for a moment, and answer after it.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to look.

    ``sni`` is asked for; ``consecutive`` handshakes must agree within ``deadline`` seconds;
    ``roots`` is a PEM file to check the chain against, "system", or None for no check. ``key`` is
    the type of the key that is looked for, where certificates of several may be served; empty for
    whichever is shown first.
    """

    host: str
    port: int
    sni: str
    starttls: StartTls | None = None
    consecutive: int = 3
    deadline: float = 30.0
    roots: str | None = None
    proxy_protocol: ProxyProtocol | None = None
    key: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.sni})"


@dataclass(frozen=True, slots=True)
class Served:
    """What one handshake showed: the leaf in DER and its SHA-256 in lower hex."""

    fingerprint: str
    leaf: bytes


class Untrusted(Transient):
    """The chain does not verify against the roots; ``code`` is OpenSSL's X509_V_ERR number."""

    def __init__(self, message: str, *, why: str, code: int) -> None:
        super().__init__(message)
        self.why = why
        self.code = code


class HandshakeFailed(Transient):
    """Somebody answers there, and no handshake with them succeeds."""


class TlsProber:
    """The prober over real sockets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def check(self, endpoint: Endpoint) -> None:
        """As Prober.check: the roots are there; NeedsOperator where they are not."""
        if endpoint.roots is not None and endpoint.roots != "system":
            checking(endpoint.roots)

    def vouch(self, endpoint: Endpoint, key: bytes, chain: bytes) -> None:
        """As Prober.vouch: by the roots and the name that the last handshake of a proof goes by.

        Raises ProofFailed, or NeedsOperator for unreadable roots.
        """
        if endpoint.roots is None:
            return
        from certrotd.observe.trial import refusal

        why = refusal(key, chain, TlsContexts(endpoint.roots).context(), name=endpoint.sni)
        if why is not None:
            raise ProofFailed(
                f"{endpoint} would not be trusted with it, by the roots {endpoint.roots}: {why}",
                hint="correct the probe's roots, or the issuer",
            )

    def look(self, endpoint: Endpoint) -> Served:
        """One handshake, trusting nobody; Transient when it cannot be completed."""
        return _served(endpoint, TlsContexts(), Deadline(self._clock, HANDSHAKE_TIMEOUT))

    def prove(self, endpoint: Endpoint, fingerprint: str) -> None:
        """As Prober.prove: fresh handshakes until enough in a row show the leaf.

        A reload is asynchronous and old workers linger, so the first answers may be the old leaf,
        and so may one after the new leaf was seen: a row is spread over a 60th of the deadline,
        and at most a second.
        Where roots are given, the last of the row must verify too: its chain against them, and
        its names against the sni. Raises ProofFailed, or NeedsOperator for unreadable roots.
        """
        deadline = Deadline(self._clock, endpoint.deadline)
        trusting = TlsContexts()
        final = trusting if endpoint.roots is None else TlsContexts(endpoint.roots)
        final.context()  # unreadable roots need no server to be found
        row = min(endpoint.deadline * ROW, LONGEST_ROW)
        between = row / max(1, endpoint.consecutive - 1)
        pause, streak, wrong = FIRST_PAUSE, 0, ""
        while streak < endpoint.consecutive:
            trust = final if streak + 1 == endpoint.consecutive else trusting
            seen = _other_than(fingerprint, endpoint, trust, deadline.within(HANDSHAKE_TIMEOUT))
            if seen is None:
                streak += 1
                deadline.pause(between if streak < endpoint.consecutive else 0)
            elif not (deadline.passed and (streak or wrong)):
                # a handshake that the end cut off would say less than the ones before it
                streak, wrong = 0, seen
                deadline.pause(pause)
                pause = min(pause * 1.5, MAX_PAUSE)
            if deadline.passed and streak < endpoint.consecutive:
                seen = wrong or f"only {count(streak, 'time')} in a row"
                raise ProofFailed(
                    f"{endpoint} does not serve certificate {fingerprint[:16]} "
                    f"after {endpoint.deadline:g}s, but {seen}",
                    hint="the service did not load the new files, its configuration names others, "
                    "or another service answers there",
                )


def _other_than(
    fingerprint: str, endpoint: Endpoint, trust: TlsContexts, deadline: Deadline
) -> str | None:
    """What a handshake showed instead of the leaf, None if it was the leaf."""
    try:
        served = _served(endpoint, trust, deadline)
    except Failure as failure:
        return str(failure)
    return None if served.fingerprint == fingerprint else f"certificate {served.fingerprint[:16]}"


def _served(endpoint: Endpoint, trust: TlsContexts, deadline: Deadline) -> Served:
    leaf = shown(endpoint, trust, deadline)[0]
    return Served(hashlib.sha256(leaf).hexdigest(), leaf)


def shown(
    endpoint: Endpoint, trust: TlsContexts, deadline: Deadline, *, old: bool = False
) -> list[bytes]:
    """The certificates that a handshake showed, in DER, as they were sent: the leaf first.

    A server with keys of several kinds shows one of them to most clients. Where that is not of
    the kind that is looked for, another handshake asks for that alone. ``old`` as in
    TlsContexts.context. Raises Untrusted, Transient when there was no handshake or no
    certificate, or InvalidInput for a name that cannot be asked for.
    """
    kind = kind_of(endpoint.key) if endpoint.key else None
    try:
        first = _shown(endpoint, trust.context(old=old), deadline)
    except Untrusted:
        other = kind and _shown_by(kind, endpoint, trust, deadline, old=old)
        if other is None:
            raise
        return other
    if kind is None or kind_shown(first[0]) in (kind, None):
        return first
    return _shown_by(kind, endpoint, trust, deadline, old=old) or first


def shown_to_any(endpoint: Endpoint, trust: TlsContexts, deadline: Deadline) -> list[bytes]:
    """As shown, in whatever TLS the server speaks; for who only looks, and tells it nothing."""
    try:
        return shown(endpoint, trust, deadline)
    except HandshakeFailed:
        try:
            return shown(endpoint, trust, deadline, old=True)
        except Untrusted:
            raise
        except Transient:
            pass  # the words of the first try are those that most clients would have
        raise


def _shown_by(
    kind: KeyAlgorithm, endpoint: Endpoint, trust: TlsContexts, deadline: Deadline, *, old: bool
) -> list[bytes] | None:
    """As shown, by a key of that kind; None where the server has none."""
    try:
        return _shown(endpoint, trust.context(kind, old=old), deadline)
    except Untrusted:
        raise
    except Transient:
        return None


def _shown(endpoint: Endpoint, context: ssl.SSLContext, deadline: Deadline) -> list[bytes]:
    where, allowed = str(endpoint), deadline.remaining
    try:
        chain = _handshake(endpoint, context, deadline)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
        raise Untrusted(
            f"{where}: the chain is not trusted: {why}", why=why, code=error.verify_code
        ) from None
    except NotLookedUp as error:
        raise Transient(f"{where}: {error}", hint=RESOLVER) from None
    except TimeoutError:
        raise Transient(f"{where}: no TLS handshake within {allowed:.3g}s") from None
    except OSError as error:
        spoken = isinstance(error, ssl.SSLError | ConnectionResetError)
        failed = HandshakeFailed if spoken else Transient
        raise failed(f"{where}: no TLS handshake: {error.strerror or error}") from None
    except ValueError:
        raise InvalidInput(
            f"{where}: not a valid server name",
            hint="a DNS name has at most 253 characters, and 63 between two dots",
        ) from None
    if not chain:
        raise Transient(f"{where}: the server sent no certificate")
    return chain


def _handshake(endpoint: Endpoint, context: ssl.SSLContext, deadline: Deadline) -> list[bytes]:
    # a name that cannot be asked for is found here, where there is no socket yet to be left open
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=endpoint.sni)
    with connect(endpoint.host, endpoint.port, timeout=Timeout(deadline)) as plain:
        limit(plain, deadline)
        if endpoint.proxy_protocol is not None:
            plain.sendall(header(plain, endpoint.proxy_protocol))
        if endpoint.starttls is not None:
            upgrade(plain, endpoint.starttls, endpoint.sni, deadline=deadline)
        limit(plain, deadline)
        with context.wrap_socket(
            plain, server_hostname=endpoint.sni, do_handshake_on_connect=False
        ) as secure:
            try:
                secure.do_handshake()
            except (ssl.SSLError, ConnectionResetError):
                # who demands a client's certificate refuses us, but has shown its own by then, and
                # signed with its key: our side was at its end of the handshake
                if secure.get_channel_binding() is None:
                    raise
            return _sent(secure)


def _sent(secure: Any) -> list[bytes]:
    """The peer's certificates in DER; before Python 3.13 the method has no public name."""
    if hasattr(secure, "get_unverified_chain"):
        return [bytes(each) for each in secure.get_unverified_chain() or ()]
    chain = secure._sslobj.get_unverified_chain() or ()
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain]
