"""What becomes of encrypted files: their headers are wrapped anew, or their content gets a new key.

A file is judged by its header alone. Its content is encrypted anew where its content key may be
known to others: wrapping such a key anew would protect nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from io import FileIO

from certrotd.codecs import stream
from certrotd.codecs.errors import Damaged
from certrotd.codecs.stream_header import (
    HEADER,
    Cipher,
    Header,
    is_marked,
    new_header,
    read_header,
)
from certrotd.codecs.tink import Tink
from certrotd.datasets.exposure import Exposure
from certrotd.datasets.file_values import FileValues, beginning_of
from certrotd.datasets.port import Change, Row
from certrotd.datasets.row_values import Seen, Unfit
from certrotd.datasets.values import Form, Leftover
from certrotd.files.writing import write_all
from certrotd.keyring.material import DataKey, KeySet


@dataclass(frozen=True)
class Rewrap:
    """The header is replaced slot by slot, ``first`` before the other."""

    first: int


@dataclass(frozen=True)
class Rewrite:
    """Refill: the content behind ``old``, or plaintext (None), as that behind ``new``."""

    old: Header | None
    new: Header

    def fill(self, old: int, new: int) -> None:
        """As Refill.fill."""
        write_all(new, self.new.data)
        write = partial(write_all, new)
        with FileIO(old, closefd=False) as source:
            if self.old is None:
                stream.encrypt(self.new, source.readinto, write)
            else:
                source.seek(HEADER)
                stream.reencrypt(self.old, self.new, source.readinto, write)


CIPHERS = {
    "cobblestone-256": Cipher.COBBLESTONE_256,
    "aes-256-gcm-hkdf": Cipher.AES_256_GCM_HKDF,
}
"""By their names in a configuration."""


class Slots(Tink):
    """The codec of a slot; a file does not begin with what names its key."""

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:  # noqa: ARG002
        """None."""
        return ()


@dataclass(frozen=True)
class StreamForm(Form):
    """Files of the streaming format; if it ``replaces``, each rotation renews content keys.

    Content that is not encrypted by ``cipher`` is encrypted anew.
    """

    exposure: Exposure = field(default_factory=Exposure)
    replaces: bool = False
    cipher: Cipher = Cipher.COBBLESTONE_256

    def values(self, keys: KeySet) -> StreamValues:
        return StreamValues(self, keys)


class StreamValues(FileValues[StreamForm]):
    """Of headers: each row has as much of its file as a header takes.

    Nothing of a file's content is looked at; one whose content key is exposed counts for that key.
    """

    def _seen(self, row: Row) -> Seen:
        header = self._header(row)
        return Seen(None if header is None else self._version(header))

    def _change(self, row: Row) -> Change | None:
        header, active = self._header(row), self.keys.encrypting
        if header is None:
            if self.form.plaintext is Leftover.LEAVE:
                return None
            return self._rewritten(row, None, active)
        if self._outlived(header) is not None or header.cipher is not self.form.cipher:
            return self._rewritten(row, header, active)
        if header.is_under(active.version):
            return None
        data, first = header.rewrapped(active)
        again = read_header(data, KeySet.of([active], active=active.version))
        if again.content != header.content or not again.is_under(active.version):
            raise Unfit("its header under the active key does not open to the same content key")
        return Change(row, (data,), Rewrap(first))

    def _rewritten(self, row: Row, old: Header | None, active: DataKey) -> Change:
        new = new_header(active, self.form.cipher)
        return Change(row, (new.data,), Rewrite(old, new))

    def _header(self, row: Row) -> Header | None:
        """The header of a file, None of plaintext that is not refused."""
        data = beginning_of(row)
        try:
            return read_header(data, self.keys)
        except Damaged:
            if self.form.plaintext is Leftover.REFUSE or is_marked(data):
                raise
            return None

    def _version(self, header: Header) -> int:
        outlived, active = self._outlived(header), self.keys.active
        if outlived is not None:
            return outlived
        old = (each for each in header.opened if each is not None and each != active)
        return min(old, default=active)

    def _outlived(self, header: Header) -> int | None:
        """For which version the content key is to be replaced, if for any."""
        exposed = self.form.exposure.of(header.origin)
        if exposed is not None or not self.form.replaces:
            return exposed
        active = self.keys.encrypting
        if header.origin == self.form.codec.key_id_for(active):
            return None
        old = (each for each in header.opened if each is not None and each != active.version)
        return self.form.exposure.versions.get(header.origin, min(old, default=None))
