"""Files of SOPS: each gets another data key, for the active key in place of older ones.

A data key is never kept: whoever had an old key and an old copy of the file would have it. Other
recipients stay, and SOPS wraps the new data key for them. What it wrote is opened again, with the
active key alone, and compared before it becomes the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from certrotd.codecs.age import Age
from certrotd.codecs.errors import CodecError, Damaged, WrongKey
from certrotd.datasets.file_values import FileValues, beginning_of
from certrotd.datasets.port import Change, PreflightFinding, Row
from certrotd.datasets.row_values import Seen, Unfit
from certrotd.datasets.sops_metadata import Metadata, Stanza, metadata_of
from certrotd.datasets.sops_program import SopsProgram
from certrotd.datasets.values import Form, Leftover
from certrotd.errors import NeedsOperator, one_line
from certrotd.files.writing import write_all
from certrotd.keyring.age_keys import identity_of, recipient_of
from certrotd.keyring.material import DataKey, KeySet

STANZAS = Age()
_SHOWN = 3


@dataclass(frozen=True)
class SopsForm(Form):
    """Files that ``program`` re-encrypts."""

    program: SopsProgram | None = None

    def values(self, keys: KeySet) -> SopsValues:
        return SopsValues(self, keys)

    def findings(self) -> Sequence[PreflightFinding]:
        """As Form.findings: the program is needed."""
        assert self.program is not None, "it was configured"
        try:
            self.program.require()
        except NeedsOperator as error:
            return [PreflightFinding("program", str(error), fatal=True)]
        return ()


@dataclass(frozen=True)
class Opened:
    """What a file says, which keys open which of its stanzas, and which it ``names`` besides."""

    metadata: Metadata
    by: Sequence[tuple[Stanza, DataKey]]
    names: Sequence[tuple[Stanza, DataKey]]

    @property
    def ours(self) -> Mapping[str, int]:
        """The version of each recipient that is a key of the keyring."""
        return {stanza.recipient: key.version for stanza, key in (*self.names, *self.by)}

    @property
    def versions(self) -> set[int]:
        return set(self.ours.values())


@dataclass(frozen=True)
class Rotation:
    """Refill: the file ``data`` anew, for ``new`` in place of what else opens it."""

    program: SopsProgram
    data: bytes = field(repr=False)
    opened: Opened
    keys: KeySet

    def fill(self, old: int, new: int) -> None:
        """As Refill.fill; raises Failure, too, where the program cannot be run."""
        del old  # it is as it was read, or is not replaced
        active = self.keys.encrypting
        metadata, recipient = self.opened.metadata, recipient_of(active)
        identities = [identity_of(key) for _, key in self.opened.by]
        before = self.program.decrypted(self.data, metadata, identities)
        ours = self.opened.ours
        made = self.program.rotated(
            self.data,
            metadata,
            identities,
            add=() if recipient in ours else (recipient,),
            remove=[each for each in ours if each != recipient],
        )
        found = self._verified(made)
        if self.program.decrypted(made, found, [identity_of(active)]) != before:
            raise Unfit("what sops wrote does not hold what the file holds")
        write_all(new, made)

    def _verified(self, made: bytes) -> Metadata:
        """What the new file says; raises Unfit unless it is the old one, for the active key."""
        try:
            found = metadata_of(made)
        except CodecError as error:
            raise Unfit(f"what sops wrote cannot be used: {error.message}") from None
        if found is None:
            raise Unfit("what sops wrote is no file of SOPS")
        was, again = self.opened, opened_of(found, self.keys)
        if again.versions != {self.keys.active}:
            raise Unfit("what sops wrote is not for the active key alone")
        ours = {*was.ours, *again.ours}
        for said, old, new in (
            ("recipients", _apart(was.metadata, ours), _apart(found, ours)),
            ("settings", was.metadata.settings, found.settings),
        ):
            if old != new:
                raise Unfit(f"what sops wrote has not the other {said} of the file")
        if _data_keys(was) & _data_keys(again):
            raise Unfit("what sops wrote has the data key of before")
        return found


class SopsValues(FileValues[SopsForm]):
    """Of whole files: the oldest key that opens the data key of a file counts."""

    def _seen(self, row: Row) -> Seen:
        opened = self._opened(row)
        if opened is None:
            return Seen(None)
        active = self.keys.active
        return Seen(min(opened.versions - {active}, default=active))

    def _change(self, row: Row) -> Change | None:
        opened, program = self._opened(row), self.form.program
        assert program is not None, "it was configured"
        if opened is None or opened.versions == {self.keys.active}:
            return None
        data = beginning_of(row)
        return Change(row, (data,), Rotation(program, data, opened, self.keys))

    def _opened(self, row: Row) -> Opened | None:
        """What opens a file, None of plaintext that is not refused; raises CodecError."""
        found = metadata_of(beginning_of(row))
        if found is None:
            if self.form.plaintext is Leftover.REFUSE:
                raise Damaged("SOPS did not write it")
            return None
        opened = opened_of(found, self.keys)
        foreign = [s.recipient for s, key in opened.by if s.recipient != recipient_of(key)]
        if foreign:
            raise Unfit(f"what it says is for {one_line(foreign[0])} is for another recipient")
        if not opened.by and opened.names:
            raise Unfit(f"what it has for version {opened.names[0][1].version} does not open")
        if not opened.by:
            raise Unfit(f"no key of the keyring opens it: {_whom(found)}")
        return opened


def opened_of(metadata: Metadata, keys: KeySet) -> Opened:
    """By trying every key on every stanza."""
    usable = [key for key in keys if key.algorithm in STANZAS.traits.algorithms]
    every = [(stanza, key) for stanza in metadata.stanzas for key in usable]
    return Opened(
        metadata,
        [(stanza, key) for stanza, key in every if _data_key(stanza, key) is not None],
        [(stanza, key) for stanza, key in every if stanza.recipient == recipient_of(key)],
    )


def _data_key(stanza: Stanza, key: DataKey) -> bytes | None:
    """What a key opens; None where it does not, or where the stanza is damaged."""
    try:
        return STANZAS.decrypt(stanza.wrapped, key)
    except (Damaged, WrongKey):
        return None


def _data_keys(opened: Opened) -> set[bytes]:
    return {found for each in opened.by if (found := _data_key(*each)) is not None}


def _apart(metadata: Metadata, ours: set[str]) -> frozenset[str]:
    """The recipients that are no keys of the keyring."""
    named = (f"age {each.recipient}" for each in metadata.stanzas if each.recipient not in ours)
    return metadata.others | frozenset(named)


def _whom(metadata: Metadata) -> str:
    """For whom it is, in words."""
    named = sorted(_apart(metadata, set()))
    if not named:
        return "it has no recipient"
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return f"it is for {one_line(', '.join(named[:_SHOWN]))}{more}"
