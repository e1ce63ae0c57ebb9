"""Managed keys by their configuration: the entries are those of KEKs in the same services."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from certrotd.kek.managed.port import ManagedKey

if TYPE_CHECKING:
    from certrotd.config.keks import AwsKmsKekEntry, AzureKeyVaultKekEntry, VaultKekEntry


def managed_key_of(
    name: str, entry: AwsKmsKekEntry | VaultKekEntry | AzureKeyVaultKekEntry
) -> ManagedKey:
    """The key that ``entry`` describes; nothing is asked yet."""
    module = importlib.import_module(f"certrotd.kek.managed.{entry.type.replace('-', '_')}")
    key: ManagedKey = module.build(name, entry)
    return key
