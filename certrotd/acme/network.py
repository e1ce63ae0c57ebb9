"""The single way every request to a CA takes: signed, patient within a deadline, and repeated
only where that is safe."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import requests
from acme.client import ClientNetwork
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.b64 import b64encode
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

import certrotd
from certrotd.acme.problems import LONGEST_WAIT, Busy, Problem, failure_of, read_problem
from certrotd.acme.reach import AllowedUrls
from certrotd.acme.transport import Transport, check_url
from certrotd.clock import Clock, Deadline
from certrotd.errors import NeedsOperator, Transient
from certrotd.https.client import Lost
from certrotd.https.waits import asked_wait, http_date
from certrotd.jsontext import parsed
from certrotd.pki.keys import PrivateKey

MAX_NONCE_TRIES = 30  # at 50 % rejection one request in a billion runs out of them
MAX_REPEATS = 4
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_JSON = json.JSONEncoder(separators=(",", ":"))
FRESH = timedelta(minutes=1)
FIRST_PAUSE = 0.25  # seconds; doubled each time


class Network(ClientNetwork):
    """The acme library's network with its transport and its patience replaced.

    For one thread at a time; ``deadline`` and who signs are set by whoever lends it out. Nothing
    of the library that logs requests, answers or nonces is left in use.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        clock: Clock,
        *,
        request_timeout: float,
        reach: AllowedUrls,
        proxy: bool = False,
    ) -> None:
        super().__init__(user_agent=f"certrotd/{certrotd.__version__} (acme-python)")
        self._clock = clock
        self._transport = Transport(
            context,
            request_timeout=request_timeout,
            agent=self.user_agent,
            reach=reach,
            proxy=proxy,
        )
        self.deadline = Deadline(clock, request_timeout)
        self._signer: dict[str, object] = {}
        self._dated: tuple[datetime, datetime | None] | None = None

    def sign_as(self, key: JWK, account_url: str) -> None:
        """Sign what follows with the account's key; by the key alone if the URL is ""."""
        self.key = key
        self.alg = algorithm_of(key)
        self._signer = {"kid": account_url} if account_url else {"jwk": key.public_key().to_json()}

    def time_of_ca(self, new_nonce_url: str) -> datetime | None:
        """What the CA says the time is, by an answer of the last minute; None if it says nothing.

        It is asked for a nonce where there is no such answer. RFC 9110 §6.6.1 wants a Date in all.
        """
        if self._dated is None or abs(self._clock.now() - self._dated[0]) > FRESH:
            self._add_nonce(self.head(new_nonce_url))
        return self._dated[1] if self._dated else None

    def head(self, *args: Any, **kwargs: Any) -> requests.Response:
        """HEAD, repeated while the CA is away."""
        return self._persistently("HEAD", *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> requests.Response:
        """An unsigned GET, repeated while the CA is away."""
        kwargs.pop("content_type", None)
        return self._persistently("GET", *args, **kwargs)

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """A signed POST: ``post(url, message or None, new_nonce_url=…, repeatable=True)``.

        ``repeatable=False`` says that doing it twice is not doing it once: it is then sent again
        only where the CA cannot have acted on it. Raises Refused, Busy, Lost, NeedsOperator.
        """
        if not self._nonces:
            # with a patience of its own: nothing of the request itself is sent yet
            self._add_nonce(self.head(kwargs["new_nonce_url"]))
        return self._persistently("POST", *args, **kwargs)

    def _persistently(
        self,
        method: str,
        url: str,
        obj: JSONDeSerializable | None = None,
        *,
        new_nonce_url: str = "",
        repeatable: bool = True,
    ) -> requests.Response:
        pause, repeats = FIRST_PAUSE, 0
        while True:
            try:
                if method == "POST":
                    return self._post_fresh(url, obj, new_nonce_url)
                return self._checked(self._send_request(method, url))
            except (Lost, Busy) as failure:
                wait = failure.retry_after.total_seconds() if failure.retry_after else 0.0
                if (
                    repeats == MAX_REPEATS
                    or not may_repeat(failure, repeatable=repeatable)
                    or max(wait, pause) >= self.deadline.remaining
                ):
                    raise
                self.deadline.pause(max(wait, pause))
                pause, repeats = pause * 2, repeats + 1

    def _post_fresh(
        self, url: str, obj: JSONDeSerializable | None, new_nonce_url: str
    ) -> requests.Response:
        """POST with one nonce after another until one is taken (RFC 8555 §6.5).

        A request with a bad nonce was not looked at: sending it again is always safe, and the
        answer brings the nonce to try.
        """
        headers = {"Content-Type": self.JOSE_CONTENT_TYPE}
        for _ in range(MAX_NONCE_TRIES):
            body = self._wrap_in_jws(obj, self._get_nonce(url, new_nonce_url), url)
            response = self._send_request("POST", url, data=body, headers=headers)
            problem = self._problem(response)
            if problem and problem.kind == "badNonce":
                self._nonces.clear()  # what is old to the CA is not tried one by one
            self._add_nonce(response)
            if not (problem and problem.kind == "badNonce"):
                return self._checked(response, problem)
        raise Transient(
            f"the CA at {check_url(url)} refused {MAX_NONCE_TRIES} of its own nonces in a row"
        )

    def _send_request(self, method: str, url: str, *_args: Any, **kwargs: Any) -> requests.Response:
        response = self._transport.exchange(
            method,
            url,
            body=kwargs.get("data"),
            headers=kwargs.get("headers", {}),
            deadline=self.deadline,
        )
        self._dated = self._clock.now(), http_date(response.headers.get("Date"))
        return response

    def _wrap_in_jws(self, obj: JSONDeSerializable | None, nonce: str | bytes, url: str) -> str:
        """The signed request in the flattened JSON serialization (RFC 8555 §6.2, RFC 7515 §7.2.2).

        As the library's, without logging the payload and in a third of the time.
        """
        if self.key is None:
            raise NeedsOperator("a request was to be signed without an account key")
        return json.dumps(jws(self.key, {"nonce": nonce, "url": url, **self._signer}, obj))

    def _get_nonce(self, _url: str, new_nonce_url: str) -> str:
        if not self._nonces:
            self._add_nonce(self._checked(self._send_request("HEAD", new_nonce_url)))
        if not self._nonces:
            raise Transient(f"the CA at {check_url(new_nonce_url)} gives no nonces")
        return self._nonces.pop()

    def _add_nonce(self, response: requests.Response) -> None:
        """Keep the nonce of any answer, errors included; one that is unreadable is ignored."""
        value = response.headers.get(self.REPLAY_NONCE_HEADER, "")
        # RFC 8555 §6.5.1: the client MUST ignore any other; four letters make three octets
        if _NONCE.fullmatch(value) and len(value) % 4 != 1:
            self._nonces.add(value)

    def _problem(self, response: requests.Response) -> Problem | None:
        if response.ok:
            return None
        try:
            return read_problem(parsed(response.content))
        except ValueError:
            return None

    def _checked(
        self, response: requests.Response, problem: Problem | None = None
    ) -> requests.Response:
        if response.ok:
            return response
        asked, now = response.headers.get("Retry-After"), self._clock.now()
        raise failure_of(
            problem or self._problem(response),
            status=response.status_code,
            host=check_url(response.url),
            retry_after=asked_wait(asked, now=now, longest=LONGEST_WAIT),
            url=response.url,
        )


class Payload:
    """A message that is JSON already."""

    def __init__(self, value: Mapping[str, object]) -> None:
        self._value = value

    def to_json(self) -> Mapping[str, object]:
        """As the library's messages have it."""
        return self._value


def jws(
    key: JWK, header: Mapping[str, object], payload: JSONDeSerializable | Payload | None
) -> dict[str, str]:
    """What the key signs, in the flattened JSON serialization (RFC 7515 §7.2.2)."""
    alg = algorithm_of(key)
    encoded = "" if payload is None else _encoded(payload.to_json())
    protected = _encoded({"alg": alg.name, **header})
    signature = alg.sign(key.key, f"{protected}.{encoded}".encode())
    return {
        "protected": protected,
        "payload": encoded,
        "signature": b64encode(signature).decode(),
    }


def _encoded(value: object) -> str:
    return b64encode(_JSON.encode(value).encode()).decode()


def may_repeat(failure: Lost | Busy, *, repeatable: bool) -> bool:
    """Whether a failed request may be sent again without the CA doing its work twice.

    newOrder is the one that is not repeatable: each processed copy is an order, and counts
    against a rate limit. It may go out again if it never reached the CA, if the CA put it off
    unseen (429, 503), and if the CA itself says that it failed (step-ca does when two orders
    of an account meet: "Transaction Conflict. Please retry"); after a lost answer or a gateway's
    502 nobody knows. Everything else is repeatable: a finalization or challenge the CA has acted
    on shows in the order's state, an account is found by its key, and the rest only reads.
    """
    if repeatable:
        return True
    if isinstance(failure, Lost):
        return not failure.sent
    return failure.status in (429, 503) or failure.code == "serverInternal"


def algorithm_of(key: JWK) -> JWASignature:
    """The JWS algorithm that goes with an account key (RFC 7518 §3.1)."""
    if isinstance(key, JWKRSA):
        return RS256
    return ES384 if key.key.curve.name == "secp384r1" else ES256


def account_jwk(key: PrivateKey) -> JWK | None:
    """The key as the JWS library takes it, None for a kind ACME accounts are not made of."""
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return JWKEC(key=key)
    return None
