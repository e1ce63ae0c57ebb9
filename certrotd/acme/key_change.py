"""The change of an account's key (RFC 8555 §7.3.5), which may be broken off at any instant.

The new key is durable before the CA hears of it, and the old one stays until the new one is in its
place. So whoever finds both asks the CA which of them it knows, and ends the change or drops it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from acme import messages
from josepy.jwk import JWK

from certrotd.acme.account import AccountFolder, kind_of
from certrotd.acme.network import Payload, jws
from certrotd.acme.problems import Busy, Refused
from certrotd.acme.transport import location_of
from certrotd.config.context import Surroundings
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki.keys import KeyType
from certrotd.state.ports import Lease

if TYPE_CHECKING:
    from certrotd.acme.client import Client

UNSURE = timedelta(minutes=10)
"""For so long a CA may still carry out a change, or show an older copy of its database."""
_UNKNOWN = ("accountDoesNotExist", "badPublicKey", "badSignatureAlgorithm")
"""What a CA says of a key that none of its accounts can have."""


class Act(Enum):
    """What becomes of a change that was begun."""

    FINISH = auto()
    DROP = auto()
    KEEP = auto()
    WAIT = auto()


@dataclass(frozen=True)
class Verdict:
    """An act and the reason for it, in words."""

    act: Act
    why: str


def decide(
    *, knows_new: bool, knows_old: bool, begun: datetime, refused: bool, now: datetime
) -> Verdict:
    """What becomes of a change, by which keys the CA knows.

    ``begun`` as of doubted_since(). ``refused``: it is certain that the CA has never accepted the
    change. KEEP goes on with the old key and does not forget the new one; WAIT goes on with
    neither.
    """
    if knows_new:
        return Verdict(Act.FINISH, "the CA knows the new key")
    if knows_old and refused:
        return Verdict(Act.DROP, "the CA refused it")
    if now - begun < UNSURE:
        if knows_old:
            return Verdict(Act.KEEP, "the CA knows the old key, and may yet hear of the new one")
        return Verdict(Act.WAIT, "the CA knows neither the old nor the new key at the moment")
    if knows_old:
        return Verdict(Act.DROP, "the CA knows the old key, and never heard of the new one")
    return Verdict(Act.DROP, "the CA knows neither key: it has forgotten the account")


def doubted_since(begun: datetime | None, *, now: datetime) -> datetime:
    """Since when it is in doubt which key the CA knows: now, where that is not known.

    Or if it is yet to come: the clock was ahead then, and nobody waits for so long.
    """
    return now if begun is None or begun > now else begun


def is_unimplemented(failure: Failure) -> bool:
    """Whether a CA names a URL that it does nothing at (501, RFC 9110 §15.6.2)."""
    return isinstance(failure, Busy) and failure.status == 501


def find_account(client: Client, key: JWK) -> str | None:
    """The URL of the account that the key is of (RFC 8555 §7.3.1); None if there is none.

    Nothing is registered. Raises Refused where it is deactivated, and what asking the CA raises.
    """
    client.net.sign_as(key, "")
    message = messages.NewRegistration(only_return_existing=True)
    try:
        return location_of(client.post(client.directory["newAccount"], message), "account")
    except Refused as refused:
        if refused.code in _UNKNOWN:
            return None
        raise


class KeyChange:
    """A change of the key of one account; the lock of its folder must be held throughout."""

    def __init__(
        self, client: Client, folder: AccountFolder, lease: Lease, site: Surroundings, name: str
    ) -> None:
        self._client = client
        self._folder = folder
        self._lease = lease
        self._site = site
        self._name = name

    def begin(self, old: JWK, url: str, key_type: KeyType, *, now: datetime) -> None:
        """Make the new key and have the CA take it for the account at ``url``.

        Raises what the CA refuses it with, where the old key stays; Transient where nobody knows
        yet, and whoever uses the account next finds out. NeedsOperator of a CA that changes none.
        """
        where = self._client.directory.to_partial_json().get("keyChange")
        if not isinstance(where, str):
            raise NeedsOperator(f"the CA {self._name} does not change keys (it has no keyChange)")
        first = not self._folder.is_changing()
        self._site.record("account.rollover_begun", url=url)
        self._lease.check()
        new = self._folder.begin_change(key_type, now=now)
        inner = {"account": url, "oldKey": old.public_key().to_json()}
        header = {"jwk": new.public_key().to_json(), "url": where}
        self._client.net.sign_as(old, url)
        try:
            # a second copy of one whose answer is lost would be refused, for the key is new by then
            message = Payload(jws(new, header, Payload(inner)))
            self._client.post(where, message, repeatable=False)
        except (Refused, Transient) as failure:
            said_no = isinstance(failure, Refused) or is_unimplemented(failure)
            if self.settle(now=now, refused=first and said_no).act is Act.FINISH:
                return
            if not said_no:
                raise self._unknown(failure) from failure
            raise
        else:
            self._finish(new)

    def settle(self, *, now: datetime, refused: bool = False) -> Verdict:
        """End or drop a change that was begun, by what the CA knows; ``refused`` as of decide().

        Raises Transient where the CA cannot tell; then both keys stay.
        """
        folder, old, new = self._folder, self._folder.kept_key(), self._folder.next_key()
        if new is None:
            return Verdict(Act.DROP, "there is none")
        if old == new:
            self._lease.check()
            folder.end_change()
            return Verdict(Act.FINISH, "the new key is in its place")
        knows_new, known = self._knows(new), folder.changing_since()
        begun = doubted_since(known, now=now)
        if not knows_new and begun != known:
            self._lease.check()
            folder.begin_doubt(now=now)
        verdict = decide(
            knows_new=knows_new,
            knows_old=not knows_new and old is not None and self._knows(old),
            begun=begun,
            refused=refused,
            now=now,
        )
        if verdict.act is Act.FINISH:
            self._finish(new)
        elif verdict.act is Act.DROP:
            self._lease.check()
            self._site.record("account.rollover_dropped", why=verdict.why)
            folder.end_change()
            self._site.remark(f"issuer {self._name}: the account keeps its key: {verdict.why}")
        elif verdict.act is Act.WAIT:
            raise Transient(
                f"a change of the key of the account is under way, and {verdict.why}",
                hint=f"it is decided at the latest {UNSURE.seconds // 60} minutes after it began",
            )
        return verdict

    def _unknown(self, failure: Failure) -> Transient:
        return Transient(
            f"it is not known whether the CA took the new key: {failure.message}",
            hint=f"nothing is lost: the next order, or `certrotd account rollover {self._name}`, "
            "asks the CA",
        )

    def _finish(self, new: JWK) -> None:
        self._lease.check()
        self._folder.promote(new)
        kind = kind_of(new)
        self._site.record("account.rolled_over", url=self._folder.url(), key=kind)
        self._folder.end_change()
        self._site.remark(f"issuer {self._name}: the account has a new key ({kind})")

    def _knows(self, key: JWK) -> bool:
        """Whether an account has this key, be it a deactivated one."""
        try:
            return find_account(self._client, key) is not None
        except Refused as refused:
            if refused.code == "unauthorized":
                return True
            raise
