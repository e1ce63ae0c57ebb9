"""Files of symmetric-encryption: each is encrypted anew, under a key of its own where it had one.

Its content stays as it is, compressed or not. What was written is read again and compared before it
becomes the file.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from io import FileIO

from certrotd.codecs.encoding import Encoding
from certrotd.codecs.errors import Damaged
from certrotd.codecs.expectation import Utf8
from certrotd.codecs.selection import named_by
from certrotd.codecs.stream_header import HEADER
from certrotd.codecs.symmetric_encryption import SymmetricEncryption
from certrotd.codecs.symmetric_header import MAGIC, Header, read_header
from certrotd.codecs.symmetric_stream import PART, Body, Read, Sealing, sealing
from certrotd.datasets.file_values import FileValues, beginning_of
from certrotd.datasets.port import Change, Row
from certrotd.datasets.row_values import Seen, Unfit
from certrotd.datasets.values import Form, Leftover
from certrotd.files.writing import write_all
from certrotd.keyring.material import DataKey, KeySet

HEADERS = SymmetricEncryption(Utf8(), Encoding.NONE, file=True)
"""By which the beginnings of files are told."""


@dataclass(frozen=True)
class Encrypted:
    """How a file was encrypted, as its header says, and the version's key."""

    header: Header
    start: int
    key: DataKey


@dataclass(frozen=True)
class Renewal:
    """Refill: what ``old`` opens, or plaintext (None), under ``new``."""

    old: Encrypted | None
    new: DataKey
    text: bool

    def fill(self, old: int, new: int) -> None:
        """As Refill.fill."""
        compressed = self.old is not None and self.old.header.compressed
        own_key = self.old is None or bool(self.old.header.key)
        sealed = sealing(self.new, partial(write_all, new), compressed=compressed, own_key=own_key)
        with FileIO(old, closefd=False) as source:
            digest = self._moved(source.read, source, sealed)
        with FileIO(new, closefd=False) as written:
            header, start = _header(os.pread(new, HEADER, 0))
            written.seek(start)
            again = hashlib.sha256()
            Body.of(header, self.new, text=self.text).open(written.read, again.update)
        if again.digest() != digest:
            raise Unfit("its ciphertext under the active key does not open to the same content")

    def _moved(self, read: Read, source: FileIO, sealed: Sealing) -> bytes:
        """Encrypt the content; its digest."""
        digest = hashlib.sha256()

        def both(data: bytes) -> None:
            digest.update(data)
            sealed.update(data)

        source.seek(0 if self.old is None else self.old.start)
        if self.old is None:
            while data := read(PART):
                both(data)
        else:
            Body.of(self.old.header, self.old.key, text=self.text).open(read, both)
        sealed.finalize()
        return digest.digest()


@dataclass(frozen=True)
class SymmetricForm(Form):
    """Files of symmetric-encryption; ``text``: what they hold is UTF-8."""

    text: bool = False

    def values(self, keys: KeySet) -> SymmetricValues:
        return SymmetricValues(self, keys)


class SymmetricValues(FileValues[SymmetricForm]):
    """Of the beginnings of files, in which the header is: its version counts."""

    def _change(self, row: Row) -> Change | None:
        found, data, text = self._encrypted(row), beginning_of(row), self.form.text
        if found is None:
            if self.form.plaintext is Leftover.LEAVE:
                return None
        elif found.key.version == self.keys.active:
            return None
        else:
            Body.of(found.header, found.key, text=text)  # the key in the header opens
        return Change(row, (data,), Renewal(found, self.keys.encrypting, text))

    def _seen(self, row: Row) -> Seen:
        found = self._encrypted(row)
        return Seen(None if found is None else found.key.version)

    def _encrypted(self, row: Row) -> Encrypted | None:
        """What a file is, None of plaintext that is not refused; raises CodecError."""
        data = beginning_of(row)
        try:
            header, start = _header(data)
        except Damaged:
            zeros = not any(data)  # as a crash may leave a file
            if self.form.plaintext is Leftover.REFUSE or data.startswith(MAGIC) or zeros:
                raise
            return None
        [key] = named_by(self.form.codec, str(header.version), self.keys)
        return Encrypted(header, start, key)


def _header(data: bytes) -> tuple[Header, int]:
    """The header that ``data`` begins with, and where it ends."""
    header = read_header(data)
    return header, len(data) - len(header.body)
