"""``certrotd init``: a first configuration from options, and from answers on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certrotd.cli.asking import Answers, Asker
from certrotd.cli.output import say
from certrotd.config.hostfile import HostFile
from certrotd.errors import ConfigInvalid, UsageError
from certrotd.setup.catalogue import (
    AUTHORITIES,
    CHALLENGES,
    ELSEWHERE,
    SERVICES,
    SOLVERS,
    Question,
)
from certrotd.setup.compose import Answer, Choices, flaw, issuer_name, text_of
from certrotd.setup.place import refuse_place, to_production, write_first
from certrotd.setup.surroundings import Surroundings, look


@dataclass(frozen=True)
class Asked:
    """The options of the command, as they were given; lists are ``NAME=VALUE``."""

    domains: Sequence[str] = ()
    name: str | None = None
    ca: str | None = None
    production: bool = False
    email: str | None = None
    agree: bool = False
    eab_key_id: str | None = None
    ca_bundle: Path | None = None
    solver: str | None = None
    solver_set: Sequence[str] = ()
    secret_files: Sequence[str] = ()
    service: str | None = None
    service_set: Sequence[str] = ()
    probes: Sequence[str] = ()
    state_dir: Path | None = None


def init(config: Path, asked: Asked, *, ask: bool) -> int:
    """Carry out ``certrotd init``; the exit code. With ``ask`` a person answers on a terminal."""
    config = config.absolute()
    if asked.production and config.exists():
        return _switch(config)
    refuse_place(config)
    found = look()
    asker = Asker(ask=ask, beside=config.parent)
    if ask:
        say("certrotd init asks what it needs; Enter takes what is in brackets.")
        if told := found.told():
            say(f"Found on this host: {told}.")
    chosen = _chosen(asker, asked, found)
    asker.finish()
    try:
        warnings = write_first(config, text_of(chosen), asker.typed)
    except ConfigInvalid:
        say("nothing was written, for what was chosen would not pass config check:")
        raise
    for place in asker.typed:
        say(f"wrote {place}")
    say(f"wrote {config}")
    for warning in warnings:
        say(f"{warning} (warning)")
    _say_next(config, chosen)
    return 0


def _switch(config: Path) -> int:
    staging, production = to_production(config)
    say(f"{config}: the issuer's directory is {production} now, and was {staging}")
    say("certificates of the staging CA stay until you run: certrotd rotate --all --force")
    return 0


def _chosen(asker: Asker, asked: Asked, found: Surroundings) -> Choices:
    domains = asker.many(
        Question("names", "Domain names, with commas; *.example.com is a wildcard", form="list"),
        ("certificates", 0, "names"),
        "--domain",
        list(asked.domains),
    )
    first = domains[0].removeprefix("*.") if domains else ""
    name = asker.one(
        Question("name", "Name of the certificate", first.replace(":", "-"), needed=False),
        ("certificates", 0, "name"),
        "--name",
        asked.name,
    )
    authority, contact, agreed, binding = _authority(asker, asked)
    secrets = Answers(_pairs(asked.secret_files, "--secret-file"))
    solver, solving = _solver(asker, asked, authority, binding, domains, secrets)
    service, serving, probes = _service(asker, asked, found, secrets)
    secrets.refuse_rest("--secret-file", f"{solver or 'no solver'} with {service or 'no service'}")
    return Choices(
        domains=domains,
        name=name,
        authority=authority,
        production=asked.production,
        contact=contact,
        agreed=agreed,
        binding=binding or {},
        ca_bundle=None if asked.ca_bundle is None else str(asked.ca_bundle.absolute()),
        solver=solver,
        solving=solving,
        service=service or "none",
        serving=serving,
        probes=probes,
        state_dir=None if asked.state_dir is None else str(asked.state_dir.absolute()),
    )


def _authority(
    asker: Asker, asked: Asked
) -> tuple[str, Sequence[str], bool, dict[str, Answer] | None]:
    kinds = {
        each: f"{known.title}{', at first its staging CA' if known.staging else ''}"
        for each, known in AUTHORITIES.items()
    }
    kinds["internal"] = "a private CA inside certrotd, which clients must be given"
    given = asked.ca
    if given is None or "://" not in given:
        given = asker.choice(
            "Who issues (or the URL of an ACME directory)", "--ca", kinds, given, "letsencrypt"
        )
    authority = given
    if authority == "internal":
        return authority, (), False, None
    place = ("issuers", "acme")
    if "://" in authority and (wrong := flaw((*place, "directory"), authority)):
        raise UsageError(f"--ca {wrong}")
    mail = Question("contact", "E-mail address for the CA's warnings", form="list", needed=False)
    contact = asker.many(mail, (*place, "contact"), "--email", [asked.email] if asked.email else [])
    agreed = asker.agreement("Do you agree to the CA's terms of service", asked.agree)
    known = AUTHORITIES.get(authority)
    if asked.eab_key_id is None and not (known and known.binding):
        return authority, contact, agreed, None
    key_id = Question("key_id", "Key id of the customer's account (EAB)")
    named = asker.one(key_id, (*place, "eab", "key_id"), "--eab-key-id", asked.eab_key_id)
    return authority, contact, agreed, {"key_id": named}


def _solver(
    asker: Asker,
    asked: Asked,
    authority: str,
    binding: dict[str, Answer] | None,
    domains: Sequence[str],
    secrets: Answers,
) -> tuple[str | None, Mapping[str, Answer]]:
    """Who proves the names, and its options; the key of ``binding`` is a secret as theirs."""
    solver, solving = None, Answers()
    given = Answers(_pairs(asked.solver_set, "--solver-set"))
    if binding is not None:
        key = Question("key", "the HMAC key of the customer's account (EAB)", form="secret")
        place = ("issuers", issuer_name(authority), "eab", "key")
        asker.secret(key, place, "eab.key", secrets, binding)
    if authority != "internal":
        kinds = {each: kind.title for each, kind in [*SOLVERS.items(), *CHALLENGES.items()]}
        solver = asker.choice("How the names are proven", "--solver", kinds, asked.solver, None)
    if solver and solver in SOLVERS:
        _options(asker, "solver", solver, (given, secrets), solving, _zones(domains))
    given.refuse_rest("--solver-set", solver or "no solver")
    return solver or None, solving


def _service(
    asker: Asker, asked: Asked, found: Surroundings, secrets: Answers
) -> tuple[str, Mapping[str, Answer], Sequence[str] | None]:
    kinds = {each: kind.title for each, kind in [*SERVICES.items(), *ELSEWHERE.items()]}
    service = asker.choice(
        "What uses the certificate", "--service", kinds, asked.service, found.service
    )
    serving = Answers()
    given = Answers(_pairs(asked.service_set, "--service-set"))
    if service in ELSEWHERE:
        raise UsageError(
            f"{service} is configured by the Helm chart; init configures a host",
            hint="deploy/helm/certrotd/README.md, docs/kubernetes.md",
        )
    if not service:
        return "", serving, None
    unit = found.running.get(service)
    if service == "nginx" and unit and not {"reload", "unit"} & given.keys():
        serving |= {"reload": "systemctl", "unit": unit}
    _options(asker, "service", service, (given, secrets), serving, {})
    given.refuse_rest("--service-set", service)
    if list(asked.probes) == ["none"]:
        return service, serving, ()
    known = "none" if service == "none" else SERVICES[service].probe
    if known is None and not asked.probes:
        return service, serving, None
    place = ("targets", "command", "probe")  # the same for every type
    where = Question("probe", "Where it serves TLS, or none", known or "", form="list")
    probes = asker.many(where, place, "--probe", list(asked.probes), shape=_probe)
    return service, serving, () if probes == ["none"] else probes


def _probe(addresses: Answer) -> object:
    return [] if addresses == ["none"] else [{"address": each} for each in addresses]


def _options(
    asker: Asker,
    what: str,
    name: str,
    given: tuple[Answers, Answers],
    into: dict[str, Answer],
    defaults: Mapping[str, str],
) -> None:
    """What a solver or a service is asked; ``given`` are its options and files of secrets."""
    kind = SOLVERS[name] if what == "solver" else SERVICES[name]
    section = "solvers" if what == "solver" else "targets"
    options, secrets = given
    for question in kind.questions:
        place = (section, name, *question.path.split("."))
        if question.unless in options and question.path not in options:
            continue
        if question.form == "secret":
            # a solver and a service may have an option of the same name
            path = question.path if what == "solver" else f"{name}.{question.path}"
            asker.secret(question, place, path, secrets, into)
        elif question.needed or question.path in options or what == "solver":
            flag = f"--{what}-set {question.path}=…"
            text = options.pop(question.path, None)
            default = defaults.get(question.path, question.default)
            if answer := asker.option(question, place, flag, text, default):
                into[question.path] = answer
    if name == "lexicon":
        _lexicon(asker, options, secrets, into)


def _lexicon(asker: Asker, options: Answers, secrets: Answers, into: dict[str, Answer]) -> None:
    """The options that its provider has, which nobody but dns-lexicon knows."""
    named = [each for each in secrets if each.startswith("options.")]
    if asker.asks and not named and not any(each.startswith("options.") for each in options):
        words = "Its options that are secrets, such as auth_token (see docs/dns.md)"
        question = Question("options", words, form="list", needed=False)
        told = asker.option(question, ("defaults",), "", None, "")
        named = [f"options.{each}" for each in told]
    for path in named:
        secret = Question(path, f"the value of {path.partition('.')[2]}", form="secret")
        asker.secret(secret, ("solvers", "lexicon", *path.split(".", 1)), path, secrets, into)
    for path in [each for each in options if each.startswith("options.")]:
        into[path] = options.pop(path)


def _zones(domains: Sequence[str]) -> Mapping[str, str]:
    """What the responder is delegated, unless somebody says otherwise."""
    bases = dict.fromkeys(each.removeprefix("*.") for each in domains)
    return {"zones": ",".join(f"_acme-challenge.{each}" for each in bases)}


def _pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise UsageError(f"{flag} takes NAME=VALUE")
        found[name] = value
    return found


def _say_next(config: Path, chosen: Choices) -> None:
    state = chosen.state_dir or str(HostFile.model_fields["state_dir"].default)
    directory = f"{state}/certificates/{chosen.name}"
    service = SERVICES[chosen.service]
    say(f"Then, {service.use.format(live=f'{directory}/live', directory=directory)}")
    program, name = "certrotd", shlex.quote(chosen.name)
    if config != Path("/etc/certrotd/config.yaml"):
        program = f"certrotd -c {shlex.quote(str(config))}"
    say("Next:")
    if chosen.solver in CHALLENGES:
        say(f"  {program} dns persist-record {name}  # prints the TXT record to set")
    say(f"  {program} config check")
    say(f"  {program} rotate {name} --dry-run")
    say(f"and without --dry-run: {program} rotate {name}; from then on: {program} run")
    known = AUTHORITIES.get(issuer_name(chosen.authority))
    if known and known.staging and not chosen.production:
        say(
            f"This is a staging CA. Once it works: {program} init --production, and "
            f"{program} rotate {name} --force"
        )
