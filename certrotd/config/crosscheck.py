"""What no single entry can tell: references that lead nowhere, and entries that collide."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from certrotd.address import Address
from certrotd.config.base import MAX_NAME, Loc, is_safe_name, shown
from certrotd.config.certificates import CertificateEntry, UseEntry
from certrotd.config.docker import DockerEntry
from certrotd.config.hostfile import HostFile
from certrotd.config.hosts import delivery_name
from certrotd.config.issuers import AcmeEntry, InternalEntry, IssuerEntry
from certrotd.config.model import issuers_of, store_dir
from certrotd.config.nearest import suggestion
from certrotd.config.solvers import ResponderEntry
from certrotd.config.targets import KubernetesEntry
from certrotd.config.watch import WatchEntry
from certrotd.pki.names import base, is_ip, is_wildcard
from certrotd.pki.order import DNS_01, DNS_PERSIST_01


@dataclass(frozen=True, slots=True)
class ConfigFinding:
    """Something wrong at ``loc``; ``message`` may say ``{there}`` for the place ``other``."""

    loc: Loc
    message: str
    other: Loc | None = None
    warning: bool = False


@dataclass(frozen=True)
class Checked:
    """What is checked: ``entries`` with their positions in the file.

    ``broken`` are places whose content did not pass the schema: not there, but not missing.
    """

    file: HostFile
    entries: Sequence[tuple[int, CertificateEntry]]
    broken: Collection[Loc] = ()

    def known(self, section: str) -> set[str]:
        """The names of a section's entries, of broken ones too."""
        names = set(getattr(self.file, section))
        return names | {str(loc[1]) for loc in self.broken if loc[0] == section and len(loc) > 1}

    def has(self, section: str, name: str) -> bool:
        """Whether ``name`` is in known(), without making a set for each of 10,000 questions."""
        return name in getattr(self.file, section) or (
            bool(self.broken) and name in self.known(section)
        )

    def watched(self) -> Iterator[tuple[int, WatchEntry]]:
        """The entries of ``watch`` with their positions in the file: broken ones are not in it."""
        out = {loc[1] for loc in self.broken if loc[0] == "watch" and len(loc) > 1}
        return zip((at for at in count() if at not in out), self.file.watch, strict=False)

    def sure(self, section: str) -> bool:
        """Whether all of a section is known."""
        return (section,) not in self.broken


def crosscheck(checked: Checked) -> Iterator[ConfigFinding]:
    """Everything wrong between the entries of a configuration."""
    yield from _defaults(checked)
    yield from _issuers(checked)
    yield from _references(checked)
    yield from _names(checked)
    yield from _keys(checked)
    yield from _paths(checked)
    yield from _stores(checked)
    yield from _deliveries(checked)
    yield from _mounted(checked)
    yield from _keyless(checked)
    yield from _copied(checked)
    yield from _listeners(checked)
    yield from _watches(checked)


def _defaults(checked: Checked) -> Iterator[ConfigFinding]:
    defaults = checked.file.defaults
    loc: Loc = ("defaults",)
    yield from _asked(checked, defaults.issuer or (), (*loc, "issuer"))
    if defaults.solver is not None:
        yield from refers(checked, "solvers", defaults.solver, (*loc, "solver"))
    yield from _uses(checked, defaults.targets, (*loc, "targets"))


def _issuers(checked: Checked) -> Iterator[ConfigFinding]:
    """Certificates without an issuer, and issuers without what they need."""
    issuers = checked.known("issuers")
    if not checked.entries or not checked.sure("issuers"):
        return
    if not issuers:
        yield ConfigFinding(("issuers",), "is required: certificates need an issuer")
    elif len(issuers) > 1 and not checked.file.defaults.issuer and checked.sure("defaults"):
        which = f"here or in defaults, because there are several: {', '.join(sorted(issuers))}"
        for index, entry in checked.entries:
            if entry.issuer is None:
                yield ConfigFinding(("certificates", index, "issuer"), f"is required {which}")
    if not checked.known("solvers") and checked.sure("solvers"):
        needing = (entry for _, entry in checked.entries if _publishes(checked, entry))
        acme = next(needing, None)
        if acme is not None:
            why = f"the certificate {acme.name} comes from an ACME issuer"
            yield ConfigFinding(("solvers",), f"is required, at least one solver: {why}")


def _references(checked: Checked) -> Iterator[ConfigFinding]:
    for index, entry in checked.entries:
        yield from _asked(checked, entry.issuer or (), ("certificates", index, "issuer"))
        if entry.solver is not None:
            yield from refers(checked, "solvers", entry.solver, ("certificates", index, "solver"))
        if entry.targets:
            yield from _uses(checked, entry.targets, ("certificates", index, "targets"))


def _asked(checked: Checked, names: Sequence[str], loc: Loc) -> Iterator[ConfigFinding]:
    """Issuers that no entry has, and two of one list that are the same CA."""
    first: dict[str, str] = {}
    for number, name in enumerate(names):
        place = (*loc, number) if len(names) > 1 else loc
        yield from refers(checked, "issuers", name, place)
        issuer = checked.file.issuers.get(name)
        if not isinstance(issuer, AcmeEntry):
            continue
        if (same := first.setdefault(issuer.directory, name)) != name:
            message = f"{shown(name)} is the same CA as {same}: list another CA after it"
            yield ConfigFinding(place, message)


def refers(checked: Checked, section: str, name: str, loc: Loc) -> Iterator[ConfigFinding]:
    """A name that no entry of ``section`` has."""
    if not checked.has(section, name) and checked.sure(section):
        there = suggestion(name, sorted(checked.known(section)))
        yield ConfigFinding(loc, f"there is no {section[:-1]} {shown(name)}, {there}")


def _uses(checked: Checked, uses: Sequence[UseEntry], loc: Loc) -> Iterator[ConfigFinding]:
    seen: set[str] = set()
    for position, use in enumerate(uses):
        yield from refers(checked, "targets", use.target, (*loc, position))
        if use.target in seen:
            yield ConfigFinding((*loc, position), f"{shown(use.target)} is in this list already")
        seen.add(use.target)


def _names(checked: Checked) -> Iterator[ConfigFinding]:
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


def _publishes(checked: Checked, entry: CertificateEntry) -> bool:
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
        if (named and solver is None) or not _publishes(checked, entry):
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


def _paths(checked: Checked) -> Iterator[ConfigFinding]:
    """Two files written at one path, and files written into certrotd's own folders."""
    own = (checked.file.state_dir, store_dir(checked.file))
    inside = tuple(f"{folder}/" for folder in own)
    first: dict[Path, Loc] = {}
    for loc, path, how in (*_written(checked), *_of_keys(checked)):
        other = first.setdefault(path, loc)
        if other != loc:
            message = f"{path} is also {how} by {{there}}: give each its own path"
            yield ConfigFinding(loc, message, other=other)
        # a KEK may be in them
        if loc[0] != "keks" and (path in own or str(path).startswith(inside)):
            message = f"{path} is inside certrotd's own folder: choose another"
            yield ConfigFinding(loc, message)


def _keys(checked: Checked) -> Iterator[ConfigFinding]:
    """Everything wrong between the entries of data keys, where there are any."""
    if type(checked.file) is not HostFile:
        from certrotd.config.crosscheck_keys import crosscheck_keys

        yield from crosscheck_keys(checked)


def _of_keys(checked: Checked) -> Iterator[tuple[Loc, Path, str]]:
    """As _written(), of data keys."""
    if type(checked.file) is not HostFile:
        from certrotd.config.crosscheck_keys import written

        yield from written(checked)


def _written(checked: Checked) -> Iterator[tuple[Loc, Path, str]]:
    """Every path that certrotd writes for others, with its place and how it is written."""
    for index, entry in checked.entries:
        for position, install in enumerate(entry.install):
            for kind, path in install.paths.items():
                yield ("certificates", index, "install", position, kind), path, "installed"


def _stores(checked: Checked) -> Iterator[ConfigFinding]:
    """Two certificates in one Secret."""
    first: dict[tuple[object, ...], Loc] = {}
    for index, entry in checked.entries:
        store = entry.store
        if store is None:
            continue
        loc: Loc = ("certificates", index, "store", "secret")
        place = store.kubeconfig, store.context, store.namespace, store.secret
        if (other := first.setdefault(place, loc)) != loc:
            message = f"{store.secret} is also the Secret of {{there}}: give each its own"
            yield ConfigFinding(loc, message, other=other)


def _deliveries(checked: Checked) -> Iterator[ConfigFinding]:
    """Deliveries to unknown hosts, and two of one name or into one directory."""
    names: dict[str, Loc] = {}
    places: dict[tuple[str, Path], Loc] = {}
    # two accounts of one host may have directories of their own at one path, by chroot
    accounts = {
        name: f"{each.user}@{str(each.address).lower()}"
        for name, each in checked.file.hosts.items()
    }
    for index, entry in checked.entries:
        for position, each in enumerate(entry.deliver):
            loc: Loc = ("certificates", index, "deliver", position)
            yield from refers(checked, "hosts", each.host, (*loc, "host"))
            name = delivery_name(entry.name, each)
            if not is_safe_name(name):
                long = f"is required: {shown(name)} has more than {MAX_NAME} characters"
                yield ConfigFinding((*loc, "name"), long)
            if (other := names.setdefault(name, loc)) != loc:
                message = f"{shown(name)} is also the delivery in {{there}}: give each its own name"
                yield ConfigFinding((*loc, "name"), message, other=other)
            place = accounts.get(each.host, each.host), each.directory
            if (other := places.setdefault(place, loc)) != loc:
                message = f"{each.directory} of {each.host} is also that of {{there}}: "
                message += "give each delivery its own"
                yield ConfigFinding((*loc, "directory"), message, other=other)


def _mounted(checked: Checked) -> Iterator[ConfigFinding]:
    """What a certificate's store must be for targets that look for, or change, who uses it."""
    everything = checked.file.targets.items()
    targets = {name: each for name, each in everything if isinstance(each, KubernetesEntry)}
    mounting = {name for name, each in targets.items() if each.mounting}
    versioned = {name for name, each in targets.items() if each.versioned}
    for index, entry in checked.entries if mounting or versioned else ():
        uses = checked.file.defaults.targets if entry.targets is None else entry.targets
        loc: Loc = ("certificates", index, "store")
        for name in (use.target for use in uses):
            if entry.store is None and name in mounting | versioned:
                what = "secret: versioned" if name in versioned else "mounting"
                why = f"the target {shown(name)} has {what}, which is about its Secret"
                yield ConfigFinding(loc, f"is required: {why}")
            elif entry.store is not None and entry.store.keys and name in versioned:
                message = (
                    f"must be left out: the target {shown(name)} has secret: versioned, and the "
                    "Secret of a generation has tls.crt and tls.key alone"
                )
                yield ConfigFinding((*loc, "keys"), message)


def _keyless(checked: Checked) -> Iterator[ConfigFinding]:
    """Certificates whose key is elsewhere, for services that would be given it."""
    for index, entry in checked.entries:
        if entry.csr is None:
            continue
        uses = checked.file.defaults.targets if entry.targets is None else entry.targets
        for name in (use.target for use in uses):
            target = checked.file.targets.get(name)
            if target is not None and not target.keyless:
                message = (
                    f"the target {shown(name)} of type {target.type} serves a key that certrotd "
                    "does not have with csr: use a target of type command, systemd, signal, http "
                    "or none"
                )
                yield ConfigFinding(("certificates", index, "targets"), message)


def _copied(checked: Checked) -> Iterator[ConfigFinding]:
    """Certificates that one target writes into the same folder of a container."""
    everything = checked.file.targets.items()
    copies = {name: each.copy_to for name, each in everything if isinstance(each, DockerEntry)}
    alone = {name for name, copy in copies.items() if copy and not copy.separate}
    first: dict[str, Loc] = {}
    for index, entry in checked.entries if alone else ():
        uses = checked.file.defaults.targets if entry.targets is None else entry.targets
        loc: Loc = ("certificates", index, "targets")
        for name in (use.target for use in uses if use.target in alone):
            if (other := first.setdefault(name, loc)) != loc:
                message = (
                    f"{shown(name)} would write this certificate over that of {{there}}: have "
                    "{certificate} in the folder of its copy_to"
                )
                yield ConfigFinding(loc, message, other=other)


def _listeners(checked: Checked) -> Iterator[ConfigFinding]:
    first: dict[Address, Loc] = {}
    http = checked.file.http
    if http is not None and isinstance(http.listen, Address):
        first[http.listen] = ("http", "listen")
        if http.remote:
            message = (
                f"anybody who reaches {http.listen} sees every certificate: put a proxy with TLS "
                "and a password in front"
            )
            yield ConfigFinding(("http", "listen"), message, warning=True)
    for name, solver in checked.file.solvers.items():
        if not isinstance(solver, ResponderEntry):
            continue
        for position, address in enumerate(solver.listen):
            loc: Loc = ("solvers", name, "listen", position)
            # With port 0 the system chooses a free one for each.
            if address.port and (other := first.setdefault(address, loc)) != loc:
                message = f"{address} is also used by {{there}}: give each its own address"
                yield ConfigFinding(loc, message, other=other)


def _watches(checked: Checked) -> Iterator[ConfigFinding]:
    """Endpoints of certificates that are not there, and endpoints that are there twice."""
    names = {entry.name for _, entry in checked.entries} if checked.file.watch else set()
    sure = all(loc[0] != "certificates" for loc in checked.broken)
    first: dict[tuple[object, ...], Loc] = {}
    for index, watch in checked.watched():
        if watch.certificate is not None and watch.certificate not in names and sure:
            there = suggestion(watch.certificate, sorted(names))
            loc: Loc = ("watch", index, "certificate")
            yield ConfigFinding(loc, f"there is no certificate {shown(watch.certificate)}, {there}")
        loc = ("watch", index)
        other = first.setdefault((watch.address, watch.asked), loc)
        if other != loc:
            message = f"{watch.address} is also watched with that name in {{there}}: keep one"
            yield ConfigFinding(loc, message, other=other)
