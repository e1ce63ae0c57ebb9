"""Renewal information as the CA sends it (RFC 9773 §4.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from certrotd.errors import InvalidInput, NeedsOperator, one_line
from certrotd.jsontext import parsed
from certrotd.pki.certificate import moment
from certrotd.pki.renewal import RenewalInfo

MAX_URL = 500


def read_renewal_info(content: bytes, *, retry_after: timedelta | None) -> RenewalInfo:
    """The suggested window; NeedsOperator where it is none, or does not end after its start."""
    try:
        data = parsed(content)
        window = data["suggestedWindow"]
        start, end = _moment(window["start"]), _moment(window["end"])
    except (ValueError, KeyError, TypeError, OverflowError, InvalidInput):
        raise NeedsOperator("the CA did not send renewal information (RFC 9773 §4.2)") from None
    if end <= start:
        raise NeedsOperator(f"the window that the CA suggests ends before it begins: {start}")
    return RenewalInfo(start, end, _page(data.get("explanationURL")), retry_after)


def _moment(text: str) -> datetime:
    return moment(text).astimezone(UTC)


def _page(value: Any) -> str:
    """The URL of a page for people; empty for what is none."""
    if not isinstance(value, str) or len(value) > MAX_URL or one_line(value) != value:
        return ""
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        return ""
    return value if scheme in ("https", "http") and " " not in value else ""
