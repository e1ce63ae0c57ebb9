"""What no single entry can tell: references that lead nowhere, and entries that collide."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from certrotd.address import Address
from certrotd.config.base import MAX_NAME, Loc, is_safe_name, shown
from certrotd.config.certificates import UseEntry
from certrotd.config.checked import Checked, ConfigFinding, refers
from certrotd.config.crosscheck_names import crosscheck_names, publishes
from certrotd.config.docker import DockerEntry
from certrotd.config.hostfile import HostFile
from certrotd.config.hosts import delivery_name
from certrotd.config.issuers import AcmeEntry
from certrotd.config.model import store_dir
from certrotd.config.nearest import suggestion
from certrotd.config.solvers import ResponderEntry
from certrotd.config.targets import KubernetesEntry


def crosscheck(checked: Checked) -> Iterator[ConfigFinding]:
    """Everything wrong between the entries of a configuration."""
    yield from _defaults(checked)
    yield from _issuers(checked)
    yield from _references(checked)
    yield from crosscheck_names(checked)
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
        needing = (entry for _, entry in checked.entries if publishes(checked, entry))
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


def _uses(checked: Checked, uses: Sequence[UseEntry], loc: Loc) -> Iterator[ConfigFinding]:
    seen: set[str] = set()
    for position, use in enumerate(uses):
        yield from refers(checked, "targets", use.target, (*loc, position))
        if use.target in seen:
            yield ConfigFinding((*loc, position), f"{shown(use.target)} is in this list already")
        seen.add(use.target)


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
