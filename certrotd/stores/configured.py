"""Which store each certificate is kept in: files, unless its entry says otherwise.

A store of type ``T`` is built by ``build(entries, connect)`` of the module ``certrotd.stores.T``,
once for all certificates that are kept so: ``entries`` are theirs by their names.
"""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING

from certrotd.config.model import Config
from certrotd.stores.local import LocalStore

if TYPE_CHECKING:
    from certrotd.certs.ports import Store
    from certrotd.config.connect import Connect


class Stores:
    """Those of one configuration, each built when it is first used."""

    def __init__(self, config: Config, connect: Connect) -> None:
        self._connect = connect
        self._local = LocalStore(config.store_dir)
        self._entries = {
            each.name: each.store for each in config.certificates if each.store is not None
        }
        self._built: dict[str, Store] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Store:
        """That of a certificate, configured or not; raises what building it raises."""
        entry = self._entries.get(name)
        if entry is None:
            return self._local
        with self._lock:
            if entry.type not in self._built:
                alike = {
                    key: each for key, each in self._entries.items() if each.type == entry.type
                }
                module = importlib.import_module(f"certrotd.stores.{entry.type}")
                self._built[entry.type] = module.build(alike, self._connect)
            return self._built[entry.type]

    def names(self) -> list[str]:
        """Every certificate there is something of in files, and all that are kept elsewhere."""
        return sorted({*self._local.names(), *self._entries})
