"""``certrotd account``: the accounts at CAs, looked at, given new keys, ended, brought along."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from certrotd.cli.confirmation import confirm
from certrotd.cli.output import print_json, say
from certrotd.clock import Deadline, SystemClock
from certrotd.config.issuers import AcmeEntry
from certrotd.config.nearest import suggestion
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import Failure, UsageError, listed
from certrotd.wording import stamp

if TYPE_CHECKING:
    from certrotd.acme.issuer import AcmeIssuer
    from certrotd.acme.management import Shown
    from certrotd.certs.wing import Certificates

VALID = "valid"


@dataclass(frozen=True)
class Chosen:
    """The issuer that a command is about, and how long it may take altogether."""

    site: Site
    name: str
    entry: AcmeEntry
    issuer: AcmeIssuer

    @property
    def deadline(self) -> Deadline:
        """The issuer's timeout, from now."""
        return Deadline(self.site.clock, self.entry.timeout.total_seconds())

    @property
    def used_by(self) -> Sequence[str]:
        """The certificates that are configured to come from it, or did."""
        certificates = cast("Certificates", self.site.wing("certificate"))
        configured = {
            each.managed.policy.name
            for each in certificates.subjects
            if self.name in each.managed.policy.issuers
        }
        return sorted({*configured, *certificates.issued(self.name)})


def show(config: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Carry out ``certrotd account show``; the exit code is 1 where an account is not usable."""
    with open_site(config, clock=SystemClock(), command="certrotd account show") as site:
        issuers = acme_issuers(site)
        chosen = [chosen_of(site, name) for name in names or issuers]
        found = [(each, _shown(each)) for each in chosen]
    if not found:
        say("no issuer of type acme is configured")
    if as_json:
        print_json([_as_json(each, shown) for each, shown in found])
    else:
        for each, shown in found:
            for line in _lines(each, shown):
                say(line, sys.stdout)
    return 0 if all(is_usable(shown) for _, shown in found) else 1


def rollover(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd account rollover``; the exit code."""
    from certrotd.acme.account import kind_of

    with _writing(config, name, "rollover") as chosen:
        account = chosen.issuer.account.rollover(deadline=chosen.deadline)
    key = kind_of(account.key)
    if as_json:
        print_json({"issuer": name, "url": account.url, "key": key})
    else:
        say(f"{name}: the account {account.url} has a new key ({key})", sys.stdout)
    return 0


def deactivate(config: Path, name: str, *, confirmed: str | None, as_json: bool) -> int:
    """Carry out ``certrotd account deactivate``; the exit code."""
    with _writing(config, name, "deactivate") as chosen:
        used_by = chosen.used_by
        users = f" ({listed(used_by)} cannot be renewed by it then)" if used_by else ""
        words = f"the account of {name} can order and revoke nothing any more{users}"
        confirm(name, words, confirmed, what="issuer")
        url = chosen.issuer.account.deactivate(deadline=chosen.deadline)
    if as_json:
        print_json({"issuer": name, "url": url, "status": "deactivated", "used_by": used_by})
    else:
        say(f"{name}: the account {url} is deactivated; its certificates stay valid", sys.stdout)
        say(f"certrotd account new {name} registers another one")
    return 0


def new(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd account new``; the exit code."""
    with _writing(config, name, "new") as chosen:
        url = chosen.issuer.account.register_another(deadline=chosen.deadline)
    return _ours(name, url, "is registered", as_json=as_json)


def bring(config: Path, name: str, key: Path, *, as_json: bool) -> int:
    """Carry out ``certrotd account import``; the exit code."""
    from certrotd.acme.account_keys import read_account_key

    with _writing(config, name, "import") as chosen:
        found = read_account_key(key.absolute())
        url = chosen.issuer.account.import_key(found, deadline=chosen.deadline)
    return _ours(name, url, "is used from now on", as_json=as_json)


def acme_issuers(site: Site) -> list[str]:
    """The issuers that have accounts."""
    return [name for name, entry in site.config.issuers.items() if isinstance(entry, AcmeEntry)]


def is_usable(shown: Shown) -> bool:
    """Whether orders are possible with the account, as the CA says; also where it is to be made."""
    if not shown.key_type:
        return not shown.trouble
    return shown.at_ca is not None and shown.at_ca.status == VALID and shown.deactivated is None


def _shown(chosen: Chosen) -> Shown:
    """What is known of the account, be it that it cannot be read: that hides no other."""
    from certrotd.acme.management import Shown

    try:
        return chosen.issuer.account.show(deadline=chosen.deadline)
    except Failure as failure:
        return Shown(trouble=str(failure))


def _ours(name: str, url: str, what: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"issuer": name, "url": url})
    else:
        say(f"{name}: the account {url} {what}", sys.stdout)
    return 0


@contextmanager
def _writing(config: Path, name: str, command: str) -> Iterator[Chosen]:
    clock, command = SystemClock(), f"certrotd account {command}"
    with open_site(config, clock=clock, command=command, listen=say, writes=True) as site:
        chosen = chosen_of(site, name)
        site.prepare()
        yield chosen


def chosen_of(site: Site, name: str) -> Chosen:
    """The issuer of that name with its account; UsageError for none that speaks ACME."""
    entry = site.config.issuers.get(name)
    if not isinstance(entry, AcmeEntry):
        hint = suggestion(name, acme_issuers(site))
        raise UsageError(f"there is no issuer {name!r} of type acme", hint=hint)
    certificates = cast("Certificates", site.wing("certificate"))
    issuer = cast("AcmeIssuer", certificates.adapters().issuer(name))
    return Chosen(site, name, entry, issuer)


def _as_json(chosen: Chosen, shown: Shown) -> dict[str, Any]:
    at_ca = shown.at_ca
    return {
        "issuer": chosen.name,
        "directory": chosen.entry.directory,
        "url": shown.url or None,
        "contact": list(shown.contact),
        "key": shown.key_type or None,
        "configured_key": chosen.entry.account_key,
        "thumbprint": shown.thumbprint or None,
        "created": shown.created,
        "deactivated": shown.deactivated,
        "rollover": {"unfinished": shown.is_changing, "begun": shown.changing_since},
        "status": at_ca.status if at_ca else None,
        "contact_at_ca": list(at_ca.contact) if at_ca else None,
        "terms_agreed": at_ca.terms if at_ca else None,
        "external_binding": (at_ca.binding or None) if at_ca else None,
        "trouble": shown.trouble or None,
        "used_by": list(chosen.used_by),
    }


def _lines(chosen: Chosen, shown: Shown) -> Iterator[str]:
    """What there is to say of an account, for people."""
    name, at_ca = chosen.name, shown.at_ca
    if not shown.key_type and shown.trouble:
        yield f"{name}: its account is not known: {shown.trouble}"
        return
    if not shown.key_type:
        yield f"{name}: no account yet; the first order registers one at {chosen.entry.directory}"
        return
    yield f"{name}: {shown.url or 'an account whose URL is not known'}"
    contact = at_ca.contact if at_ca and at_ca.contact else shown.contact
    rows = {
        "status": at_ca.status if at_ca else f"not known: {shown.trouble}",
        "key": shown.key_type,
        "thumbprint": shown.thumbprint,
        "contact": ", ".join(contact) or "none",
        "created": _moment(shown.created),
        "terms": _terms(at_ca.terms if at_ca else None),
        "binding": (at_ca.binding if at_ca else "") or "none",
        "used by": listed(chosen.used_by) or "no certificate",
    }
    yield from (f"  {what:<11} {value}" for what, value in rows.items())
    if shown.deactivated:
        yield (
            f"  deactivated at {_moment(shown.deactivated)}; certrotd account new {name} "
            "registers another one"
        )
    elif shown.is_changing:
        yield (
            f"  a change of its key, begun at {_moment(shown.changing_since)}, is not finished: "
            f"the next order asks the CA which key it knows, or certrotd account rollover {name}"
        )
    elif shown.key_type != chosen.entry.account_key:
        yield (
            f"  the configuration asks for {chosen.entry.account_key}: "
            f"certrotd account rollover {name} makes it that"
        )


def _terms(agreed: bool | None) -> str:
    if agreed is None:
        return "the CA does not say"
    return "agreed to" if agreed else "not agreed to"


def _moment(at: datetime | None) -> str:
    return stamp(at) if at else "not known"
