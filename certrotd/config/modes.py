"""Modes of files, in octal and in quotes, and what they may let others do."""

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from certrotd.config.base import refuse, shown

_OCTAL = re.compile(r"0?[0-7]{3}", re.ASCII)


class Mode(int):
    """The permission bits of a file, shown in octal as people write them."""

    def __str__(self) -> str:
        return f"{int(self):04o}"


def _mode(value: object) -> Mode:
    if isinstance(value, Mode):
        return value
    # A bare number is refused: 400 would be read as decimal, which is another mode.
    if not isinstance(value, str) or not _OCTAL.fullmatch(value):
        raise refuse(f'must be an octal mode in quotes, such as "0640", got {shown(value)}')
    mode = Mode(value, 8)
    if not mode & 0o400 or mode & 0o111:
        raise refuse(f"must let the owner read and nobody execute, got {shown(value)}")
    return mode


def _key_mode(value: object) -> Mode:
    mode = _mode(value)
    if mode & 0o007:
        raise refuse(f'lets everybody access a private key: use "0640" at most, got {shown(value)}')
    return mode


def _certificate_mode(value: object) -> Mode:
    mode = _mode(value)
    if mode & 0o002:
        raise refuse(f'lets everybody write: use "0644", got {shown(value)}')
    return mode


_OCTAL_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$"})
KeyMode = Annotated[Mode, PlainValidator(_key_mode), _OCTAL_SCHEMA]
CertificateMode = Annotated[Mode, PlainValidator(_certificate_mode), _OCTAL_SCHEMA]
