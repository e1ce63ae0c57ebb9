"""Publishing through an acme-dns server (https://github.com/joohoi/acme-dns), by delegation.

Each name has an account there: credentials that can do nothing but set the TXT records of one
subdomain, to which a CNAME at ``_acme-challenge`` leads. A subdomain has two places; an update
overwrites the older one, and nothing is ever deleted. So which values are where is kept in the
state, and a value that is withdrawn is overwritten with one that means nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import AcmeDnsEntry
from certrotd.config.secrets import Reference
from certrotd.dns.api import JsonApi, Reach
from certrotd.dns.names import fqdn
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.jsontext import parsed
from certrotd.rotation.stopping import TurnDeadline
from certrotd.state.ports import Folder

BLANK = "_" * 43
"""Instead of a value that is withdrawn; acme-dns takes 43 characters of base64url and no others."""

PLACES = 2
SECOND = 1.0
FORGOTTEN = 7 * 86400.0
"""Seconds after which a value makes room for another: public CAs keep no order open for longer.

Whoever wanted it may have been restored from a backup, or removed, and never withdraws it.
"""
_LIMIT = 64 * 1024
_LABEL = re.compile(r"[a-z0-9-]{1,63}")
_WORD = re.compile(r"[\x21-\x7e]{1,200}")
_CHALLENGE = "_acme-challenge."
_NEEDS = "the account is another server's, or may not update from this address (allow_from)"


@dataclass(frozen=True)
class Account:
    """Who may set the TXT records of ``fulldomain``, for ``domain`` (without _acme-challenge)."""

    domain: str
    fulldomain: str
    subdomain: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"<account {self.fulldomain}>"

    @classmethod
    def read(cls, domain: str, found: Mapping[str, Any]) -> Account:
        """Of what an acme-dns server answers, or others keep of that; ValueError for no account."""
        subdomain, username, password = (
            str(found[key]) for key in ("subdomain", "username", "password")
        )
        try:
            fulldomain = fqdn(str(found["fulldomain"]))
        except InvalidInput:
            raise ValueError("fulldomain") from None
        if not _LABEL.fullmatch(subdomain) or fulldomain.partition(".")[0] != subdomain:
            raise ValueError("subdomain")
        if not (_WORD.fullmatch(username) and _WORD.fullmatch(password)):
            raise ValueError("credentials")
        return cls(domain, fulldomain, subdomain, username, password)


@dataclass(frozen=True)
class Known:
    """What is at a server: its ``places``, the older one first, None if nobody knows.

    ``wanted`` are the values that orders need, and since when; ``last`` is when the last update
    was, None if that is not known either. Both are in seconds since the epoch.
    """

    places: tuple[str, str] | None
    wanted: dict[str, float]
    last: float | None


def updates(places: tuple[str, str] | None, wanted: Collection[str]) -> tuple[str, ...]:
    """What to send, in order, for the places to have all ``wanted`` values and no others.

    ``places`` are the server's, the older one first, None if nobody knows; each update overwrites
    the older one. A wanted value that is there is there after each update, too.
    """
    if places is None:
        return (*wanted, BLANK, BLANK)[:PLACES]
    older, newer = places
    sent: list[str] = []
    missing = [value for value in wanted if value not in places]
    while {older, newer} - {BLANK} != {*wanted}:
        fresh = [older] if older in wanted and older != newer else missing
        value = fresh.pop() if fresh else BLANK
        sent.append(value)
        older, newer = newer, value
    return tuple(sent)


class AcmeDns:
    """A solver for the accounts in ``folder`` and in ``given``, JSON by domain.

    ``allow_from`` are the networks from which accounts that are registered may be used.
    """

    def __init__(
        self,
        reach: Reach,
        url: str,
        *,
        folder: Folder,
        given: Reference | None = None,
        allow_from: Sequence[str] = (),
    ) -> None:
        self._what = reach.what
        self._folder = folder
        self._given = given
        self._allow_from = tuple(allow_from)
        self._api = JsonApi(
            reach,
            url,
            credentials=dict,
            needs=_NEEDS,
            reason=lambda content: content["error"],
        )

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.present; raises Unpublished where the name has no account that is taken.

        Transient while both places are in use, or the server is away.
        """
        account = self._account(record.name)
        if account is None:
            raise Unpublished(*self._unknown(record.name))
        now = deadline.clock.now().timestamp()
        with self._changed(account, deadline) as wanted:
            if record.value not in wanted and len(wanted) == PLACES:
                _forget(wanted, now)
            if record.value not in wanted and len(wanted) == PLACES:
                raise Transient(
                    f"{self._what}: both values of {account.fulldomain} are in use by other orders",
                    hint="two certificates with this name are being renewed: wait for them; if none"
                    f" is, remove {self._folder.where(_places_of(account))}",
                )
            wanted.setdefault(record.value, now)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.withdraw: the value is overwritten; raises as :meth:`present`."""
        account = self._account(record.name)
        if account is None:
            raise NeedsOperator(*self._unknown(record.name))
        with self._changed(account, deadline) as wanted:
            wanted.pop(record.value, None)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Ask for the server's health: it is there, or it raises."""
        self._api.ask("GET", "/health", deadline=deadline, take=lambda _: None)

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:
        """As Coverage.covers: registers an account for a name that is not delegated, once.

        Raises NeedsOperator, with the CNAME to make, until the name is that of an account.
        """
        if self._account(name) is not None:
            return
        if not name.startswith(_CHALLENGE) or self._given is not None:
            raise NeedsOperator(*self._unknown(name))
        domain = name.removeprefix(_CHALLENGE)
        if dry:
            found = self._registered(domain)
            if found is None:
                raise NeedsOperator(
                    f"{name} is not delegated to {self._what}",
                    hint=f"certrotd rotate registers {domain} there, and says which CNAME to make",
                )
        else:
            with self._folder.locked(self._what, TurnDeadline(deadline)):
                found = self._registered(domain) or self._register(domain, deadline)
        raise NeedsOperator(
            f"{name} is not delegated to {self._what}",
            hint=f"make this record, and keep it: {name}. CNAME {found.fulldomain}.",
        )

    def _register(self, domain: str, deadline: Deadline) -> Account:
        account = self._api.ask(
            "POST",
            "/register",
            {"allowfrom": self._allow_from} if self._allow_from else None,
            deadline=deadline,
            take=lambda found: Account.read(domain, found),
        )
        kept = json.dumps(asdict(account)).encode()
        self._folder.add(f"account-{account.subdomain}.json", kept)
        return account

    def _registered(self, domain: str) -> Account | None:
        for name in sorted(self._folder.names()):
            if name.startswith("account-"):
                found = self._kept(name)
                if found is not None and found.domain == domain:
                    return found
        return None

    def _account(self, name: str) -> Account | None:
        """The account whose TXT records are at ``name``."""
        if self._given is not None:
            return next((each for each in self._those_given() if each.fulldomain == name), None)
        found = self._kept(f"account-{name.partition('.')[0]}.json")
        return found if found is not None and found.fulldomain == name else None

    def _kept(self, name: str) -> Account | None:
        content = self._folder.read(name, limit=_LIMIT)
        if content is None:
            return None
        try:
            found = parsed(content)
            return Account.read(str(found["domain"]), found)
        except (ValueError, KeyError, TypeError):
            raise NeedsOperator(
                f"{self._folder.where(name)} is not an account of acme-dns",
                hint="restore it from a backup; without it, make the name's CNAME lead elsewhere",
            ) from None

    def _those_given(self) -> tuple[Account, ...]:
        assert self._given is not None
        content = self._given.resolve().reveal()
        try:
            found = parsed(content)
            return tuple(Account.read(domain, each) for domain, each in found.items())
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        # raised outside of the except: the cause's traceback must not carry the secret along
        raise NeedsOperator(
            f"{self._what}: accounts is not JSON of accounts",
            hint='such as {"example.com": {"username": …, "password": …, "subdomain": …, '
            '"fulldomain": …}}',
        )

    def _unknown(self, name: str) -> tuple[str]:
        if name.startswith(_CHALLENGE):
            return (
                f"{name} is not delegated to {self._what}: no CNAME leads from there to an account",
            )
        return (f"{name} is not the subdomain of an account that {self._what} is known to have",)

    @contextmanager
    def _changed(self, account: Account, deadline: Deadline) -> Iterator[dict[str, float]]:
        """The values that are wanted, to be changed; then they are sent, and kept."""
        file = _places_of(account)
        with self._folder.locked(self._what, TurnDeadline(deadline)):
            known = self._known(file)
            wanted = dict(known.wanted)
            yield wanted
            sent, last = updates(known.places, wanted), known.last
            if not sent and wanted == known.wanted:
                return
            self._keep(file, Known(None, wanted, None))  # should this end in the middle
            try:
                for value in sent:
                    if wanted:
                        _apart(last, deadline)
                    self._update(account, value, deadline)
                    last = deadline.clock.now().timestamp()
            except Unpublished:
                # nobody will withdraw what was refused: it must not have a place for ever
                kept = {value: since for value, since in wanted.items() if value in known.wanted}
                self._keep(file, Known(None, kept, None))
                raise
            older, newer = (*(known.places or ()), *sent)[-PLACES:]
            self._keep(file, Known((older, newer), wanted, last))

    def _update(self, account: Account, value: str, deadline: Deadline) -> None:
        self._api.ask(
            "POST",
            "/update",
            {"subdomain": account.subdomain, "txt": value},
            deadline=deadline,
            take=partial(_echoed, value),
            headers={"X-Api-User": account.username, "X-Api-Key": account.password},
        )

    def _known(self, file: str) -> Known:
        content = self._folder.read(file, limit=_LIMIT)
        if content is None:
            return Known(None, {}, 0.0)
        try:
            found = parsed(content)
            places = found["places"]
            wanted = {str(each): float(since) for each, since in found["wanted"].items()}
            if len(wanted) > PLACES:
                raise ValueError("more than there is room for")
            if places is None:
                return Known(None, wanted, None)
            older, newer = places
            last = found.get("last")
            return Known((str(older), str(newer)), wanted, None if last is None else float(last))
        except (ValueError, KeyError, TypeError, AttributeError):
            return Known(None, {}, None)  # damaged: both places are overwritten

    def _keep(self, file: str, known: Known) -> None:
        self._folder.write(file, json.dumps(asdict(known)).encode())


def _places_of(account: Account) -> str:
    return f"places-{account.subdomain}.json"


def _forget(wanted: dict[str, float], now: float) -> None:
    """Without what no order can need any more, though nobody withdrew it; by a clock that jumps."""
    for value, since in [*wanted.items()]:
        if abs(now - since) > FORGOTTEN:
            del wanted[value]


def _apart(last: float | None, deadline: Deadline) -> None:
    """Wait for a second since the ``last`` update: acme-dns has the time of each in whole ones.

    Of two places of the same second it overwrites whichever its database finds first.
    """
    since = 0.0 if last is None else max(0.0, deadline.clock.now().timestamp() - last)
    if since < SECOND:
        deadline.pause(SECOND - since)


def _echoed(value: str, found: Any) -> None:
    if found["txt"] != value:
        raise ValueError("not what was sent")


def build(entry: AcmeDnsEntry, context: SolverContext) -> AcmeDns:
    """The solver of a configuration entry."""
    return AcmeDns(
        Reach.of(entry, f"the acme-dns server of solver {context.name}"),
        entry.url,
        folder=context.folder,
        given=entry.accounts,
        allow_from=entry.allow_from,
    )
