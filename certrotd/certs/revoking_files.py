"""A certificate revoked that is in a file, and of which certrotd has no generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from certrotd.audit.record import Happened
from certrotd.certs.managed import Managed
from certrotd.certs.recorded import REVOCATION_BEGUN, REVOCATION_FAILED
from certrotd.certs.revoking import revoked_by
from certrotd.certs.wiring.revokers import Revokers
from certrotd.config.issuers import AcmeEntry
from certrotd.errors import Failure, UsageError, listed
from certrotd.lifecycle.audited import Unrecorded
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.keys import PrivateKey, key_digest, load
from certrotd.pki.revocation import COMPROMISED, REASONS
from certrotd.pki.verify import verify_key
from certrotd.rotation.unexpected import as_failure

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
    note_compromised: Callable[[str, str], None],
) -> str:
    """Have the first certificate of some PEM or DER revoked; what came of it, in words.

    ``note_compromised`` as of World: whatever the CA says, others know its key then.
    Raises UsageError where it is not clear which ``issuer`` is asked, and what asking raises. The
    CA is not asked if that cannot be written into the audit log.
    """
    leaf = parse_certificates(certificate, what="the certificate")[0]
    signer = load(key, what="its key") if key is not None else None
    if signer is not None:
        verify_key(signer, leaf)
    facts, name = facts_of(leaf), issuer or _only(revokers)
    if name not in revokers.config.issuers:
        raise UsageError(f"there is no issuer {name!r}")
    ask = revokers.named(name)
    if reason == COMPROMISED:
        of = f"a certificate for {listed(facts.names)} from a file"
        note_compromised(key_digest(leaf.public_key()), of)
    before: list[bool] = []

    def asked(key: PrivateKey | None) -> bool:
        before.append(ask(leaf, REASONS[reason], key))
        return before[-1]

    details: dict[str, JSON] = {
        "fingerprint": facts.fingerprint,
        "serial": facts.serial,
        "names": list(facts.names),
        "reason": reason,
    }
    subject = f"issuer:{name}"
    # before it is asked for: a crash must not leave a revocation that nobody knows of
    audit.record(Happened(REVOCATION_BEGUN, subject, "", {**details, "by": by}))
    try:
        signed = revoked_by(asked, lambda: signer, by)
    except (Failure, OSError) as error:
        failure = as_failure(error, f"ask {name}")
        with suppress(Failure):  # that it began is written; why it failed is told right here
            audit.record(Happened(REVOCATION_FAILED, subject, "", {**details, "why": str(failure)}))
        raise failure from error
    came = f"{'was revoked already' if before[-1] else 'is revoked'}, at {name}: {reason}"
    try:
        audit.record(Happened("certificate.revoked", subject, "", {**details, "by": signed}))
    except Failure as failure:
        why = f"it {came}; but that is not in the audit log: {failure.message}"
        raise Unrecorded(why, hint=failure.hint) from failure
    return came


def generation_with(
    facts: CertificateFacts, all_managed: Sequence[Managed], remark: Callable[[str], None]
) -> tuple[str, int] | None:
    """The certificate of the configuration, and its generation, that this is; None if none is.

    One that cannot be looked at, and has none of its names, is only remarked on. Of one that has,
    what looking at it raises is raised: it might be revoked without being marked.
    """
    names = {*facts.names}
    for managed in all_managed:
        name = managed.policy.name
        try:
            for number, found in _kept(managed):
                if found.fingerprint == facts.fingerprint:
                    return name, number
        except (Failure, OSError) as error:
            if names & {*managed.policy.names}:
                raise
            trouble = as_failure(error, "look at it").message
            remark(f"{name}: whether the file is a generation of it is not known: {trouble}")
    return None


def _kept(managed: Managed) -> Iterator[tuple[int, CertificateFacts]]:
    """The generations that are there, newest first; whatever names they have."""
    standing = managed.look()
    newest = max(each.number if each else 0 for each in (standing.live, standing.newest))
    for number in range(newest, 0, -1):
        facts = managed.generation(number).facts
        if facts is not None:
            yield number, facts
        elif not managed.world().store.sealed(managed.policy.name, number):
            break  # pruned, and with it those before, but for what is still to be revoked
    else:
        return
    for left in sorted(each for each in standing.state.revoked if each < number):
        if (facts := managed.generation(left).facts) is not None:
            yield left, facts


def _only(revokers: Revokers) -> str:
    acme = [n for n, each in revokers.config.issuers.items() if isinstance(each, AcmeEntry)]
    if len(acme) != 1:
        raise UsageError(
            "which CA has issued it is not clear", hint=f"--issuer, one of {', '.join(acme)}"
        )
    return acme[0]
