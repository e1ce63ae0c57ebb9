"""lego's directory (``--path``): certificates and accounts; its DNS provider is not in there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from certrotd.acme.account_keys import account_key
from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.importing import providers
from certrotd.importing.cas import directory_at
from certrotd.importing.found import (
    Fate,
    FoundAccount,
    FoundCertificate,
    Installation,
    Pair,
    Solver,
)
from certrotd.importing.pairs import examined
from certrotd.importing.reading import Reader
from certrotd.importing.settings import read_assignments
from certrotd.jsontext import parsed
from certrotd.pki.facts import parse_certificates

_LEAF, _ISSUER = ".crt", ".issuer.crt"


def read_lego(
    reader: Reader,
    *,
    now: datetime,
    provider: str = "",
    environment: Path | None = None,
    server: str = "",
) -> Installation:
    """Everything below lego's ``--path``.

    ``provider`` is what follows its ``--dns``, ``environment`` a file with the variables that it
    reads, ``server`` the directory of a CA that certrotd does not know by its host.
    """
    found = Installation("lego", reader.root)
    accounts = _accounts(reader, found, server)
    solver, stays = _solver(reader, found, provider, environment)
    folder = reader.root / "certificates"
    for name in found.listed("certificates", lambda: reader.names(folder)):
        if not name.endswith(_LEAF) or name.endswith(_ISSUER):
            continue
        stem = name.removesuffix(_LEAF)

        def read(stem: str = stem) -> FoundCertificate:
            pair = _pair(reader, found, stem, now=now)
            account = _account_of(reader, stem, accounts, found)
            known = account is not None or bool(server)
            return FoundCertificate(
                name=stem,
                where=f"certificates/{stem}{_LEAF}",
                pair=pair,
                directory=account.directory if account else server,
                account=account,
                solver=solver,
                stays=stays if known else "no account tells its CA: name it (--server)",
            )

        found.take(f"certificates/{name}", read)
    if not found.certificates and not found.rows:
        found.say("certificates", "certificates", Fate.PROBLEM, "there are none")
    return found


def _pair(reader: Reader, found: Installation, stem: str, *, now: datetime) -> Pair:
    folder = reader.root / "certificates"
    leaf, key, issuer = (folder / f"{stem}{end}" for end in (_LEAF, ".key", _ISSUER))
    names = set(reader.names(folder))
    bundled = len(parse_certificates(reader.read(leaf), what=leaf.name)) > 1
    read = {"privkey": key, "fullchain" if bundled else "cert": leaf}
    if issuer.name in names:
        read["chain"] = issuer
    if f"{stem}.pem" in names:
        read["combined"] = folder / f"{stem}.pem"
    if f"{stem}.pfx" in names:
        note = "add pkcs12 to install, with its password: lego does not keep that"
        found.say(f"certificates/{stem}.pfx", "PKCS#12", Fate.BY_HAND, note)
    chain = issuer if not bundled and "chain" in read else None
    return examined(reader, key, leaf, chain, read, now=now)


def _accounts(reader: Reader, found: Installation, server: str) -> dict[str, FoundAccount]:
    """The accounts by the host of their CA; lego keeps several by their addresses."""
    accounts: dict[str, FoundAccount] = {}
    base = reader.root / "accounts"
    for host in found.listed("accounts", lambda: reader.names(base)):
        for user in found.listed(f"accounts/{host}", partial(reader.names, base / host)):
            where = f"accounts/{host}/{user}"
            try:
                account = _account(reader, base / host / user, server)
            except (Failure, FileNotFoundError) as error:
                found.fail(where, "account", error)
                continue
            if host in accounts:
                note = f"{accounts[host].where} is used: lego does not keep which one ordered"
                found.say(where, "account", Fate.BY_HAND, note)
                continue
            accounts[host] = account
            found.accounts.append(account)
    return accounts


def _account(reader: Reader, folder: Path, server: str) -> FoundAccount:
    """An account as lego 4 keeps it, or lego 5, which also keeps the CA's directory."""
    where = reader.relative(folder)
    try:
        record = parsed(reader.read(folder / "account.json"))
        own, email = record.get("server") or "", record.get("email") or ""
        uri = own or record["registration"]["uri"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(f"{where}/account.json is not as lego writes it") from None
    key = account_key(_key(reader, folder), what=f"the key in {where}")
    directory = str(own) or directory_at(str(uri), server)
    if not directory:
        raise NeedsOperator(
            f"certrotd does not know the ACME directory of {_host(str(uri))}",
            hint="name its URL by --server",
        )
    return FoundAccount(where, directory, (str(email),) if email else (), key)


def _key(reader: Reader, folder: Path) -> bytes:
    file = f"{folder.name}.key"
    try:
        return reader.read(folder / "keys" / file)
    except FileNotFoundError:
        return reader.read(folder / file)  # since lego 5


def _account_of(
    reader: Reader, stem: str, accounts: Mapping[str, FoundAccount], found: Installation
) -> FoundAccount | None:
    """The account at the CA that issued; the only one where lego's record does not tell."""
    try:
        record = parsed(reader.read(reader.root / "certificates" / f"{stem}.json"))
        host = _host(str(record["certUrl"])).replace(":", "_")
    except FileNotFoundError:
        host = ""
    except (ValueError, KeyError, TypeError):
        host = ""
        note = "it is not as lego writes it, and is not needed if there is one account"
        found.say(f"certificates/{stem}.json", "record", Fate.PROBLEM, note)
    only = next(iter(accounts.values())) if len(accounts) == 1 else None
    return accounts.get(host, only)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _solver(
    reader: Reader, found: Installation, provider: str, environment: Path | None
) -> tuple[Solver | None, str]:
    if not provider:
        return None, "lego does not keep its DNS provider: name it (--dns, --env-file)"
    values: dict[str, str] = {}
    try:
        if environment is not None:
            settings = read_assignments(reader.named(environment))
            note = "it is not NAME=value and is skipped"
            found.unread(str(environment), settings.unread, note)
            read = providers.from_files(settings.values, lambda path: reader.named(Path(path)))
            values = dict(read)
        solver = _of_provider(reader, provider, values)
    except FileNotFoundError as error:
        raise NeedsOperator(f"{error.filename} is not there") from None
    except InvalidInput as failure:
        return None, str(failure)
    found.say(
        f"--dns {provider}", "DNS provider", Fate.TAKEN, f"solver of type {solver.options['type']}"
    )
    return solver, ""


def _of_provider(reader: Reader, provider: str, values: Mapping[str, str]) -> Solver:
    if provider == "acme-dns":
        accounts = reader.named(Path(values.get("ACME_DNS_STORAGE_PATH", "")))
        options = {"type": "acmedns", "url": values.get("ACME_DNS_API_BASE", "")}
        return Solver("acmedns", options, {"accounts": accounts.encode()})
    if provider != "rfc2136":
        return providers.solver_of(provider, values, providers.LEGO)
    told = {key: values.get(f"RFC2136_TSIG_{key.upper()}", "") for key in ("algorithm", "secret")}
    told["name"] = values.get("RFC2136_TSIG_KEY", "")
    if file := values.get("RFC2136_TSIG_FILE"):
        told = providers.tsig_of(reader.named(Path(file)))
    # a nameserver may have a port
    return providers.rfc2136(server=values.get("RFC2136_NAMESERVER", ""), **told)
