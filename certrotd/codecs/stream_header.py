"""The header of an encrypted file: two slots, each with the file's own key under a key of a ring.

Each slot is 512 bytes and says everything by itself, so that one is rewritten while the other
stays: ``8E "CRDFILE" | format 1 | content 1 | 00 00 | key id, 4 bytes big-endian | file id, 16 |
wrapped key, 65 | zeros``. The wrapped key is Tink's AEAD ciphertext (tink.py) of the content key,
32 bytes, or zeros in a slot that is empty. Its associated data is
``"certrotd file slot\\0" | the slot's first 32 bytes | 0 or 1``. The key id is that of the key that
the content key was wrapped under first; content is the cipher (stream.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from certrotd.codecs.errors import CodecError, Damaged, Unsupported
from certrotd.codecs.port import key_number
from certrotd.codecs.selection import decrypt
from certrotd.codecs.tink import OVERHEAD, Tink
from certrotd.keyring.material import DataKey, KeySet, Material

MAGIC = b"\x8eCRDFILE"
SLOT = 512
HEADER = 2 * SLOT
_FORM, _REST = b"\x01", b"\x00\x00"
_FIXED = 32
_FILE_ID = 16
CONTENT_KEY = 32
_WRAPPED = CONTENT_KEY + OVERHEAD
_EMPTY = bytes(_WRAPPED)
_PADDING = bytes(SLOT - _FIXED - _WRAPPED)
_BINDS = b"certrotd file slot\0"
_TINK = Tink()
NUMBER = 4
"""The bytes of a key id."""


class Cipher(Enum):
    """What encrypts the content of a file, by its number in the header."""

    COBBLESTONE_256 = 1
    AES_256_GCM_HKDF = 2


_KNOWN = tuple(MAGIC + _FORM + bytes([each.value]) + _REST for each in Cipher)


@dataclass(frozen=True)
class Header:
    """A header that was opened.

    ``fixed`` is what every slot of the file begins with. ``opened`` has the key version by which
    each slot opened, None for one that is empty or that no key opens.
    """

    fixed: bytes
    content: Material
    slots: tuple[bytes, bytes]
    opened: tuple[int | None, int | None]

    @property
    def data(self) -> bytes:
        """As it is in the file."""
        return b"".join(self.slots)

    @property
    def cipher(self) -> Cipher:
        """What the content is encrypted by."""
        return Cipher(self.fixed[len(MAGIC) + len(_FORM)])

    @property
    def origin(self) -> str:
        """The id of the key that the content key was wrapped under first, in decimal."""
        return str(int.from_bytes(self.fixed[-_FILE_ID - NUMBER : -_FILE_ID]))

    def is_under(self, version: int) -> bool:
        """Whether this key opens it, and nothing else is in its slots."""
        one, other = self.opened
        filled = 0 if one == version else 1 if other == version else None
        return filled is not None and self.slots[1 - filled] == _slot(self.fixed, _EMPTY)

    def rewrapped(self, key: DataKey) -> tuple[bytes, int]:
        """The header with this key alone, and the slot of it, which is written first.

        The other slot, which opens the file until then, is emptied afterwards. Raises Unsupported.
        """
        slots = list(self.slots)
        if key.version in self.opened:
            filled = self.opened.index(key.version)
        else:
            one, other = (each or 0 for each in self.opened)
            filled = 1 if one > other else 0  # the newer key opens it for longer
            slots[filled] = _filled(self.fixed, filled, self.content, key)
        slots[1 - filled] = _slot(self.fixed, _EMPTY)
        return b"".join(slots), filled


def new_header(key: DataKey, cipher: Cipher = Cipher.COBBLESTONE_256) -> Header:
    """The header of a new file, with a content key of its own; raises Unsupported."""
    origin = key_number(_TINK.key_id_for(key), most=2 ** (8 * NUMBER) - 1)
    form = _FORM + bytes([cipher.value]) + _REST
    fixed = MAGIC + form + origin.to_bytes(NUMBER) + os.urandom(_FILE_ID)
    content = Material(os.urandom(CONTENT_KEY))
    slots = _filled(fixed, 0, content, key), _slot(fixed, _EMPTY)
    return Header(fixed, content, slots, (key.version, None))


def is_marked(data: bytes) -> bool:
    """Whether the beginning of a file may have been such a header, however damaged.

    So may what begins with zeros: a crash can leave a block of them.
    """
    places = data[: len(MAGIC)], data[SLOT : SLOT + len(MAGIC)]
    if any(mark in place for mark in (MAGIC[:4], MAGIC[1:]) for place in places):
        return True
    return bool(data) and not any(data[:SLOT])


def read_header(data: bytes, keys: KeySet) -> Header:
    """The header that a file begins with, by any of ``keys``; raises CodecError.

    One slot is enough: the other may be half written, by a process that was killed.
    """
    if len(data) < HEADER:
        raise Damaged("it is no encrypted file, or was cut short")
    slots = data[:SLOT], data[SLOT:HEADER]
    failures: list[CodecError] = []
    found: list[tuple[bytes, Material]] = []
    opened: list[int | None] = [None, None]
    for number, slot in enumerate(slots):
        try:
            if (key := _opened(slot, number, keys)) is not None:
                content, opened[number] = key
                found.append((slot[:_FIXED], content))
        except CodecError as failure:
            failures.append(failure)
    if not found:
        raise max(failures, key=_telling, default=Damaged("both slots of its header are empty"))
    if found[0] != found[-1]:
        raise Damaged("the two slots of its header are of different files")
    fixed, content = found[0]
    return Header(fixed, content, slots, (opened[0], opened[1]))


def _telling(failure: CodecError) -> int:
    """How much a failure says: a key that is missing, more than bytes that are wrong."""
    return 0 if isinstance(failure, Damaged) else 1


def _opened(slot: bytes, number: int, keys: KeySet) -> tuple[Material, int] | None:
    """The content key in a slot, and the version that opened it; None if the slot is empty."""
    if not slot.startswith(MAGIC):
        raise Damaged("it is no encrypted file, or its header is damaged")
    fixed, wrapped = slot[:_FIXED], slot[_FIXED : _FIXED + _WRAPPED]
    if not fixed.startswith(_KNOWN):
        raise Unsupported("its header is of a form that this certrotd does not know")
    if slot != _slot(fixed, wrapped):
        raise Damaged("its header is damaged")
    if wrapped == _EMPTY:
        return None
    plaintext, key = decrypt(_TINK, wrapped, keys, _bound(fixed, number))
    return Material(plaintext), key.version


def _filled(fixed: bytes, number: int, content: Material, key: DataKey) -> bytes:
    return _slot(fixed, _TINK.encrypt(content.reveal(), key, _bound(fixed, number)))


def _slot(fixed: bytes, wrapped: bytes) -> bytes:
    return fixed + wrapped + _PADDING


def _bound(fixed: bytes, number: int) -> bytes:
    return _BINDS + fixed + bytes([number])
