"""An account registered at a CA (RFC 8555 §7.3): its terms, and whose customer it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acme import messages

from certrotd.acme.transport import location_of
from certrotd.config.issuers import AcmeEntry, BindingEntry, binding_key
from certrotd.errors import NeedsOperator

if TYPE_CHECKING:
    from certrotd.acme.client import Client


def register(client: Client, entry: AcmeEntry, name: str) -> tuple[str, bool]:
    """Create the account of the key the client signs with, or find it; its URL, whether it is new.

    A key the CA knows is answered with the existing account (RFC 8555 §7.3.1), so that repeating
    this is harmless. Raises NeedsOperator where the CA's terms are not agreed to.
    """
    terms = agreed_terms(client, entry, name)
    message = messages.NewRegistration(
        **({"contact": entry.contact} if entry.contact else {}),
        **({"terms_of_service_agreed": True} if terms else {}),
        **({"external_account_binding": binding(client, entry.eab)} if entry.eab else {}),
    )
    response = client.post(client.directory["newAccount"], message)
    return location_of(response, "account"), response.status_code == 201


def binding(client: Client, entry: BindingEntry) -> dict[str, Any]:
    """What binds the account whose key the client signs with to a customer's (RFC 8555 §7.3.4).

    Raises NeedsOperator for a key that is none, and what reading a secret raises.
    """
    key = binding_key(entry.key.resolve().reveal())
    assert client.net.key is not None, "it signs"
    found: dict[str, Any] = messages.ExternalAccountBinding.from_data(
        *(client.net.key.public_key(), entry.key_id, key), client.directory, entry.algorithm
    )
    return found


def agreed_terms(client: Client, entry: AcmeEntry, name: str) -> str | None:
    """Where the CA's terms are, if it has any; NeedsOperator where they are not agreed to."""
    terms: str | None = client.directory.meta.terms_of_service
    if terms and not entry.agree_to_terms:
        raise NeedsOperator(
            f"the CA {name} requires agreement to its terms of service: {terms}",
            hint="read them, then set agree_to_terms: true",
        )
    return terms
