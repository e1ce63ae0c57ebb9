"""The configuration of certrotd that goes on with what another client kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from certrotd.config.base import MAX_NAME
from certrotd.config.certificates import CertificateEntry
from certrotd.config.commented import commented
from certrotd.config.issuers import AcmeEntry, IssuerEntry, KeyTypeName
from certrotd.config.solvers import SolverEntry
from certrotd.config.targets import TargetEntry
from certrotd.errors import one_line
from certrotd.importing.cas import name_of
from certrotd.importing.found import (
    Fate,
    FoundAccount,
    FoundCertificate,
    Hook,
    Installation,
    Row,
    Solver,
)
from certrotd.importing.hooks import target_of
from certrotd.pki.keys import key_type_of

Place = tuple[str | int, ...]
STATE_DIR = Path("/var/lib/certrotd")
SECRETS = "secrets"
_PROBE = "Add probe: [{address: HOST:443}], so that certrotd proves what it serves."


@dataclass(frozen=True)
class Planned:
    """A certificate of the configuration, or one that stays with its client (``why`` says so)."""

    name: str
    names: tuple[str, ...]
    not_after: datetime
    issuer: str
    solver: str
    why: str = ""


@dataclass
class Plan:
    """What is to be written: ``secrets`` by file name, ``accounts`` by issuer."""

    document: str = ""
    secrets: dict[str, bytes] = field(default_factory=dict, repr=False)
    accounts: dict[str, FoundAccount] = field(default_factory=dict)
    certificates: list[Planned] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def plan(
    found: Installation,
    folder: Path,
    *,
    now: datetime,
    state_dir: Path = STATE_DIR,
    ca_bundle: Path | None = None,
) -> Plan:
    """The configuration for ``folder``, and a row for everything that was found."""
    return _Planning(found, folder, now, state_dir, ca_bundle).result()


class _Planning:
    """Collects the sections, each entry once."""

    def __init__(
        self,
        found: Installation,
        folder: Path,
        now: datetime,
        state_dir: Path,
        ca_bundle: Path | None,
    ) -> None:
        self._found = found
        self._folder = folder
        self._now = now
        self._state_dir = state_dir
        self._ca_bundle = ca_bundle
        self._issuers = _Section("issuers", IssuerEntry)
        self._solvers = _Section("solvers", SolverEntry)
        self._targets = _Section("targets", TargetEntry)
        self._certificates: list[dict[str, Any]] = []
        self._notes: dict[Place, str] = {}
        self._left: list[str] = []
        self._names: set[str] = set()
        self._paths: dict[Path, str] = {}
        self._plan = Plan(rows=list(found.rows))
        self._said = set(found.rows)

    def result(self) -> Plan:
        for each in self._found.certificates:
            self._add(each)
        document: dict[str, Any] = {}
        if self._state_dir != STATE_DIR:
            document["state_dir"] = str(self._state_dir)
        for section in (self._issuers, self._solvers, self._targets):
            if section.entries:
                document[section.name] = section.entries
                self._notes |= section.notes
        document["certificates"] = self._certificates
        if self._left:
            self._notes["certificates",] = "\n".join(self._left)
        source = one_line(f"{self._found.client} at {self._found.path}")
        head = (
            f"Written by certrotd import on {self._now:%Y-%m-%d}, from {source}.\n"
            "config.example.yaml has every option; docs/moving-in.md says what to do next."
        )
        self._plan.document = commented(document, self._notes, head=head)
        self._say_accounts()
        return self._plan

    def _add(self, each: FoundCertificate) -> None:
        name = _unique(_safe(each.name), self._names)
        self._names.add(name)
        issuer, why_issuer = self._issuer(each)
        solver, why_solver = self._solver(each.solver)
        why = each.stays or why_issuer or why_solver or self._taken(each)
        targets, notes = ([], []) if why else self._use(each)
        entry = self._entry(each, name, issuer, solver, targets)
        why = why or refused(CertificateEntry, entry)
        facts = each.pair.facts
        self._plan.certificates.append(
            Planned(name, facts.names, facts.not_after, issuer, solver, why)
        )
        if why:
            self._say(each.where, f"certificate {name}", Fate.STAYS, why)
            self._leave(each, entry, why)
            return
        self._paths |= dict.fromkeys(each.pair.read.values(), name)
        until = f"valid until {facts.not_after:%Y-%m-%d}"
        self._say(
            each.where, f"certificate {name}", Fate.TAKEN, f"{', '.join(facts.names)}; {until}"
        )
        at: Place = ("certificates", len(self._certificates))
        self._notes[*at, "names"] = one_line(f"From {each.where}, {until}. {' '.join(notes)}")
        self._notes[*at, "adopt", "privkey"] = "The pair to begin with: nothing is ordered for it."
        self._notes[*at, "install"] = "Services go on reading these paths; certrotd keeps them "
        self._notes[*at, "install"] += "current."
        if each.pair.modes:
            self._notes[*at, "install", 0, next(iter(each.pair.modes))] = "As they were."
        self._certificates.append(entry)

    def _leave(self, each: FoundCertificate, entry: dict[str, Any], why: str) -> None:
        """Write the entry as a comment: another client goes on with the certificate."""
        self._left.append(one_line(f"{each.where} stays with {self._found.client}: {why}"))
        shown = commented({"certificates": [entry]}, {}).splitlines()[1:]
        self._left += [one_line(line) for line in shown]

    def _entry(
        self,
        each: FoundCertificate,
        name: str,
        issuer: str,
        solver: str,
        targets: Sequence[str],
    ) -> dict[str, Any]:
        pair = each.pair
        entry: dict[str, Any] = {"name": name, "names": list(pair.facts.names)}
        entry |= {"issuer": issuer} if issuer else {}
        entry |= {"solver": solver} if solver else {}
        entry |= self._key(each, name) | {k: v for k, v in each.options.items() if k != "key"}
        adopt = {"privkey": str(pair.privkey)}
        adopt |= {"cert" if pair.chain else "fullchain": str(pair.certificate)}
        adopt |= {"chain": str(pair.chain)} if pair.chain else {}
        entry["adopt"] = adopt
        copies = {kind: str(path) for kind, path in pair.read.items()}
        entry["install"] = [{**copies, **pair.modes}]
        if targets:
            entry["targets"] = list(targets)
        return entry

    def _key(self, each: FoundCertificate, name: str) -> dict[str, Any]:
        kind, reuse = each.pair.facts.key_type, each.options.get("key", {})
        if kind not in get_args(KeyTypeName):
            note = f"certrotd makes no {kind}: it renews {name} at once with another key"
            self._say(each.where, "key", Fate.BY_HAND, note)
            return {}
        return {"key": {"type": kind, **reuse} if reuse else kind}

    def _issuer(self, each: FoundCertificate) -> tuple[str, str]:
        """The issuer's name, and why there can be none."""
        account = each.account
        entry: dict[str, Any] = {"type": "acme", "directory": each.directory}
        comment = "" if account is None else f"With the account of {account.where}."
        if account is not None and account.contact:
            given = {**entry, "contact": list(account.contact)}
            if why := refused(IssuerEntry, given):
                self._say(account.where, "contact", Fate.PROBLEM, why)
            else:
                entry = given
        entry |= {"agree_to_terms": True, **_account_key(account), **each.issuer}
        if self._ca_bundle is not None:
            entry["ca_bundle"] = str(self._ca_bundle)
        identity = each.directory, account.where if account else "", tuple(each.issuer.items())
        name, why = self._issuers.add(_safe(name_of(each.directory)), identity, entry, comment)
        if account is not None and not why:
            self._plan.accounts[name] = account
        return name, why

    def _solver(self, solver: Solver | None) -> tuple[str, str]:
        if solver is None:
            return "", ""
        identity = repr(solver.options), tuple(sorted(solver.secrets.items()))
        name = self._solvers.name_for(solver.name, identity)
        entry = _copied(solver.options)
        files = {}
        for option, value in solver.secrets.items():
            *within, last = option.split(".")
            at = entry
            for each in within:
                at = at.setdefault(each, {})
            file = f"{name}.{last}"
            at[last] = {"file": str(self._folder / SECRETS / file)}
            files[file] = value
        name, why = self._solvers.add(solver.name, identity, entry, "")
        if not why:
            self._plan.secrets |= files
        return name, why

    def _use(self, each: FoundCertificate) -> tuple[list[str], list[str]]:
        """The targets of a certificate, and comments on what no target can do."""
        targets: list[str] = []
        notes: list[str] = []
        for hook in each.hooks:
            name, why = self._target(each, hook)
            if why:
                self._say(hook.where, "deploy hook", Fate.BY_HAND, why)
                notes.append(f"Not taken over: the hook of {hook.where}: {why}")
            elif name not in targets:
                self._say(hook.where, "deploy hook", Fate.TAKEN, f"target {name}")
                targets.append(name)
        if not each.hooks:
            self._say(each.where, "reload", Fate.BY_HAND, "no command is kept: add a target")
            notes.append("Nothing reloads a service after a renewal: add targets.")
        return targets, notes

    def _target(self, each: FoundCertificate, hook: Hook) -> tuple[str, str]:
        name, entry = target_of(hook)
        if not entry:
            return "", "it is not one line of at most 1,000 characters: put it into a program"
        wanted = _safe(name if name != "hook" else f"hook-{each.name}")
        return self._targets.add(wanted, repr(entry), dict(entry), _PROBE)

    def _taken(self, each: FoundCertificate) -> str:
        """Why the files that services read cannot be kept current for it."""
        for path in each.pair.read.values():
            if path in self._paths:
                return f"{path} is also a path of {self._paths[path]}"
        return ""

    def _say_accounts(self) -> None:
        for name, account in self._plan.accounts.items():
            self._say(account.where, "account", Fate.TAKEN, f"account of the issuer {name}")
        known = {account.where for account in self._plan.accounts.values()}
        for account in self._found.accounts:
            if account.where not in known:
                self._say(account.where, "account", Fate.UNNEEDED, "no certificate needs it")

    def _say(self, where: str, what: str, fate: Fate, note: str) -> None:
        row = Row(where, what, fate, note)
        if row not in self._said:
            self._said.add(row)
            self._plan.rows.append(row)


class _Section:
    """Entries of one section of the configuration, each made once and checked by its schema."""

    def __init__(self, name: str, schema: Any) -> None:
        self.name = name
        self.entries: dict[str, Mapping[str, Any]] = {}
        self.notes: dict[Place, str] = {}
        self._schema = schema
        self._names: dict[object, str] = {}

    def name_for(self, wanted: str, identity: object) -> str:
        """The name of the entry of that identity, be it there or not."""
        return self._names.get(identity) or _unique(wanted, set(self.entries))

    def add(
        self, wanted: str, identity: object, entry: Mapping[str, Any], comment: str
    ) -> tuple[str, str]:
        """The entry's name, and why the schema refuses it."""
        if identity in self._names:
            return self._names[identity], ""
        if why := refused(self._schema, entry):
            return "", why
        name = self.name_for(wanted, identity)
        self._names[identity] = name
        self.entries[name] = entry
        if comment:
            self.notes[self.name, name] = one_line(comment)
        return name, ""


def _account_key(account: FoundAccount | None) -> dict[str, str]:
    """The type of its key where that is not the default, which config check would ask for."""
    kind = "" if account is None else key_type_of(account.key.public_key())
    usual = AcmeEntry.model_fields["account_key"].default
    return {"account_key": kind} if kind in get_args(KeyTypeName) and kind != usual else {}


def refused(schema: Any, entry: Mapping[str, Any]) -> str:
    """Why an entry is none of the configuration's, as its schema has it; "" if it is one."""
    if not all(text.isprintable() for text in _texts(entry)):
        return "it has control characters"
    try:
        _adapter(schema).validate_python(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        at = ".".join(str(each) for each in first["loc"] if not str(each).startswith("~"))
        return f"{at}: {first['msg']}" if at else first["msg"]
    return ""


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for each in value.items() for part in each for text in _texts(part))
    elif isinstance(value, Sequence):
        yield from (text for each in value for text in _texts(each))


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in options.items()}


def _safe(text: str) -> str:
    """A name as the configuration takes it; one that can name no file outside of a folder."""
    plain = re.sub(r"^(\*|_)\.", "wildcard.", text.lower())
    plain = re.sub(r"[^a-z0-9_.-]+", "-", plain)
    plain = re.sub(r"\.{2,}", ".", plain).strip("._-")
    return plain[: MAX_NAME - 4].rstrip(".") or "certificate"


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
