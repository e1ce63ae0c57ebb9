"""From what a person has chosen to a commented configuration: pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from certrotd.config.commented import Path, commented
from certrotd.config.hostfile import HostFile
from certrotd.errors import UsageError
from certrotd.setup.catalogue import AUTHORITIES, CHALLENGES, SERVICES, SOLVERS, Question

Answer = str | list[str] | dict[str, str]


@dataclass(frozen=True)
class Choices:
    """Everything that a first configuration says; options are by their paths.

    ``authority`` is a name of the catalogue, ``internal``, or the URL of a directory. ``solver``
    may be a challenge that needs none. A secret is a reference, as in the configuration.
    ``probes`` None means those of the service.
    """

    domains: Sequence[str]
    name: str
    authority: str = "letsencrypt"
    production: bool = False
    contact: Sequence[str] = ()
    agreed: bool = False
    binding: Mapping[str, Answer] = field(default_factory=dict)
    ca_bundle: str | None = None
    solver: str | None = None
    solving: Mapping[str, Answer] = field(default_factory=dict)
    service: str = "none"
    serving: Mapping[str, Answer] = field(default_factory=dict)
    probes: Sequence[str] | None = None
    state_dir: str | None = None


def read_answer(text: str, question: Question) -> Answer:
    """What is typed as a value of the configuration; raises UsageError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"what is given for {question.path} is not text in UTF-8") from None
    if question.form == "list":
        return [each for each in text.replace(",", " ").split() if each]
    if question.form != "words":
        return text
    try:
        return shlex.split(text)
    except ValueError:
        raise UsageError(f"{question.path} has a quotation that does not end") from None


def flaw(path: Path, value: object) -> str | None:
    """What the schema says of one value, at its path in the configuration; None if it is fine.

    What else is missing is not looked at. Types of solvers and targets are the entries' names.
    """
    from certrotd.config.explain import explain

    told: Any = value
    for key in reversed(path[2:]):
        told = {key: told}
    if path[0] in ("solvers", "targets", "issuers"):
        told = {path[1]: {"type": path[1], **told}}
    elif path[0] == "certificates":
        told = [told]
    try:
        HostFile.model_validate({path[0]: told})
    except ValidationError as error:
        for fault in explain(error):
            if fault.loc[: len(path)] == path:
                return fault.message
    return None


def nested(options: Mapping[str, Answer]) -> dict[str, Any]:
    """Options by paths such as ``tsig.name`` as mappings in each other."""
    found: dict[str, Any] = {}
    for path, value in options.items():
        *above, last = path.split(".")
        place = found
        for each in above:
            place = place.setdefault(each, {})
        place[last] = value
    return found


def configuration(chosen: Choices) -> tuple[dict[str, Any], dict[Path, str]]:
    """The configuration, and the comments to its entries."""
    data: dict[str, Any] = {}
    notes: dict[Path, str] = {}
    if chosen.state_dir is not None:
        data["state_dir"] = chosen.state_dir
        notes["state_dir",] = "Journals, history, accounts and, below certificates/, the files."
    issuer = issuer_name(chosen.authority)
    data["issuers"] = {issuer: _issuer(chosen, notes)}
    notes["issuers",] = "Who issues certificates."
    if chosen.solver is not None and chosen.solver not in CHALLENGES:
        data["solvers"] = {chosen.solver: {"type": chosen.solver, **nested(chosen.solving)}}
        notes["solvers",] = (
            "Who proves to the CA that the names are yours, by DNS records (DNS-01). docs/dns.md "
            "has recipes with the fewest rights. Secrets are only named here."
        )
        title = SOLVERS[chosen.solver].title
        notes["solvers", chosen.solver] = f"{title[0].upper()}{title[1:]}."
    entry: dict[str, Any] = {"name": chosen.name, "names": list(chosen.domains)}
    notes["certificates", 0, "names"] = "Wildcards, too; the first one leads in reports."
    if chosen.solver in CHALLENGES:
        entry["challenge"] = chosen.solver
        notes["certificates", 0, "challenge"] = (
            "certrotd dns persist-record prints the TXT record to set, once for each account at a "
            "CA: that of a staging CA is another one. docs/dns.md says more."
        )
    if copies := SERVICES[chosen.service].copies:
        entry["install"] = [dict(copies)]
        notes["certificates", 0, "install"] = (
            "Copies for a service that takes no others; the directory must be there."
        )
    if chosen.service != "none" or chosen.probes:
        target = chosen.service if chosen.service != "none" else "service"
        data["targets"] = {target: _target(chosen, target, notes)}
        entry["targets"] = [target]
    data["certificates"] = [entry]
    notes["certificates",] = (
        "What is issued, renewed in time, and handed to the targets. Add others below this one."
    )
    notes["certificates", 0, ""] = (
        "install: copies at other paths, owners and modes. window: when services may be reloaded."
    )
    return data, notes


def issuer_name(authority: str) -> str:
    """What the issuer is called in the configuration."""
    return "ca" if "://" in authority else authority


def text_of(chosen: Choices) -> str:
    """The file."""
    data, notes = configuration(chosen)
    head = (
        "Configuration of certrotd. config.example.yaml explains every option; after a change run\n"
        "certrotd config check. Further files may be in conf.d/ beside this one."
    )
    return commented(data, notes, head=head)


def _issuer(chosen: Choices, notes: dict[Path, str]) -> dict[str, Any]:
    name = issuer_name(chosen.authority)
    at: Path = ("issuers", name)
    if chosen.authority == "internal":
        notes[at] = (
            "A private CA inside certrotd: clients must trust internal/internal/root.pem in the "
            "state directory."
        )
        return {"type": "internal"}
    known = AUTHORITIES.get(chosen.authority)
    told: dict[str, Any] = {"type": "acme"}
    if known is None:
        told["directory"] = chosen.authority
    elif known.staging is None or chosen.production:
        told["directory"] = known.production
    else:
        told["directory"] = known.staging
        notes[*at, "directory"] = (
            f"The staging CA of {known.title}: clients do not trust its certificates, and its "
            f"limits are wide. Production: {known.production}\n"
            "(write that here, or run: certrotd init --production)"
        )
    if chosen.contact:
        told["contact"] = list(chosen.contact)
    if chosen.agreed:
        told["agree_to_terms"] = True
    if chosen.binding:
        told["eab"] = nested(chosen.binding)
        notes[*at, "eab"] = "The customer's account at the CA."
    if chosen.ca_bundle is not None:
        told["ca_bundle"] = chosen.ca_bundle
    return told


def _target(chosen: Choices, name: str, notes: dict[Path, str]) -> dict[str, Any]:
    service = SERVICES[chosen.service]
    told: dict[str, Any] = {"type": chosen.service, **nested(chosen.serving)}
    notes["targets",] = "What uses the certificates, and where it proves to serve them."
    probes = [service.probe] if chosen.probes is None and service.probe else chosen.probes
    if probes:
        told["probe"] = [{"address": each, **service.proof} for each in probes]
        notes["targets", name, "probe"] = (
            "Handshakes there must show the new certificate, or the rotation is undone."
        )
    elif chosen.service == "docker" and chosen.probes is None:
        told["container_probe"] = [{"port": 443}]
        notes["targets", name, "container_probe"] = (
            "Handshakes with each container must show the new certificate, or it is undone."
        )
    return told
