"""The engine when its journal cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from certrotd.errors import Failure
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.engine import Finished, RolledBack
from certrotd.rotation.step import Done, Ledger
from certrotd.state.journal import FileJournal
from certrotd.state.ports import JournalBroken
from tests.unit.rotation.small import BELIED, REFUSED, SAVED, TEAR, A, B, C, Put, Small, World


class TestBrokenJournal:
    """The journal cannot be written."""

    def test_steps_since_the_savepoint_are_undone_when_the_journal_breaks(self) -> None:
        """Nothing may be in use that nobody remembers."""
        small = Small((A, SAVED, B, C))
        small.world.on["do b"] = [lambda world: world.fate.faults.update({"journal: try": TEAR})]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.there == ["a"]
        assert small.told[-2:] == ["undoing b", "undone b"]
        small.world.fate.faults.clear()
        small.world.log.clear()
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look b", "do b", "do c"]

    def test_what_was_not_tried_yet_is_not_undone(self) -> None:
        """A journal without its last records leaves open whether it was; this process knows."""
        quiet = [Put(name, announced=False) for name in "cd"]
        small = Small((A, SAVED, B, *quiet))
        small.world.on["do b"] = [lambda world: world.fate.faults.update({"journal: done": TEAR})]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.told[-2:] == ["undoing b", "undone b"]
        assert not {"undoing c", "undoing d"} & {*small.told}
        assert small.world.there == ["a"]
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_before_the_savepoint_what_was_staged_is_kept(self) -> None:
        """Nothing of it is in use."""
        small = Small((A, B, SAVED, C))
        small.world.on["do a"] = [lambda world: world.fate.faults.update({"journal: try": REFUSED})]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.there == ["a"]
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_a_failed_undo_is_reported_and_left_to_the_next_start(self) -> None:
        """Two faults at once: the second is said, the first is raised."""
        small = Small((SAVED, A, B, C))
        small.world.on["do b"] = [lambda world: world.fate.faults.update({"journal: try": REFUSED})]
        small.world.on["undo b"] = [Failure("cannot")]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.told[-2:] == ["undoing b", "stuck b"]
        assert small.world.there == ["a", "b"]  # and not a without b
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_a_defect_in_putting_back_does_not_hide_the_broken_journal(self) -> None:
        """The caller is told of the disk, not of what came of it."""
        small = Small((SAVED, A, B))
        small.world.on["do a"] = [lambda world: world.fate.faults.update({"journal: try": REFUSED})]
        small.world.on["undo a"] = [KeyError("x")]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.told[-1] == "stuck a"

    def test_an_unreadable_journal_is_reported(self) -> None:
        """Without it nobody knows what to put back."""
        small = Small((SAVED, A, B))
        journal = small.journal()

        def broken() -> None:
            def records() -> list[dict[str, object]]:
                raise DiskTrouble("read the journal", OSError(5, "I/O error"))

            journal.records = records  # type: ignore[method-assign]
            small.world.fate.faults["journal: try"] = REFUSED

        small.world.on["do a"] = [lambda _world: broken()]
        with pytest.raises(JournalBroken):
            small.engine(journal).begin("r1", "web", "why", small.plan)
        assert (small.told[-1], small.world.there) == ("stuck", ["a"])
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_a_note_that_cannot_be_written_ends_the_act(self) -> None:
        """What a step cannot remember it must not do; and it is no failure of the step."""

        class Noting(Put):
            def do(self, world: World, ledger: Ledger) -> Done:
                ledger.note(previous="x")
                world.log.append("acted")
                return Done()

        small = Small((SAVED, Noting("a")))
        small.world.fate.faults["journal: note"] = REFUSED
        small.rebuild = lambda _kind, intent: Noting(str(intent["name"]))
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.log == ["undo a"]
        assert small.kinds() == "begin reached0 try1"

    def test_an_undo_whose_note_cannot_be_written_is_not_called_stuck(self) -> None:
        """The journal is what failed."""

        class Noting(Put):
            def undo(self, world: World, ledger: Ledger) -> None:
                if world.fate.faults:
                    ledger.note(undoing=True)
                super().undo(world, ledger)

        small = Small((SAVED, A))
        small.world.on["do a"] = [Failure("no")]
        small.world.fate.faults["journal: note"] = REFUSED
        small.rebuild = lambda _kind, intent: Noting(str(intent["name"]))
        with pytest.raises(JournalBroken):
            small.begin()
        assert "stuck" not in small.kinds()
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), RolledBack)

    def test_a_rotation_whose_end_is_written_is_not_put_back(self) -> None:
        """The next start reads that it finished, and so it must have."""
        small = Small((SAVED, A))
        small.world.fate.faults["journal: end"] = BELIED
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.there == ["a"]
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)
        assert small.world.there == ["a"]

    def test_a_history_that_cannot_be_written_leaves_the_rotation_to_be_closed(self) -> None:
        """Everything is done; only the line about it is missing."""
        small = Small((SAVED, A))
        small.world.fate.faults["journal: add to the history"] = REFUSED
        with pytest.raises(DiskTrouble, match="history"):
            small.begin()
        small.world.fate.faults.clear()
        small.world.log.clear()
        assert isinstance(small.resume(), Finished)
        assert (small.world.log, len(small.history())) == ([], 1)

    def test_a_begin_record_that_cannot_be_written_begins_nothing(self) -> None:
        """No act without an intent."""
        small = Small((A,))
        small.world.fate.faults["journal: begin"] = TEAR
        with pytest.raises(JournalBroken):
            small.begin()
        assert (small.world.log, small.engine().in_flight()) == ([], None)

    def test_a_file_that_takes_no_begin_record_begins_nothing_either(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a file it is written together with the first intent, and there is nothing without."""
        small = Small((A, SAVED, B))
        engine = small.engine(FileJournal(tmp_path, "web"))

        def full(*_: object) -> int:
            return 0

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(JournalBroken, match="No space left"):
            engine.begin("r1", "web", "why", small.plan)
        monkeypatch.undo()
        assert (small.world.log, engine.in_flight()) == ([], None)
        assert isinstance(engine.begin("r2", "web", "why", small.plan), Finished)
        assert small.world.log == ["do a", "do b"]
