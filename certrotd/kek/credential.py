"""A KEK that systemd passes to the service: 32 bytes, as LoadCredentialEncrypted= gives them.

The bytes of a KEK file become a credential by ``systemd-creds encrypt``, and unwrap what the file
has wrapped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.kek import sealing
from certrotd.kek.file import read
from certrotd.kek.port import Context, KekUnavailable

if TYPE_CHECKING:  # which the client library does without
    pass


@dataclass(frozen=True)
class CredentialKek:
    """The credential of that name below $CREDENTIALS_DIRECTORY; who may read it systemd sees to."""

    name: str

    def wrap(self, key: bytes, context: Context) -> bytes:
        """As Kek.wrap."""
        return sealing.wrap(read(self._path())[0], key, context)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.unwrap."""
        return sealing.unwrap(read(self._path())[0], wrapped, context, self._what)

    def rewrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.rewrap: with a fresh nonce, for a credential has one version."""
        return self.wrap(self.unwrap(wrapped, context), context)

    @property
    def _what(self) -> str:
        return f"the credential {self.name}"

    def _path(self) -> Path:
        directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise KekUnavailable(
                f"there is no credential {self.name}: CREDENTIALS_DIRECTORY is not set",
                hint=f"give it to the service with LoadCredentialEncrypted={self.name}:PATH",
            )
        return Path(directory) / self.name
