"""A service whose values name their key by its slot: ``v1:IV:TAG:CIPHERTEXT``, AES-256-GCM.

Run with a port. TICKETS_KEY_V1, TICKETS_KEY_V2 (base64) and TICKETS_KEY_VERSION are read once.
"""

from __future__ import annotations

import base64
import os
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.parts.applications.service import Service


class Slots:
    """The keys by the slots that have one, and the slot that encrypts."""

    def __init__(self) -> None:
        texts = {slot: os.environ.get(f"TICKETS_KEY_{slot.upper()}", "") for slot in ("v1", "v2")}
        self._keys = {slot: AESGCM(base64.b64decode(text)) for slot, text in texts.items() if text}
        self._version = os.environ["TICKETS_KEY_VERSION"]

    def encrypt(self, text: str) -> str:
        iv = os.urandom(12)
        sealed = self._keys[self._version].encrypt(iv, text.encode(), None)
        return ":".join((self._version, iv.hex(), sealed[-16:].hex(), sealed[:-16].hex()))

    def decrypt(self, stored: str) -> str:
        slot, iv, tag, ciphertext = stored.split(":")
        sealed = bytes.fromhex(ciphertext + tag)
        try:
            return self._keys[slot].decrypt(bytes.fromhex(iv), sealed, None).decode()
        except KeyError:
            raise ValueError(f"slot {slot} has no key") from None
        except InvalidTag:
            raise ValueError(f"slot {slot} has another key") from None


if __name__ == "__main__":
    Service(int(sys.argv[1]), Slots(), "messages", "body").serve_forever()
