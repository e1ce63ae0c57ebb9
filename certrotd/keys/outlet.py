"""One output of a keyring where it is: rendered by its form, written by its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certrotd.errors import Failure, failed
from certrotd.jsontext import parsed
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring, fingerprint
from certrotd.outputs.port import Imported, Output, OutputPlace, Present, difference
from certrotd.state.ports import Document


@dataclass(frozen=True)
class FileOutlet:
    """Outlet, over the files, or the Secret, of one entry of ``outputs``.

    With ``one_key`` it is given no key but the one that encrypts: the application is cut over. Of a
    form whose keys cannot be read back, ``written`` remembers what was written last:
    anything else there is somebody's own.
    """

    name: str
    output: Output
    files: OutputPlace
    written: Document
    one_key: bool = False

    def absent(self) -> bool:
        return not any(data is not None for data in self._present().values())

    def imported(self) -> Imported | None:
        return self.output.parse(self._present())

    def strange(self, keyring: Keyring) -> str | None:
        """A key in it that the keyring never had, or what could not be rewritten."""
        present = self._present()
        try:
            self.output.check(present)
            found = self.output.parse(present) if self.output.traits.readable else None
        except Failure as failure:
            return str(failure)
        if not self.output.traits.readable:
            there = any(data is not None for data in present.values())
            ours = self._remembered()
            return "certrotd did not write it" if there and _digest(present) not in ours else None
        known = {each.fingerprint for each in keyring.entries.values()}
        seal = keyring.seal.material
        if found and any(fingerprint(each.material, seal) not in known for each in found.keys):
            return "it has a key that the keyring never had"
        return None

    def differs(self, delivery: Delivery) -> str | None:
        return difference(self.output, self._given(delivery), self._present())

    def deliver(self, delivery: Delivery) -> Mapping[Path, str]:
        present = self._present()
        contents = self.output.render(self._given(delivery), present)
        if any(present.get(path) != data for path, data in contents.items()):
            if not self.output.traits.readable:
                both = sorted({_digest(present), _digest(contents)})
                self.written.write(json.dumps(both).encode())
            self.files.write(contents, over=present)
        return _digests(contents)

    def _remembered(self) -> list[str]:
        """The digests of what was written last, and of what was there before it."""
        content = self.written.read()
        try:
            told = parsed(content.data) if content else []
        except ValueError:
            return []
        return told if isinstance(told, list) else []

    def set_aside(self, mark: str) -> Sequence[Path]:
        return self.files.set_aside(mark)

    def digests(self) -> Mapping[Path, str]:
        return _digests(self._present())

    def problems(self, delivery: Delivery | None, *, dry: bool = False) -> Sequence[Failure]:
        found = list(self.files.problems(dry=dry))
        if delivery is not None and not found:
            given = self._given(delivery)
            found += failed(lambda: self.output.render(given, self._present()))
        return found

    def sweep(self) -> None:
        self.files.sweep()

    def _given(self, delivery: Delivery) -> Delivery:
        return delivery.only_encrypting if self.one_key else delivery

    def _present(self) -> Present:
        return self.files.present()


def _digests(contents: Present) -> dict[Path, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in contents.items() if data}


def _digest(contents: Present) -> str:
    """One for all of the files."""
    told = sorted(f"{path.name} {digest}" for path, digest in _digests(contents).items())
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
