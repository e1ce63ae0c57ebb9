"""What no single entry can tell of the names of certificates, and of who proves them."""

from collections.abc import Iterator, Sequence

from certrotd.config.base import Loc, shown
from certrotd.config.certificates import CertificateEntry
from certrotd.config.checked import Checked, ConfigFinding
from certrotd.config.issuers import AcmeEntry, InternalEntry, IssuerEntry
from certrotd.config.model import issuers_of
from certrotd.config.solvers import ResponderEntry
from certrotd.pki.names import base, is_ip, is_wildcard
from certrotd.pki.order import DNS_01, DNS_PERSIST_01


def crosscheck_names(checked: Checked) -> Iterator[ConfigFinding]:
    """What certificates are called, and what they are for."""
    first: dict[str, int] = {}
    for index, entry in checked.entries:
        other = first.setdefault(entry.name, index)
        if other != index:
            message = f"{shown(entry.name)} is also the name in {{there}}: give each its own name"
            loc: Loc = ("certificates", index, "name")
            yield ConfigFinding(loc, message, other=("certificates", other, "name"))
        if len(entry.names) > 1 and len(set(entry.names)) < len(entry.names):
            yield from _repeated(index, entry.names)
        if acme := _is_acme(checked, entry):
            yield from _redundant(index, entry.names)
        private = [each for each in _issuers_of(checked, entry) if isinstance(each, InternalEntry)]
        for position, name in enumerate(entry.names):
            loc = ("certificates", index, "names", position)
            if acme and is_ip(name):
                message = (
                    f"{name} is an IP address, which no DNS record proves to an ACME CA (RFC 8738 "
                    "§7): remove it, or use an internal issuer"
                )
                yield ConfigFinding(loc, message)
            for issuer in private:
                if not issuer.permits(name):
                    allowed = ", ".join(issuer.permitted_names)
                    message = f"{name} is not within the issuer's permitted_names: {allowed}"
                    yield ConfigFinding(loc, message)


def _repeated(index: int, names: Sequence[str]) -> Iterator[ConfigFinding]:
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name in seen:
            loc = ("certificates", index, "names", position)
            yield ConfigFinding(
                loc, f"{name} is in this list already: it counts once", warning=True
            )
        seen.add(name)


def _redundant(index: int, names: Sequence[str]) -> Iterator[ConfigFinding]:
    """Names that a wildcard of the same certificate covers: Let's Encrypt refuses those."""
    wildcards = {name for name in names if is_wildcard(name)}
    for position, name in enumerate(names) if wildcards else ():
        over = f"*.{name.partition('.')[2]}"
        if over in wildcards and over != name and not is_ip(name):
            message = f"{over} covers {name}: remove it, some CAs refuse an order with both"
            yield ConfigFinding(("certificates", index, "names", position), message, warning=True)


def _challenge(checked: Checked, entry: CertificateEntry) -> str:
    return entry.challenge or checked.file.defaults.challenge


def publishes(checked: Checked, entry: CertificateEntry) -> bool:
    """Whether a solver has to publish something for it."""
    return _is_acme(checked, entry) and _challenge(checked, entry) != DNS_PERSIST_01


def _is_acme(checked: Checked, entry: CertificateEntry) -> bool:
    return any(isinstance(each, AcmeEntry) for each in _issuers_of(checked, entry))


def _issuers_of(checked: Checked, entry: CertificateEntry) -> Iterator[IssuerEntry]:
    known = checked.file.issuers
    return (known[name] for name in issuers_of(checked.file, entry) if name in known)


def unproven(checked: Checked) -> Iterator[ConfigFinding]:
    """Warnings of names whose challenge record is in no zone of the solver they get.

    Only a CNAME helps then, and where that leads is not known before somebody asks.
    """
    solvers = checked.file.solvers
    anywhere = not all(solver.zones for solver in solvers.values())
    of_all = {zone for solver in solvers.values() for zone in solver.zones}
    for index, entry in checked.entries:
        named = entry.solver or checked.file.defaults.solver
        solver = solvers.get(named or "")
        # what is named proves any name, except that the responder has nothing but its zones
        if (named and solver is None) or not publishes(checked, entry):
            continue
        if not isinstance(solver, ResponderEntry) if named else anywhere:
            continue
        zones, whose = (of_all, "any solver") if solver is None else (set(solver.zones), named)
        for position, name in enumerate(entry.names):
            record = f"_acme-challenge.{base(name)}"
            if not is_ip(name) and zones.isdisjoint(_above(record)):
                made = "it" if _challenge(checked, entry) == DNS_01 else "the account's label in it"
                why = f"{record} is in no zone of {whose}: add its zone, or make {made} a CNAME "
                why += "into one"
                yield ConfigFinding(("certificates", index, "names", position), why, warning=True)


def _above(name: str) -> Iterator[str]:
    """``name`` and every domain it is in."""
    while name:
        yield name
        name = name.partition(".")[2]
