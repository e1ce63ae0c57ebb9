"""KEKs as an application names them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.keyring.document import Keks, Wraps
from certrotd.keyring.material import Material

KekLike = str | os.PathLike[str] | Wraps
"""A KEK, or the path of its file, or ``credential:NAME``, or ``passphrase:PATH``."""
_MOST = 64 * 1024


@dataclass(frozen=True)
class PassphraseFile:
    """A file that holds only a passphrase; a newline at its end is ignored."""

    path: Path

    def resolve(self) -> Material:
        """The passphrase; raises NeedsOperator or DiskTrouble."""
        from certrotd.files.reading import read_file

        try:
            data = read_file(self.path, limit=_MOST)
        except FileNotFoundError:
            raise NeedsOperator(
                f"the passphrase {self.path} is not there", hint="create the file"
            ) from None
        except InvalidInput as error:
            raise NeedsOperator(error.message) from None
        return Material(data.removesuffix(b"\n").removesuffix(b"\r"))


def kek_of(given: KekLike) -> Wraps:
    """The KEK that was named; nothing of it is read yet. Raises InvalidInput."""
    if not isinstance(given, str | os.PathLike):
        return given
    text = os.fspath(given)
    kind, colon, rest = text.partition(":")
    if not colon or text.startswith("/"):
        from certrotd.kek.file import FileKek

        return FileKek(Path(text))
    if kind == "credential" and rest:
        from certrotd.kek.credential import CredentialKek

        return CredentialKek(rest)
    if kind == "passphrase" and rest:
        from certrotd.kek.passphrase import PassphraseKek

        return PassphraseKek(f"in {rest}", PassphraseFile(Path(rest)))
    raise InvalidInput(
        f"{text} names no KEK",
        hint="give the path of its file, credential:NAME, passphrase:PATH, or a KEK itself",
    )


def keks_of(kek: KekLike | None, keks: Mapping[str, KekLike] | None) -> Keks | Wraps:
    """The KEKs by name, or the only one, whatever its name is; raises InvalidInput."""
    if (kek is None) == (not keks):
        raise InvalidInput(
            "a keyring in a file needs either kek or keks",
            hint='kek="/path", or keks={"NAME": "/path"} where there are several',
        )
    if kek is not None:
        return kek_of(kek)
    return {name: kek_of(each) for name, each in (keks or {}).items()}
