"""The files of one certificate in the shapes that servers read."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from certrotd.errors import InvalidInput
from certrotd.pki.facts import parse_certificates
from certrotd.pki.foreign import foreign
from certrotd.pki.keys import load, spki, to_pem
from certrotd.pki.path import ChainBroken, verify_links
from certrotd.pki.request import is_request


def files_of(key: bytes, chain: bytes) -> dict[str, bytes]:
    """PEM texts by shape: privkey, cert, chain, fullchain, and combined (key first, HAProxy's).

    ``chain`` is PEM, leaf first. A key in DER or with something beside it comes out as PEM alone.
    Of a request in the place of the key: that as request, and nothing that would hold a key.
    """
    certificates = parse_certificates(chain, what="the chain")
    blocks = [_pem(certificate) for certificate in certificates]
    public = {
        "cert": blocks[0],
        "chain": b"".join(blocks[1:]),
        "fullchain": b"".join(blocks),
    }
    if is_request(key):
        return {"request": key, **public}
    private = _key_alone(key)
    return {"privkey": private, **public, "combined": private + public["fullchain"]}


def to_pkcs12(
    key: bytes, chain: bytes, *, name: str, password: bytes, legacy: bool = False
) -> bytes:
    """The pair as PKCS#12 (RFC 7292), encrypted with a password that may be empty.

    Java shows no entry of one that is not encrypted at all. By AES-256 and SHA-256 or, if
    ``legacy``, by Triple DES and SHA-1, which is all that Java before 8u301 and Windows before
    Server 2019 read.
    """
    leaf, *others = parse_certificates(chain, what="the chain")
    cipher = (
        pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
        if legacy
        else pkcs12.PBES.PBESv2SHA256AndAES256CBC
    )
    digest = hashes.SHA1() if legacy else hashes.SHA256()  # noqa: S303  # what they read
    builder = serialization.PrivateFormat.PKCS12.encryption_builder()
    encryption = builder.key_cert_algorithm(cipher).hmac_hash(digest).build(password or b"-")
    if not password:  # the library writes and reads an empty one, but does not let it be asked for
        vars(encryption)["password"] = b""
    return pkcs12.serialize_key_and_certificates(name.encode(), load(key), leaf, others, encryption)


def same_pkcs12(data: bytes, key: bytes, chain: bytes, *, password: bytes) -> bool:
    """Whether PKCS#12 ``data`` holds this pair; its salt makes every writing of it different."""
    try:
        with foreign("PKCS#12"):
            found, leaf, others = pkcs12.load_key_and_certificates(data, password)
    except InvalidInput:
        return False
    if found is None or leaf is None:
        return False
    same_key = spki(found.public_key()) == spki(load(key).public_key())
    return same_key and [leaf, *others] == parse_certificates(chain, what="the chain")


def _key_alone(key: bytes) -> bytes:
    # ours are as they should be, and to parse an RSA key takes long
    if key.startswith(b"-----BEGIN") and key.count(b"-----BEGIN") == 1 and key.endswith(b"-----\n"):
        return key
    return to_pem(load(key))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def leaf_first(blocks: Sequence[x509.Certificate], key: bytes, *, what: str) -> bytes:
    """The PEM chain of certificates in any order: the key's own first, each issuer after.

    Raises InvalidInput if none belongs to the key. Certificates that continue no link are left
    out: a server would send them for nothing.
    """
    wanted = spki(load(key).public_key())
    leaf = next((c for c in blocks if spki(c.public_key()) == wanted), None)
    if leaf is None:
        raise InvalidInput(f"{what}: no certificate in it belongs to the private key")
    ordered = [leaf]
    while (nxt := _issuer_of(ordered[-1], blocks)) is not None and nxt not in ordered:
        ordered.append(nxt)
    return b"".join(_pem(c) for c in ordered)


def _issuer_of(
    child: x509.Certificate, blocks: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    return next((c for c in blocks if c != child and _issued(child, c)), None)


def _issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        verify_links((child, parent))  # by its signature: a CA may have several keys of one name
    except ChainBroken:
        return False
    return True
