"""One output of a keyring where it is: rendered by its form, written by its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certrotd.errors import Failure, failed
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring, fingerprint
from certrotd.outputs.files import OutputFiles
from certrotd.outputs.port import Imported, Output, Present, difference


@dataclass(frozen=True)
class FileOutlet:
    """Outlet, over the files of one entry of ``outputs``."""

    name: str
    output: Output
    files: OutputFiles

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
        known = {each.fingerprint for each in keyring.entries.values()}
        if found and any(fingerprint(each.material) not in known for each in found.keys):
            return "it has a key that the keyring never had"
        return None

    def differs(self, delivery: Delivery) -> str | None:
        return difference(self.output, delivery, self._present())

    def deliver(self, delivery: Delivery) -> Mapping[Path, str]:
        present = self._present()
        contents = self.output.render(delivery, present)
        if any(present.get(path) != data for path, data in contents.items()):
            self.files.write(contents)
        return _digests(contents)

    def set_aside(self, mark: str) -> Sequence[Path]:
        return self.files.set_aside(mark)

    def digests(self) -> Mapping[Path, str]:
        return _digests(self._present())

    def problems(self, delivery: Delivery | None, *, dry: bool = False) -> Sequence[Failure]:
        found = list(self.files.problems(dry=dry))
        if delivery is not None and not found:
            found += failed(lambda: self.output.render(delivery, self._present()))
        return found

    def sweep(self) -> None:
        self.files.sweep()

    def _present(self) -> Present:
        return self.files.present()


def _digests(contents: Present) -> dict[Path, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in contents.items() if data}
