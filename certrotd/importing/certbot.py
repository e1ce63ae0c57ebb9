"""certbot's configuration directory: renewal configurations, lineages, accounts and hooks."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from certrotd.acme.account_keys import account_key
from certrotd.config.durations import parse as span
from certrotd.errors import Failure, InvalidInput
from certrotd.importing import providers
from certrotd.importing.cas import host_of
from certrotd.importing.found import (
    AtLine,
    Fate,
    FoundAccount,
    FoundCertificate,
    Hook,
    Installation,
    Pair,
    Solver,
)
from certrotd.importing.pairs import examined
from certrotd.importing.reading import Reader
from certrotd.importing.settings import Settings, read_ini, without

SHAPES = ("privkey", "cert", "chain", "fullchain")
_UNREAD = "it cannot be read and is skipped"
_ACCOUNT = re.compile(r"[0-9a-f]{1,64}")
_DEPLOY = ("deploy_hook", "renew_hook")
_WEB = ("webroot", "standalone", "nginx", "apache", "manual")
_KNOWN = {
    *("account", "server", "authenticator", "installer", "key_type", "rsa_key_size", *_DEPLOY),
    *("elliptic_curve", "reuse_key", "preferred_profile", "required_profile", "preferred_chain"),
    *("config_dir", "work_dir", "logs_dir", "webroot_path", "pre_hook", "post_hook"),
    *("user_agent", "pref_challs", "manual_auth_hook", "manual_cleanup_hook"),
}
"""Parameters of a renewal configuration that mean nothing else than what is read of them."""
_CLI_KNOWN = ("email", "agree-tos", "non-interactive", "quiet", "text", "max-log-backups")


def read_certbot(reader: Reader, *, now: datetime) -> Installation:
    """Everything below certbot's --config-dir, such as /etc/letsencrypt."""
    found = Installation("certbot", reader.root)
    shared = _Shared(reader, found)
    for name in found.listed("renewal", lambda: reader.names(reader.root / "renewal")):
        if not name.endswith(".conf"):
            continue
        read = partial(_lineage, shared, name.removesuffix(".conf"), now=now)
        found.take(f"renewal/{name}", read)
    if not found.certificates and not found.rows:
        found.say("renewal", "certificates", Fate.PROBLEM, "there are no renewal configurations")
    return found


@dataclass
class _Shared:
    """What the lineages of one installation have in common: cli.ini, hooks, accounts, solvers."""

    reader: Reader
    found: Installation
    email: str = ""
    hooks: list[Hook] = field(default_factory=list)
    deploy: str = ""
    _accounts: dict[tuple[str, str], FoundAccount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read_cli_ini()
        self._read_hooks()

    def account(self, server: str, number: str) -> FoundAccount | None:
        """The account that a renewal configuration names; None, and a row, if it is unreadable."""
        key = server, number
        if key not in self._accounts:
            try:
                self._accounts[key] = self._read_account(server, number)
            except (Failure, FileNotFoundError) as error:
                why = error if isinstance(error, Failure) else "its key is not there"
                note = f"{why}; certrotd registers a new one"
                self.found.say(f"account {number}", host_of(server), Fate.PROBLEM, note)
                return None
            self.found.accounts.append(self._accounts[key])
        return self._accounts[key]

    def _read_account(self, server: str, number: str) -> FoundAccount:
        try:
            at = urlsplit(server)
        except ValueError:
            raise InvalidInput("its server is not a URL") from None
        if "@" in at.netloc:
            raise InvalidInput("its server has a user name or a password")
        if not _ACCOUNT.fullmatch(number):
            raise InvalidInput("it is not the number of an account")
        folder = self.reader.root / "accounts" / f"{at.netloc}{at.path}" / number
        where = folder / "private_key.json"
        key = account_key(self.reader.read(where), what=self.reader.relative(where))
        contact = (self.email,) if self.email else ()
        return FoundAccount(self.reader.relative(folder), server, contact, key)

    def _read_cli_ini(self) -> None:
        path = self.reader.root / "cli.ini"
        try:
            settings = read_ini(self.reader.text(path))
        except FileNotFoundError:
            return
        except Failure as failure:
            self.found.fail("cli.ini", "options", failure)
            return
        for key, value in settings.values.items():
            if key in ("deploy-hook", "renew-hook"):
                self.deploy = value
            elif key == "email":
                self.email = value
                self.found.say("cli.ini", key, Fate.TAKEN, "contact of the issuers")
            elif key not in _CLI_KNOWN:
                self.found.say(
                    "cli.ini", key, Fate.BY_HAND, "an option that certrotd does not read"
                )
        self.found.unread("cli.ini", settings.unread, _UNREAD)

    def _read_hooks(self) -> None:
        """Programs that certbot runs for every lineage."""
        base = self.reader.root / "renewal-hooks"
        for stage in ("pre", "deploy", "post"):
            of_stage = partial(self.reader.names, base / stage)
            for name in self.found.listed(f"renewal-hooks/{stage}", of_stage):
                path = base / stage / name
                where = f"renewal-hooks/{stage}/{name}"
                if name.endswith("~") or not os.access(path, os.X_OK) or path.is_dir():
                    continue
                if stage != "deploy":
                    self.found.say(where, f"{stage} hook", Fate.BY_HAND, _ONLY_DEPLOY)
                    continue
                try:
                    self.reader.read(path)  # nobody else can change it
                    self.hooks.append(Hook(where, shlex.quote(str(path))))
                except (Failure, OSError) as error:
                    self.found.fail(where, "deploy hook", error)


_ONLY_DEPLOY = "certrotd runs nothing before and after an attempt; if it reloads a service, add a "
_ONLY_DEPLOY += "target"


def _lineage(shared: _Shared, name: str, *, now: datetime) -> FoundCertificate:
    reader, found = shared.reader, shared.found
    where = f"renewal/{name}.conf"
    conf = read_ini(reader.text(reader.root / "renewal" / f"{name}.conf"))
    found.unread(where, conf.unread, _UNREAD)
    parameters = conf.sections.get("renewalparams")
    if parameters is None:
        raise InvalidInput("it has no section [renewalparams]")
    values = parameters.values
    pair = _pair(reader, name, where, conf, now=now)
    server = values.get("server", "https://acme-v02.api.letsencrypt.org/directory")
    solver, stays = _solver(shared, where, values)
    _say_the_rest(found, where, values)
    return FoundCertificate(
        name=name,
        where=where,
        pair=pair,
        directory=server,
        account=shared.account(server, values.get("account", "")),
        issuer=_issuer(values),
        options=_options(found, where, conf.values, values),
        solver=solver,
        hooks=tuple(_hooks(shared, where, values, pair)),
        stays=stays,
    )


def _pair(reader: Reader, name: str, where: str, conf: Settings, *, now: datetime) -> Pair:
    live = reader.root / "live" / name
    read = {shape: Path(conf.values.get(shape, "")) for shape in SHAPES}
    for shape, path in read.items():
        if shape not in conf.values:
            raise InvalidInput(f"it does not name its {shape}")
        if path.name != f"{shape}.pem" or not _same_folder(path.parent, live):
            why = f"its {shape} is not in {live}"
            raise AtLine(where, conf.lines[shape], why, hint="is this tree a copy?")
    own = {shape: live / f"{shape}.pem" for shape in SHAPES}
    return examined(reader, own["privkey"], own["fullchain"], None, read, now=now)


def _same_folder(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _issuer(values: Mapping[str, str]) -> dict[str, Any]:
    issuer: dict[str, Any] = {}
    if chain := values.get("preferred_chain"):
        issuer["preferred_chain"] = chain
    if profile := values.get("required_profile") or values.get("preferred_profile"):
        issuer |= {"profile": profile, "require_profile": "required_profile" in values}
    return {key: value for key, value in issuer.items() if value not in ("None", False)}


def _options(
    found: Installation, where: str, conf: Mapping[str, str], values: Mapping[str, str]
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if values.get("reuse_key") == "True":
        options["key"] = {"reuse": True}
    if before := conf.get("renew_before_expiry"):
        try:
            short = re.sub(r"\s*(day|week|hour)s?\b", lambda m: m[1][0], before)
            span(short)
            options["renew"] = {"before": short}
            note = "asked only where the CA does not say when to renew"
            found.say(where, "renew_before_expiry", Fate.TAKEN, note)
        except InvalidInput as failure:
            found.say(where, "renew_before_expiry", Fate.BY_HAND, failure.message)
    return options


def _solver(shared: _Shared, where: str, values: Mapping[str, str]) -> tuple[Solver | None, str]:
    """The solver, or why certrotd cannot prove the names as certbot did."""
    plugin = values.get("authenticator", "").rpartition(":")[2]
    if plugin in _WEB or not plugin.startswith("dns-"):
        note = f"certbot proves the names by {plugin or 'nothing known'}, certrotd by DNS alone: "
        return None, f"{note}configure a solver for them (docs/dns.md)"
    prefix = plugin.replace("-", "_")
    credentials = values.get(f"{prefix}_credentials", "")
    try:
        ini = read_ini(shared.reader.named(Path(credentials))) if credentials else None
        if ini:
            shared.found.unread(credentials, ini.unread, _UNREAD)
        told = without(ini.values if ini else {}, f"{prefix}_", f"certbot_{prefix}:{prefix}_")
        solver = _of_plugin(plugin, told)
    except FileNotFoundError:
        return None, f"{credentials} is not there"
    except Failure as failure:
        return None, str(failure)
    shared.found.say(where, plugin, Fate.TAKEN, f"solver of type {solver.options['type']}")
    return solver, ""


def _of_plugin(plugin: str, told: Mapping[str, str]) -> Solver:
    if plugin == "dns-rfc2136":
        wanted = ("server", "port", "name", "algorithm", "secret")
        return providers.rfc2136(**{key: told.get(key, "") for key in wanted})
    return providers.solver_of(plugin, told, providers.CERTBOT)


def _hooks(shared: _Shared, where: str, values: Mapping[str, str], pair: Pair) -> Iterator[Hook]:
    """What runs after a renewal, with the variables that certbot gives."""
    told = {
        "RENEWED_LINEAGE": str(pair.read["privkey"].parent),
        "RENEWED_DOMAINS": " ".join(pair.facts.names),
    }
    installer = values.get("installer", "None")
    if installer in ("nginx", "apache"):
        unit = {"nginx": "nginx", "apache": "apache2"}[installer]
        yield Hook(where, f"systemctl reload {unit}")
    elif installer != "None":
        shared.found.say(where, f"installer {installer}", Fate.BY_HAND, "add a target")
    deploy = next((values[key] for key in _DEPLOY if values.get(key)), "") or shared.deploy
    if deploy and deploy != "None":
        yield Hook(where, deploy, told)
    for hook in shared.hooks:
        yield Hook(hook.where, hook.command, told)
    for key in ("pre_hook", "post_hook"):
        if values.get(key, "None") != "None":
            shared.found.say(where, key, Fate.BY_HAND, _ONLY_DEPLOY)


def _say_the_rest(found: Installation, where: str, values: Mapping[str, str]) -> None:
    """Every parameter that is neither taken over nor without meaning here."""
    for key, value in values.items():
        if key in _KNOWN or value in ("None", "False", "") or key.startswith("dns_"):
            continue
        found.say(where, key, Fate.BY_HAND, "certrotd has no such setting")
