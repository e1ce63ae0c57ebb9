"""A certificate revoked that is in a file, and of which certrotd has no generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from certrotd.audit.record import Happened
from certrotd.certs.managed import Managed
from certrotd.certs.revoking import revoked_by
from certrotd.certs.wiring.revokers import Revokers
from certrotd.config.issuers import AcmeEntry
from certrotd.errors import UsageError
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.keys import PrivateKey, load
from certrotd.pki.revocation import REASONS
from certrotd.pki.verify import verify_key

if TYPE_CHECKING:
    from certrotd.lifecycle.audited import Audit
    from certrotd.rotation.step import JSON


def revoke_file(
    certificate: bytes,
    key: bytes | None,
    *,
    issuer: str | None,
    reason: str,
    by: str,
    revokers: Revokers,
    audit: Audit,
) -> str:
    """Have the first certificate of some PEM or DER revoked; what came of it, in words.

    Raises UsageError where it is not clear which ``issuer`` is asked, and what asking raises.
    """
    leaf = parse_certificates(certificate, what="the certificate")[0]
    signer = load(key, what="its key") if key is not None else None
    if signer is not None:
        verify_key(signer, leaf)
    facts, name = facts_of(leaf), issuer or _only(revokers)
    if name not in revokers.config.issuers:
        raise UsageError(f"there is no issuer {name!r}")
    ask = revokers.named(name)
    before: list[bool] = []

    def asked(key: PrivateKey | None) -> bool:
        before.append(ask(leaf, REASONS[reason], key))
        return before[-1]

    signed = revoked_by(asked, lambda: signer, by)
    details: dict[str, JSON] = {
        "fingerprint": facts.fingerprint,
        "serial": facts.serial,
        "names": list(facts.names),
        "reason": reason,
        "by": signed,
    }
    audit.record(Happened("certificate.revoked", f"issuer:{name}", "", details))
    return f"{'was revoked already' if before[-1] else 'is revoked'}, at {name}: {reason}"


def generation_with(
    facts: CertificateFacts, all_managed: Sequence[Managed]
) -> tuple[str, int] | None:
    """The certificate of the configuration, and its generation, that this is; None if none is."""
    names = {*facts.names}
    for managed in all_managed:
        standing = managed.look()
        newest = max(each.number if each else 0 for each in (standing.live, standing.newest))
        for number in range(newest, 0, -1):
            found = managed.generation(number).facts
            if found is not None and not names & {*found.names}:
                break  # it is for something else
            if found is not None and found.fingerprint == facts.fingerprint:
                return managed.policy.name, number
    return None


def _only(revokers: Revokers) -> str:
    acme = [n for n, each in revokers.config.issuers.items() if isinstance(each, AcmeEntry)]
    if len(acme) != 1:
        raise UsageError(
            "which CA has issued it is not clear", hint=f"--issuer, one of {', '.join(acme)}"
        )
    return acme[0]
