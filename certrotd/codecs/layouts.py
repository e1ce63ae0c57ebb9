"""Several layouts in one column, told apart by how their ciphertext begins.

Applications change how they encrypt, and read what they stored before: Grafana's AES-CFB and
AES-GCM, n8n's AES-CBC and AES-GCM, a ``v2:`` before everything new.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from certrotd.codecs.encoding import common_prefix
from certrotd.codecs.layout import Layout
from certrotd.codecs.port import Traits
from certrotd.errors import InvalidInput
from certrotd.keyring.material import DataKey


@dataclass(frozen=True)
class Layouts:
    """Each value stays in its form; what is new is of the first. Raises InvalidInput.

    Only the last may begin with anything: what no other one begins with is its own.
    """

    forms: tuple[Layout, ...]

    def __post_init__(self) -> None:
        if len(self.forms) < 2:
            raise InvalidInput("layouts has two forms at least: one alone is a layout")
        before: list[bytes] = []
        for number, form in enumerate(self.forms, 1):
            begins = form.traits.beginning
            if any(begins.startswith(each) for each in before):
                raise InvalidInput(
                    f"form {number} of the layouts is never read: one before it begins the same"
                )
            before.append(begins)
        kinds = {(t.key_id, t.algorithms, t.text) for t in (form.traits for form in self.forms)}
        if len(kinds) > 1:
            raise InvalidInput(
                "the layouts differ in more than their form",
                hint="all are text or all bytes, take the same keys, and have {key} or have it not",
            )
        if any(form.traits.associated_data for form in self.forms):
            raise InvalidInput("layouts bind no associated data")

    @cached_property
    def traits(self) -> Traits:
        """What holds for every form."""
        every = [form.traits for form in self.forms]
        return Traits(
            every[0].key_id,
            every[0].algorithms,
            authenticated=all(each.authenticated for each in every),
            deterministic=all(each.deterministic for each in every),
            text=every[0].text,
            beginning=common_prefix(each.beginning for each in every),
        )

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """As Codec.key_id_of."""
        return self._of(ciphertext).key_id_of(ciphertext)

    def key_id_for(self, key: DataKey) -> str | None:
        """As Codec.key_id_for."""
        return self.forms[0].key_id_for(key)

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """As Codec.decrypt."""
        return self._of(ciphertext).decrypt(ciphertext, key, associated_data)

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """As Codec.encrypt."""
        form = self.forms[0] if replacing is None else self._of(replacing)
        return form.encrypt(plaintext, key, associated_data, replacing=replacing)

    def marked(self, ciphertext: bytes, key: DataKey) -> bool:
        """As Marking.marked."""
        return self._of(ciphertext).marked(ciphertext, key)

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """Those of all forms; empty where one of them does not tell."""
        every = [form.sql_prefixes(key_id) for form in self.forms]
        return tuple(each for some in every for each in some) if all(every) else ()

    def _of(self, ciphertext: bytes) -> Layout:
        """The form of a value: by its beginning, the last where it begins otherwise."""
        begins = (form for form in self.forms if ciphertext.startswith(form.traits.beginning))
        return next(begins, self.forms[-1])
