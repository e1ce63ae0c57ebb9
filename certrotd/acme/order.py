"""One order from its challenges to its certificate (RFC 8555 §7.4 and §7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import requests
from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from josepy.interfaces import JSONDeSerializable
from requests.utils import parse_header_links

from certrotd.acme.account import Account
from certrotd.acme.chains import described, suits
from certrotd.acme.challenges import response_to, wanted
from certrotd.acme.client import Clients
from certrotd.acme.pace import Pace
from certrotd.acme.problems import HINTS, Refused
from certrotd.acme.resources import (
    AuthorizationState,
    OrderState,
    challenge_of,
    read_authorization,
    read_order,
)
from certrotd.acme.transport import joined
from certrotd.clock import Clock, Deadline
from certrotd.config.issuers import AcmeEntry
from certrotd.errors import Failure, InvalidInput, NeedsOperator, Transient, listed
from certrotd.pki.facts import parse_certificates
from certrotd.pki.order import (
    DNS_01,
    Challenge,
    IssuanceRefused,
    Missed,
    OrderGone,
    ValidationFailed,
)
from certrotd.pki.roots import trust

MAX_ANSWERS = 5  # times a CA that leaves a failed challenge open is asked to look again
MAX_ALTERNATES = 10
_NOT_THE_RECORD = {"caa", "dnssec"}


class AcmeOrder:
    """An order at a CA; asks the CA only in its methods, so that its URL can be kept first.

    One that is ``resumed`` is at its last chance to wish for anything.

    Each method takes at most the issuer's timeout; what the DNS takes in between is not the CA's.
    Besides what it names it raises Transient (no answer, no verdict in time), NeedsOperator
    (the CA refused, or speaks something else than ACME) and OrderGone.
    """

    def __init__(
        self,
        url: str,
        state: OrderState,
        *,
        account: Account,
        clients: Clients,
        entry: AcmeEntry,
        clock: Clock,
        resumed: bool,
        kind: str = DNS_01,
    ) -> None:
        self.url = url
        self.missed: Missed | None = None
        self._state = state
        self._account = account
        self._kind = kind
        self._clients = clients
        self._entry = entry
        self._clock = clock
        self._resumed = resumed
        self._authorizations: list[AuthorizationState] | None = None

    def challenges(self) -> tuple[Challenge, ...]:
        """The TXT records still to be proven, () if the CA wants none.

        Raises NeedsOperator where the kind of challenge is not offered, and ValidationFailed.
        """
        key, url = self._account.key, self._account.url
        return tuple(
            wanted(challenge_of(each).chall, each.name, key, url, wildcard=each.wildcard)
            for each in self._pending(self._limit())
        )

    def validate(self) -> None:
        """Have the CA look at every pending challenge and wait until every authorization is valid.

        Raises ValidationFailed with the CA's words for each name.
        """
        deadline = self._limit()
        pace = Pace(deadline)
        waiting = self._pending(deadline)
        to_tell = [each for each in waiting if each.waits_for_answer]
        rounds, response = 0, None
        while waiting:
            if to_tell and rounds == MAX_ANSWERS:
                raise _failed(to_tell)
            rounds += bool(to_tell)
            for each in to_tell:
                self._answer(each, deadline)
            pace.wait(response, late=partial(_late, waiting))
            try:
                waiting, response = self._look(waiting, deadline)
            except ValidationFailed as failed:
                if self._clients.signs_with(self._account.key):
                    raise
                raise _changed() from failed  # the CA looked for a value made with the new key
            # some CAs keep a failed challenge open until the client asks again (RFC 8555 §8.2)
            to_tell = [each for each in waiting if each.waits_for_answer and each.problem]
            if to_tell:
                pace.slow_down()
        self._authorizations = []

    def finalize(self, csr_der: bytes) -> bytes:
        """The certificate chain in PEM, leaf first; the CSR is sent unless the order has had one.

        Raises ValidationFailed with the CA's words where the order has become invalid, and
        IssuanceRefused where the CA refuses the CSR. After any other failure it may have issued.
        """
        deadline = self._limit()
        pace = Pace(deadline)
        response: requests.Response | None = None
        while self._state.status != "valid":
            if self._state.status == "invalid":
                problem = self._state.problem
                raise ValidationFailed(self.refusal(), kinds=[problem.kind] if problem else ())
            if response is not None:
                pace.wait(response, late=self._unfinished)
            if self._state.status == "processing":
                response = self._ask(self.url, deadline)
            else:
                # "pending" is what the order was before its validation: asking what it is now
                # would be a request more than just sending the CSR
                response = self._send_csr(csr_der, deadline)
            self._state = read_order(response.content)
        return self._download(deadline)

    def refusal(self) -> str:
        """Why the CA made the order invalid, in its words."""
        names = listed(sorted(self._state.names))
        said = self._state.problem.words() if self._state.problem else "it gave no reason"
        return f"the CA rejected the order for {names}: {said}"

    def _limit(self) -> Deadline:
        return Deadline(self._clock, self._entry.timeout.total_seconds())

    def _pending(self, deadline: Deadline) -> list[AuthorizationState]:
        """The authorizations to prove, fetched once; all of them offer the challenge."""
        if self._state.status != "pending":
            return []
        if self._authorizations is None:
            fetched = [self._fetch(url, deadline)[0] for url in self._state.authorizations]
            for each in (pending := _pending_of(fetched)):
                challenge_of(each)
            self._authorizations = pending
        return self._authorizations

    def _fetch(self, url: str, deadline: Deadline) -> tuple[AuthorizationState, requests.Response]:
        response = self._ask(url, deadline)
        found = read_authorization(response.content, url, self._state.names, self._kind)
        return found, response

    def _look(
        self, waiting: Sequence[AuthorizationState], deadline: Deadline
    ) -> tuple[list[AuthorizationState], requests.Response | None]:
        """Those of ``waiting`` still pending, and the last answer for its Retry-After.

        Each is fetched: the order's own status may run ahead or behind.
        """
        fetched = [self._fetch(each.url, deadline) for each in waiting]
        return _pending_of([each for each, _ in fetched]), fetched[-1][1]

    def _answer(self, each: AuthorizationState, deadline: Deadline) -> None:
        challenge = challenge_of(each)
        try:
            response = response_to(challenge.chall, self._account.key)
            self._ask(challenge.uri, deadline, response, proves=True)
        except Refused as refused:
            # some CAs refuse a second answer (the first one's reply was lost, or another process
            # gave it); then the authorization tells the outcome
            if refused.code != "malformed" or self._fetch(each.url, deadline)[0].waits_for_answer:
                raise

    def _send_csr(self, csr_der: bytes, deadline: Deadline) -> requests.Response:
        csr = messages.CertificateRequest(csr=x509.load_der_x509_csr(csr_der))
        try:
            return self._ask(self._state.finalize, deadline, csr)
        except Refused as refused:
            if not refused.of_the_ca:
                raise  # some gateway's word; the CA itself may have issued
            # finalized before (that reply was lost), or the CA has yet to add up validations
            response = self._ask(self.url, deadline)
            known = read_order(response.content).status
            if refused.code != "orderNotReady" and known in ("pending", "ready"):
                raise IssuanceRefused(refused.message, hint=refused.hint) from refused
            return response

    def _download(self, deadline: Deadline) -> bytes:
        if not self._state.certificate:
            raise NeedsOperator(f"the CA calls {self.url} valid but names no certificate")
        try:
            response = self._ask(self._state.certificate, deadline)
        except OrderGone as gone:
            self._ask(self.url, deadline)  # is it? then so is what was issued on it
            raise Transient(
                f"the CA has issued the certificate but does not have it yet: {gone.message}"
            ) from gone
        chain = parse_certificates(response.content, what="the CA's certificate chain")
        wanted = self._entry.preferred_chain
        if wanted and not suits(chain, wanted, self._roots):
            chain = self._alternate(response, wanted, deadline, default=chain)
        # written anew: a server's text around the certificates (RFC 8555 §9.1) reaches no file
        return b"".join(each.public_bytes(Encoding.PEM) for each in chain)

    def _alternate(
        self,
        response: requests.Response,
        wanted: str,
        deadline: Deadline,
        *,
        default: list[x509.Certificate],
    ) -> list[x509.Certificate]:
        """The chain that is wanted, else the ``default``; then what was missed is known."""
        links = parse_header_links(response.headers.get("Link", ""))
        urls = [
            joined(response.url, link["url"]) for link in links if link.get("rel") == "alternate"
        ]
        offered = [described(default, wanted)]
        for url in urls[:MAX_ALTERNATES]:
            try:
                content = self._ask(url, deadline).content
                chain = parse_certificates(content, what="the CA's alternate chain")
            except (NeedsOperator, InvalidInput, OrderGone):
                continue  # only a wish; what has been issued is not given up for it
            except Transient:
                if not self._resumed:
                    raise  # it may be had when the order is resumed
                continue
            if suits(chain, wanted, self._roots):
                return chain
            offered.append(described(chain, wanted))
        self.missed = Missed(wanted, tuple(dict.fromkeys(offered)))
        return default

    def _roots(self) -> list[bytes]:
        """The roots known to this machine, and those named for the CA's web server, in DER."""
        bundles = dict.fromkeys((None, self._entry.ca_bundle))
        return [root for each in bundles for root in trust(each).get_ca_certs(binary_form=True)]

    def _ask(
        self,
        url: str,
        deadline: Deadline,
        message: JSONDeSerializable | None = None,
        *,
        proves: bool = False,
    ) -> requests.Response:
        """What the CA answers; asked with the account's new key where another process changed it.

        What ``proves`` something has to be made anew then: the key is part of it (RFC 8555 §8.1).
        """
        wrong: Account | None = None
        while True:
            with self._clients.lend(deadline, wrong=wrong) as (client, account):
                if proves and account.key != self._account.key:
                    raise _changed()
                try:
                    return client.ask(url, message)
                except (Refused, OrderGone) as refused:
                    if wrong or not self._clients.is_stale(account, refused):
                        raise
            wrong = account

    def _unfinished(self) -> Failure:
        return Transient(f"the CA did not issue in time, its order is {self._state.status}")


def _changed() -> Transient:
    return Transient("the account's key was changed while names were being proven")


def _pending_of(found: Sequence[AuthorizationState]) -> list[AuthorizationState]:
    failed = [each for each in found if each.status == "invalid"]
    if failed:
        raise _failed(failed)
    for each in found:
        if each.status not in ("pending", "valid"):  # expired, deactivated, revoked
            raise OrderGone(f"the authorization for {each.name} is {each.status}")
    return [each for each in found if each.status == "pending"]


def _failed(failed: Sequence[AuthorizationState]) -> ValidationFailed:
    said = [
        f"{each.name}: {each.problem.words() if each.problem else 'no reason given'}"
        for each in failed
    ]
    hint = "the TXT record must be visible at every authoritative name server of the zone"
    kinds = {each.problem.kind for each in failed if each.problem}
    if kinds & _NOT_THE_RECORD:
        hint = HINTS[min(kinds & _NOT_THE_RECORD)]
    words = f"the CA did not accept the proof for {'; '.join(said)}"
    return ValidationFailed(words, hint=hint, kinds=kinds)


def _late(waiting: Sequence[AuthorizationState]) -> Failure:
    looked = [each for each in waiting if each.problem]
    if looked:
        return _failed(looked)
    return Transient(f"the CA did not decide in time on {listed(each.name for each in waiting)}")
