"""Whether clients follow a chain: what its certificates allow each other (RFC 5280 §6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from ipaddress import ip_address
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certrotd.errors import InvalidInput, one_line
from certrotd.pki.constraints import permits
from certrotd.pki.facts import MAX_CERTIFICATES, facts_of
from certrotd.pki.foreign import foreign
from certrotd.pki.names import instance_of, is_ip

MIN_RSA_BITS = 2048
MIN_CURVE_BITS = 224
Extension = TypeVar("Extension", bound=x509.ExtensionType)

_WEB_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_WEB_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_LIKE_A_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*\.)+[A-Za-z0-9_-]*[A-Za-z0-9_]")
_BROKEN_HASHES = {"md5": "MD5", "sha1": "SHA-1"}
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.CertificatePolicies,
    x509.CRLDistributionPoints,
    x509.ExtendedKeyUsage,
    x509.InhibitAnyPolicy,
    x509.KeyUsage,
    x509.NameConstraints,
    x509.PolicyConstraints,
    x509.SubjectAlternativeName,
)
"""What OpenSSL understands where it is critical: all other critical extensions it refuses."""


class ChainBroken(InvalidInput):
    """Clients cannot follow the chain, or refuse what is in it."""


def verify_links(chain: Sequence[x509.Certificate]) -> None:
    """Every certificate is signed by the next one, which must be a CA; raises ChainBroken."""
    for child, parent in pairwise(chain):
        _verify_hash(child)
        try:
            with foreign("not issued"):
                child.verify_directly_issued_by(parent)
        except InvalidInput:
            raise ChainBroken(
                f"{_name(child)} was not issued by {facts_of(parent).subject}",
                hint="the chain is out of order or has a certificate missing",
            ) from None
        if not facts_of(parent).is_ca:
            raise ChainBroken(f"{_name(parent)} signed a certificate but is not a CA")


def verify_path(chain: Sequence[x509.Certificate]) -> None:
    """Public clients follow a chain, leaf first, as far as it can be said without their roots.

    The last certificate is taken for the one they trust. Dates are not judged here. What OpenSSL
    refuses is the measure; the library's own verifier is stricter, and has its say in doubts().
    Raises ChainBroken, or InvalidInput for what the library cannot read.
    """
    with foreign("the chain cannot be judged"):
        verify_links(chain)
        for each in chain:
            _verify_extensions(each)
        _verify_identifiers(chain)
        for parent in chain[1:]:
            _verify_issuer(parent)
        _verify_leaf(chain[0])
        _verify_depth(chain)
        _verify_names(chain)


def doubts(chain: Sequence[x509.Certificate], *, now: datetime) -> str:
    """Why some clients refuse a chain that verify_path passes, in words; or empty."""
    try:
        with foreign(f"some clients may refuse the chain of {_name(chain[0])}"):
            return _doubts(chain, now)
    except InvalidInput as unjudged:
        return unjudged.message


def _doubts(chain: Sequence[x509.Certificate], now: datetime) -> str:
    leaf = chain[0]
    if facts_of(leaf).is_ca:
        return f"some clients refuse {_name(leaf)}: it is a CA's certificate (CA:TRUE)"
    if len(chain) == 1:
        return ""  # whoever trusts it trusts it by itself
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        return f"some clients refuse {_name(leaf)}: its key usage lacks digitalSignature"
    if why := _beyond(chain):
        return f"some clients refuse the chain of {_name(leaf)}: {why}"
    why = _refused(chain, now)
    return f"some clients refuse the chain of {_name(leaf)}: {why}" if why else ""


def weakness(public: object) -> str:
    """What is wrong with a public key, in words, or empty (CA/B Forum BR §6.1.5)."""
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < MIN_RSA_BITS:
        return f"RSA key has {public.key_size} bits, {MIN_RSA_BITS} is the least"
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.key_size < MIN_CURVE_BITS:
        return f"curve {public.curve.name} is too small"
    return ""


def _verify_hash(child: x509.Certificate) -> None:
    with foreign(f"{_name(child)} has a signature of an unknown kind"):
        used = child.signature_hash_algorithm
    if used is not None and used.name in _BROKEN_HASHES:
        raise ChainBroken(
            f"{_name(child)} is signed with {_BROKEN_HASHES[used.name]}, which clients refuse",
            hint="have the CA sign with SHA-256",
        )


def _verify_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            oid = extension.oid.dotted_string
            raise ChainBroken(
                f"{_name(certificate)} has a critical extension that clients do not know: {oid}"
            )


def _verify_identifiers(chain: Sequence[x509.Certificate]) -> None:
    """What each says of its issuer's key and number fits the next one: clients look no further.

    Whose issuer has its own name has to say that it is another, or passes for a root.
    """
    for child, parent in pairwise(chain):
        if not _may_have_issued(parent, child):
            raise ChainBroken(
                f"{_name(child)} says that another certificate issued it than {_name(parent)} "
                "(its authority key identifier)"
            )
        if _self_issued(child) and _may_have_issued(child, child):
            raise ChainBroken(
                f"clients take {_name(child)} for a root: its issuer has the same name, and no "
                "key identifiers tell them apart"
            )


def _may_have_issued(parent: x509.Certificate, child: x509.Certificate) -> bool:
    """Whether all is alike that the child's identifier of its issuer and the parent both say."""
    said = _extension(child, x509.AuthorityKeyIdentifier)
    if said is None:
        return True
    own = _extension(parent, x509.SubjectKeyIdentifier)
    if said.key_identifier is not None and own is not None and said.key_identifier != own.digest:
        return False
    number = said.authority_cert_serial_number
    issuers = [each.value for each in said.authority_cert_issuer or () if _is_directory(each)]
    return number in (None, parent.serial_number) and issuers[:1] in ([], [parent.issuer])


def _verify_issuer(parent: x509.Certificate) -> None:
    usage, extended = _extension(parent, x509.KeyUsage), _extension(parent, x509.ExtendedKeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise ChainBroken(f"{_name(parent)} signed a certificate, and its key usage forbids it")
    if extended is not None and ExtendedKeyUsageOID.SERVER_AUTH not in extended:
        raise ChainBroken(f"{_name(parent)} may not issue for servers (its extended key usage)")
    if why := weakness(parent.public_key()):
        raise ChainBroken(f"{_name(parent)} signed a certificate, and its {why}")


def _verify_leaf(leaf: x509.Certificate) -> None:
    usage, extended = _extension(leaf, x509.KeyUsage), _extension(leaf, x509.ExtendedKeyUsage)
    if extended is not None and ExtendedKeyUsageOID.SERVER_AUTH not in extended:
        raise ChainBroken(f"{_name(leaf)} is not for servers (its extended key usage)")
    if usage is None or usage.digital_signature:
        return
    # an RSA key may decrypt instead, up to TLS 1.2; any other has nothing else to do
    rsa_key = isinstance(leaf.public_key(), rsa.RSAPublicKey)
    if not (rsa_key and usage.key_encipherment):
        raise ChainBroken(f"{_name(leaf)} is not for TLS (its key usage lacks digitalSignature)")


def _verify_depth(chain: Sequence[x509.Certificate]) -> None:
    """Each issuer's path length; who issued to itself is not counted (RFC 5280 §6.1.4 (l))."""
    between = 0
    for parent in chain[1:]:
        constraints = _extension(parent, x509.BasicConstraints)
        most = constraints.path_length if constraints is not None else None
        if most is not None and between > most:
            raise ChainBroken(
                f"{_name(parent)} allows {most} CAs below it, and there are {between} "
                "(its path length)"
            )
        between += not _self_issued(parent)


def _verify_names(chain: Sequence[x509.Certificate]) -> None:
    for number, parent in enumerate(chain):
        constraints = _extension(parent, x509.NameConstraints)
        if constraints is None:
            continue
        for name in _names_below(chain[:number]):
            if not permits(constraints, name):
                shown = name.value.rfc4514_string() if _is_directory(name) else name.value
                raise ChainBroken(f"{_name(parent)} may not certify {shown} (its name constraints)")


def _names_below(chain: Sequence[x509.Certificate]) -> Iterator[x509.GeneralName]:
    for number, each in enumerate(chain):
        if number and _self_issued(each):
            continue
        names = list(_extension(each, x509.SubjectAlternativeName) or ())
        yield from names
        if not number and not any(isinstance(name, x509.DNSName) for name in names):
            yield from _common_names(each)
        if each.subject.rdns:
            yield x509.DirectoryName(each.subject)


def _common_names(leaf: x509.Certificate) -> Iterator[x509.DNSName]:
    """What OpenSSL takes for DNS names in the subject where there are none beside it."""
    for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if isinstance(each.value, str) and _LIKE_A_NAME.fullmatch(each.value):
            yield x509.DNSName(each.value)


def _is_directory(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.DirectoryName)


def _beyond(chain: Sequence[x509.Certificate]) -> str:
    """What of a chain the web's rules do not know, though OpenSSL does: in words, or empty."""
    for child, parent in pairwise(chain):
        public = parent.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            return f"browsers do not know the Ed25519 key of {_name(parent)}"
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name not in _WEB_CURVES:
            return f"browsers do not know the curve {public.curve.name} of {_name(parent)}"
        if not isinstance(child.signature_hash_algorithm, _WEB_HASHES):
            return f"browsers do not know the signature of {_name(child)}"
    return ""


def _unjudged(chain: Sequence[x509.Certificate]) -> bool:
    """Whether there is something that the library's verifier does not implement.

    That is a CA that issued to itself between others, which it counts, and some name constraints.
    The path has been measured and the names compared by then.
    """
    if any(_self_issued(each) for each in chain[1:-1]):
        return True
    subtrees = [
        subtree
        for each in chain
        if (found := _extension(each, x509.NameConstraints))
        for subtree in (*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ()))
    ]
    names = [name for each in chain for name in _extension(each, x509.SubjectAlternativeName) or ()]
    return any(isinstance(each, x509.DirectoryName) for each in subtrees) or any(
        not each.value or each.value.startswith(".") or "_" in each.value
        for each in (*subtrees, *names)
        if subtrees and isinstance(each, x509.DNSName)
    )


def _refused(chain: Sequence[x509.Certificate], now: datetime) -> str:
    """Why the library's verifier refuses a chain by the web's rules, or empty.

    The moment is one at which all of the chain is valid, as near to ``now`` as can be.
    """
    if _unjudged(chain):
        return ""
    begins = max(each.not_valid_before_utc for each in chain)
    ends = min(each.not_valid_after_utc for each in chain)
    if begins > ends:
        return ""  # never all valid: the dates tell
    builder = PolicyBuilder().store(Store([chain[-1]])).time(min(max(now, begins), ends))
    builder = builder.max_chain_depth(MAX_CERTIFICATES)
    subject = _subject(chain[0])
    if subject is None:
        return ""  # no client asks for it at all: the names tell
    try:
        builder.build_server_verifier(subject).verify(chain[0], list(chain[1:]))
    except VerificationError as error:
        return _in_words(str(error))
    return ""


def _subject(leaf: x509.Certificate) -> x509.DNSName | x509.IPAddress | None:
    """A name that a client could ask for, and the library can look for."""
    for name in facts_of(leaf).names:
        if name.startswith("DNS:"):
            continue  # as the facts show what equals no name
        if is_ip(name):
            return x509.IPAddress(ip_address(name))
        try:
            asked = x509.DNSName(instance_of(name))
            PolicyBuilder().store(Store([leaf])).build_server_verifier(asked)
        except ValueError:
            continue
        return asked
    return None


def _in_words(error: str) -> str:
    """The library's message without its beginning and end, and with names in the place of OIDs."""
    text = re.sub(r"^validation failed: |candidates exhausted: |invalid extension: ", "", error)
    text = re.sub(r" \(encountered processing .*", "", text)
    return one_line(re.sub(r"[0-9]+(?:\.[0-9]+){3,}", _oid_name, text))


def _oid_name(found: re.Match[str]) -> str:
    name = x509.ObjectIdentifier(found[0])._name
    return found[0] if name == "Unknown OID" else name


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _self_issued(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def _name(certificate: x509.Certificate) -> str:
    return facts_of(certificate).subject or "the leaf"
