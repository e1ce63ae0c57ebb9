"""acme.sh's home: account.conf, a folder for each certificate, and ca/ with the accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from certrotd.acme.account_keys import account_key
from certrotd.errors import Failure, InvalidInput
from certrotd.files.reading import read_file
from certrotd.importing import providers
from certrotd.importing.cas import directory_called
from certrotd.importing.found import (
    Fate,
    FoundAccount,
    FoundCertificate,
    Hook,
    Installation,
    Pair,
    Solver,
)
from certrotd.importing.pairs import examined
from certrotd.importing.reading import MAX_FILE, Reader
from certrotd.importing.settings import decoded, read_assignments

_ECC = "_ecc"
_NOT_FOLDERS = ("ca", "deploy", "dnsapi", "notify")
_REAL = {
    "privkey": "Le_RealKeyPath",
    "fullchain": "Le_RealFullChainPath",
    "cert": "Le_RealCertPath",
    "chain": "Le_RealCACertPath",
}
_VARIABLES = {
    "privkey": "CERT_KEY_PATH",
    "cert": "CERT_PATH",
    "chain": "CA_CERT_PATH",
    "fullchain": "CERT_FULLCHAIN_PATH",
}
_HOOKS = {
    "Le_PreHook": "runs before an attempt, for which certrotd runs nothing",
    "Le_PostHook": "runs after an attempt, for which certrotd runs nothing",
    "Le_RenewHook": "runs after a renewal: add a target of type command if a service needs it",
    "Le_DeployHook": "copies the files somewhere: add a target, or deliver",
    "Le_ChallengeAlias": "certrotd follows a CNAME at _acme-challenge by itself",
    "Le_DomainAlias": "certrotd follows a CNAME at _acme-challenge by itself",
}


def read_acme_sh(reader: Reader, *, now: datetime, server: str = "") -> Installation:
    """Everything below acme.sh's home; ``server`` is the directory where no file names one."""
    found = Installation("acme.sh", reader.root)
    shared: Mapping[str, str] = {}
    try:
        shared = _settings(reader, found, reader.root / "account.conf")
    except Failure as failure:
        found.fail("account.conf", "settings", failure)
    accounts: dict[str, FoundAccount | None] = {}
    for folder in found.listed(".", lambda: reader.names(reader.root)):
        domain = folder.removesuffix(_ECC)
        conf = reader.root / folder / f"{domain}.conf"
        if folder in _NOT_FOLDERS or conf.parent.is_file():
            continue
        if conf.name not in found.listed(folder, partial(reader.names, conf.parent)):
            continue

        def read(where: str = f"{folder}/{conf.name}", conf: Path = conf) -> FoundCertificate:
            values = _settings(reader, found, conf)
            directory = directory_called(values.get("Le_API") or server)
            if directory not in accounts:
                accounts[directory] = _account(reader, found, directory, shared)
            account = accounts[directory]
            return _certificate(reader, found, where, values, shared, account, directory, now=now)

        found.take(f"{folder}/{conf.name}", read)
    if not found.certificates and not found.rows:
        found.say(".", "certificates", Fate.PROBLEM, "there are none")
    return found


def _settings(reader: Reader, found: Installation, path: Path) -> dict[str, str]:
    """The assignments in a file, decoded; a line that is none is reported and never run."""
    where = reader.relative(path)
    try:
        settings = read_assignments(reader.text(path))
    except FileNotFoundError:
        return {}
    note = "it is not NAME='value' and is skipped; certrotd runs no shell to read it"
    found.unread(where, settings.unread, note)
    values = {}
    for key, text in settings.values.items():
        if (value := decoded(text)) is None:
            found.say(where, key, Fate.PROBLEM, "its base64 is damaged: it is skipped")
        else:
            values[key] = value
    return values


def _certificate(
    reader: Reader,
    found: Installation,
    where: str,
    values: Mapping[str, str],
    shared: Mapping[str, str],
    account: FoundAccount | None,
    directory: str,
    *,
    now: datetime,
) -> FoundCertificate:
    folder = (reader.root / where).parent
    domain = folder.name.removesuffix(_ECC)
    if values.get("Le_Domain", domain) != domain:
        raise InvalidInput(f"its Le_Domain is not {domain}")
    pair = _pair(reader, folder, domain, values, now=now)
    solver, stays = _solver(reader, found, where, values, shared)
    issuer = {"preferred_chain": values.get("Le_Preferred_Chain", "")}
    issuer |= {"profile": values.get("Le_Certificate_Profile", "")}
    for key, note in _HOOKS.items():
        if values.get(key, "no") not in ("", "no"):
            found.say(where, key, Fate.BY_HAND, note)
    if values.get("Le_ForceNewDomainKey", "") != "1":
        note = "acme.sh keeps the key at renewals, certrotd makes a new one (key: {reuse: true})"
        found.say(where, "key", Fate.UNNEEDED, note)
    return FoundCertificate(
        name=folder.name.replace(_ECC, "-ecc") if _twice(reader, folder) else domain,
        where=where,
        pair=pair,
        directory=directory,
        account=account,
        issuer={key: value for key, value in issuer.items() if value},
        solver=solver,
        hooks=tuple(_hooks(where, domain, values, pair.read)),
        stays=stays if directory else "no file names its CA: name it (--server)",
    )


def _twice(reader: Reader, folder: Path) -> bool:
    """Whether the domain has a certificate with an RSA key and one with an EC key."""
    other = folder.name.removesuffix(_ECC)
    return folder.name.endswith(_ECC) and other in reader.names(reader.root)


def _pair(
    reader: Reader, folder: Path, domain: str, values: Mapping[str, str], *, now: datetime
) -> Pair:
    own = {
        "privkey": folder / f"{domain}.key",
        "fullchain": folder / "fullchain.cer",
        "cert": folder / f"{domain}.cer",
        "chain": folder / "ca.cer",
    }
    installed = {kind: Path(values[key]) for kind, key in _REAL.items() if values.get(key)}
    for path in installed.values():
        if not path.is_absolute() or ".." in path.parts:
            raise InvalidInput(f"{path} is not an absolute path: certrotd does not write there")
        if not _is_ours(path):
            raise InvalidInput(f"{path} is no key or certificate: certrotd does not write over it")
    read: dict[str, Path] = {}
    for kind, path in (installed if "privkey" in installed else own).items():
        if path not in read.values():  # the first that has a path keeps it
            read[kind] = path
    return examined(reader, own["privkey"], own["fullchain"], None, read, now=now)


def _is_ours(path: Path) -> bool:
    """Whether nothing is lost if a copy is written there: nothing is, or PEM."""
    try:
        data = read_file(path, limit=MAX_FILE)
    except FileNotFoundError:
        return True
    return not data or b"-----BEGIN " in data


def _account(
    reader: Reader, found: Installation, directory: str, shared: Mapping[str, str]
) -> FoundAccount | None:
    """The account at a CA, in the folder named by its host and, in newer versions, its path."""
    try:
        at = urlsplit(directory)
        host, path = at.hostname or "", at.path.strip("/")
    except ValueError:
        return None
    if not host:
        return None
    for folder in (reader.root / "ca" / host / path, reader.root / "ca" / host):
        where = reader.relative(folder)
        try:
            key = account_key(reader.read(folder / "account.key"), what=f"the key in {where}")
            values = _settings(reader, found, folder / "ca.conf")
        except FileNotFoundError:
            continue
        except Failure as failure:
            found.say(where, "account", Fate.PROBLEM, str(failure))
            return None
        email = values.get("CA_EMAIL") or shared.get("ACCOUNT_EMAIL", "")
        account = FoundAccount(where, directory, (email,) if email else (), key)
        found.accounts.append(account)
        return account
    note = "its key is not there; certrotd registers a new one"
    found.say(f"ca/{host}", "account", Fate.PROBLEM, note)
    return None


def _solver(
    reader: Reader,
    found: Installation,
    where: str,
    values: Mapping[str, str],
    shared: Mapping[str, str],
) -> tuple[Solver | None, str]:
    plugins = {each for each in values.get("Le_Webroot", "").split(",") if each}
    if len(plugins) != 1 or not (plugin := plugins.pop()).startswith("dns_"):
        note = "acme.sh proves the names otherwise than by one DNS plugin, certrotd by DNS alone: "
        return None, f"{note}configure a solver for them (docs/dns.md)"
    saved = {**shared, **values}
    told = {key.removeprefix("SAVED_"): value for key, value in saved.items()}
    try:
        solver = _of_plugin(reader, plugin, told)
    except FileNotFoundError as error:
        return None, f"{error.filename} is not there"
    except Failure as failure:
        return None, str(failure)
    found.say(where, plugin, Fate.TAKEN, f"solver of type {solver.options['type']}")
    return solver, ""


def _of_plugin(reader: Reader, plugin: str, told: Mapping[str, str]) -> Solver:
    if plugin != "dns_nsupdate":
        return providers.solver_of(plugin, told, providers.ACME_SH)
    key = providers.tsig_of(reader.named(Path(told.get("NSUPDATE_KEY", ""))))
    server, port = told.get("NSUPDATE_SERVER", ""), told.get("NSUPDATE_SERVER_PORT", "")
    solver = providers.rfc2136(server=server or "localhost", port=port, **key)
    zone = told.get("NSUPDATE_ZONE", "").rstrip(".")
    if zone:
        return Solver(solver.name, {**solver.options, "zone": zone}, solver.secrets)
    return solver


def _hooks(
    where: str, domain: str, values: Mapping[str, str], read: Mapping[str, Path]
) -> Iterator[Hook]:
    """The reload command, with the variables that acme.sh gives it: of files that stay current."""
    command = values.get("Le_ReloadCmd", "")
    if command and command != "no":
        told = {_VARIABLES[kind]: str(path) for kind, path in read.items()}
        yield Hook(where, command, {"Le_Domain": domain, **told})
