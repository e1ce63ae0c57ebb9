"""What a Secret of type kubernetes.io/tls holds: the pair, other shapes of it, and whose it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from certrotd.errors import InvalidInput
from certrotd.pki.certificate import CertificateFacts
from certrotd.stores.wholeness import belonging

TYPE = "kubernetes.io/tls"
KEY, CHAIN = "tls.key", "tls.crt"
CA, COMBINED, KEYSTORE = "ca.crt", "combined.pem", "keystore.p12"
Data = Mapping[str, bytes]


def _nothing() -> bytes:
    return b""


@dataclass(frozen=True)
class Shapes:
    """Which ``keys`` the Secret has beside the pair; ``password`` is the PKCS#12 keystore's."""

    alias: str
    keys: Sequence[str] = ()
    password: Callable[[], bytes] = _nothing

    def data(self, key: bytes, chain: bytes) -> dict[str, bytes]:
        """All that the Secret is to hold of a pair; raises InvalidInput."""
        found = {KEY: key, CHAIN: chain}
        for name in self.keys:
            made = self._made(name, key, chain)
            if made is not None:
                found[name] = made
        return found

    def wrong(self, data: Data) -> str | None:
        """Which of the keys does not fit the pair beside it, or None; raises InvalidInput."""
        from certrotd.stores.bundle import same_pkcs12

        key, chain = data[KEY], data[CHAIN]
        for name in self.keys:
            if name == KEYSTORE:
                found, password = data.get(name, b""), self.password()
                fits = same_pkcs12(found, key, chain, password=password)
            else:
                fits = data.get(name) == self._made(name, key, chain)
            if not fits:
                return f"{name} is not of this pair" if name in data else f"{name} is missing"
        return None

    def _made(self, name: str, key: bytes, chain: bytes) -> bytes | None:
        from certrotd.stores.bundle import files_of, to_pkcs12

        if name == KEYSTORE:
            return to_pkcs12(key, chain, name=self.alias, password=self.password())
        return files_of(key, chain)["combined"] if name == COMBINED else _topmost(chain)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is in the place of a generation: one ``broken`` serves nobody, a ``foreign`` one
    does; neither if it is the generation's own pair.
    """

    broken: str | None = None
    foreign: str | None = None


def judge(data: Data, digests: Mapping[str, str], shapes: Shapes, *, now: datetime) -> Verdict:
    """A Secret against the SHA-256 of ``tls.key`` and ``tls.crt`` that it should hold."""
    try:
        if all(digest_of(data.get(name, b"")) == digests.get(name) for name in (KEY, CHAIN)):
            return Verdict(broken=shapes.wrong(data))
        facts = held(data)
    except InvalidInput as failure:
        return Verdict(broken=failure.message)
    if facts.not_after <= now:
        return Verdict(broken=f"its certificate expired at {facts.not_after:%Y-%m-%d %H:%M:%S}Z")
    until = f"{facts.not_after:%Y-%m-%d %H:%M:%S}Z"
    return Verdict(
        foreign=f"somebody else put certificate {facts.fingerprint[:16]} there, valid until {until}"
    )


def held(data: Data) -> CertificateFacts:
    """The facts of its leaf; raises InvalidInput unless key and chain belong together."""
    for name in (KEY, CHAIN):
        if not data.get(name):
            raise InvalidInput(f"{name} is missing")
    return belonging(data[KEY], data[CHAIN], names=(KEY, CHAIN))


def digests_of(data: Data) -> dict[str, str]:
    """The SHA-256 of each."""
    return {name: digest_of(each) for name, each in data.items()}


def digest_of(data: bytes) -> str:
    """The SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def _topmost(chain: bytes) -> bytes | None:
    """The certificate at the top of a chain; None of a leaf that another CA has signed."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from certrotd.pki.facts import parse_certificates

    certificates = parse_certificates(chain, what=CHAIN)
    top = certificates[-1]
    if len(certificates) == 1 and top.issuer != top.subject:
        return None
    return top.public_bytes(Encoding.PEM)
