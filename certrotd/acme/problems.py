"""What a CA says when it refuses, turned into words and into who acts next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from certrotd.errors import NeedsOperator, Transient, one_line

ERROR_PREFIX = "urn:ietf:params:acme:error:"
MAX_SUBPROBLEMS = 20
MAX_WORDS = 400
LONGEST_WAIT = timedelta(days=7)
"""The longest rate limit of public CAs."""
_OTHER_KEY = "choose another account_key; `certrotd account new ISSUER` then makes such a key"
HINTS = {
    "accountDoesNotExist": "the CA forgot the account; the next order registers it again",
    "badCSR": "another key type may be acceptable to this CA",
    "badPublicKey": _OTHER_KEY,
    "badSignatureAlgorithm": _OTHER_KEY,
    "caa": "the domain's CAA records must allow this CA",
    "dns": "the CA could not look up the name; check the zone's name servers and DNSSEC",
    "dnssec": "the zone's DNSSEC signatures do not verify",
    "externalAccountRequired": "this CA issues only to accounts bound to a customer's account: "
    "put the key that it shows there under eab",
    "invalidContact": "correct the contact address",
    "unsupportedContact": "correct the contact address",
    "malformed": "this CA does not take the request as it is: its words say what to change "
    "(config check tells of names that a wildcard covers)",
    "rateLimited": "the CA's documentation lists its limits",
    "rejectedIdentifier": "this CA does not issue for that name",
    "unsupportedIdentifier": "this CA does not issue for that kind of name",
    "unauthorized": "the account may be deactivated (`certrotd account show` tells; `certrotd "
    "account new ISSUER` registers another one), or not entitled to these names",
    "userActionRequired": "the CA's terms of service may have changed; visit the page it names",
}
NO_DIRECTORY = "is the directory URL one of an ACME server (RFC 8555)?"
_HTTP_BUSY = (429, 503)
_NOT_FOUND = (404, 405)


@dataclass(frozen=True)
class Problem:
    """A problem document (RFC 7807) of an ACME server.

    ``kind`` is the type without its ACME prefix; ``parts`` are the subproblems (RFC 8555
    §6.7.1) as (identifier, kind, detail), at most 20; ``page`` is where there is more, or "".
    Nothing in it is escaped yet.
    """

    kind: str
    detail: str
    parts: tuple[tuple[str, str, str], ...] = ()
    page: str = ""

    def words(self) -> str:
        """One printable line: the kind, the detail and what was said of each identifier."""
        said = _said(self.kind, self.detail)
        each = [f"{name}: {_said(kind, detail)}" for name, kind, detail in self.parts]
        see = [f"see {self.page}"] if self.page else []
        return one_line("; ".join([said, *each, *see]))


class Refused(NeedsOperator):
    """The CA said no; ``code`` is the problem's kind ("" without one), ``status`` the HTTP one.

    ``url`` is what was asked for when it did.
    """

    def __init__(
        self, message: str, *, code: str, status: int, url: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.url = url

    @property
    def of_the_ca(self) -> bool:
        """Whether it is in ACME's words, and not those of something that stands before the CA.

        Other problem documents have a URI for a type, or none (RFC 9457 §3.1.1).
        """
        return bool(self.code) and ":" not in self.code


class Busy(Transient):
    """The CA answered that it cannot now; ``status`` is the HTTP one."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        hint: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.status = status
        self.code = code


class ClockOff(Transient):
    """Our own clock is too far off the CA's."""


def read_problem(data: object) -> Problem | None:
    """The problem in decoded JSON, or None where it is something else.

    Lenient on purpose: an inexact document should still give its words to a person.
    """
    if not isinstance(data, dict) or not ("type" in data or "detail" in data):
        return None
    parts = []
    below = data.get("subproblems")
    for part in (below if isinstance(below, list) else [])[:MAX_SUBPROBLEMS]:
        if isinstance(part, dict):
            identifier = part.get("identifier")
            value = identifier.get("value") if isinstance(identifier, dict) else None
            parts.append((_text(value) or "unnamed", _kind(part), _text(part.get("detail"))))
    detail, page = _text(data.get("detail") or data.get("title")), _text(data.get("instance"))
    return Problem(_kind(data), detail, tuple(parts), page)


def failure_of(
    problem: Problem | None,
    *,
    status: int,
    host: str,
    retry_after: timedelta | None,
    url: str = "",
) -> Refused | Busy:
    """What an HTTP error ``status`` with (or without) a problem document means for us."""
    code = problem.kind if problem else ""
    said = problem.words() if problem else f"HTTP status {status} without an explanation"
    message = f"the CA at {host} says {said}"
    hint = HINTS.get(code, "")
    if status in _HTTP_BUSY or status >= 500 or code in ("rateLimited", "serverInternal"):
        return Busy(message, status=status, code=code, hint=hint, retry_after=retry_after)
    if not problem or (code == "malformed" and status in _NOT_FOUND):
        hint = NO_DIRECTORY
    return Refused(message, code=code, status=status, url=url, hint=hint)


def _kind(data: dict[object, object]) -> str:
    return _text(data.get("type")).removeprefix(ERROR_PREFIX)


def _said(kind: str, detail: str) -> str:
    return ": ".join(text for text in (kind, detail) if text) or "no reason"


def _text(value: object) -> str:
    return value[:MAX_WORDS] if isinstance(value, str) else ""
