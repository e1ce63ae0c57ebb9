"""The limits of an issuer, as configured."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT, Limit, Limits

if TYPE_CHECKING:
    from certrotd.config.issuers import IssuerEntry

LETS_ENCRYPT_HOST = "acme-v02.api.letsencrypt.org"


def limits_of(issuer: IssuerEntry) -> Limits | None:
    """What the configuration says, taken as it stands; else Let's Encrypt's at Let's Encrypt.

    None where nothing is limited: everywhere else, and with ``budget: none``.
    """
    if issuer.type != "acme":
        return None
    if issuer.budget is not None:
        orders = issuer.budget.orders
        return None if orders is None else Limits(orders=Limit(orders, issuer.budget.per))
    known = urlsplit(issuer.directory).hostname == LETS_ENCRYPT_HOST
    return LETS_ENCRYPT if known else None
