"""The log after a crash or a refusal at every call that touches the disk."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certrotd.audit import log as log_module
from certrotd.audit.record import RECOVERED, Happened
from certrotd.files import writing as files_module
from certrotd.files.disktrouble import DiskTrouble
from tests.unit.audit.kept import FINISHED, ISSUED, began, opened, records, whole


class Crash(BaseException):
    """The process is no more; nothing that catches failures may catch this."""


class Os:
    """The os module, until the ``at``-th of these calls; writes then do half of their work."""

    CALLS = frozenset({"open", "write", "fsync", "ftruncate", "rename", "close", "unlink"})

    def __init__(self, at: int, error: BaseException, *, after: bool) -> None:
        self.at, self.error, self.after = at, error, after
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._counted(name, real) if name in self.CALLS else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count != self.at:
                return real(*arguments, **options)
            if name == "close":
                real(*arguments)  # a descriptor does not outlive its process
            elif name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            elif self.after:
                with contextlib.suppress(FileNotFoundError):
                    real(*arguments, **options)
            raise self.error

        return call


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Os]]:
    """Let the ``at``-th call fail from now on."""

    def use(at: int, error: BaseException, *, after: bool = False) -> Os:
        fake = Os(at, error, after=after)
        monkeypatch.setattr(log_module, "os", fake)
        monkeypatch.setattr(files_module, "os", fake)
        return fake

    yield use
    monkeypatch.undo()


class TestCrashes:
    """A crash or a refusal at every call that touches the disk."""

    CALLS = 26

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kept", [0, 2])
    @pytest.mark.parametrize("limit", [1, 10_000])
    @pytest.mark.parametrize("at", range(1, CALLS))
    def test_a_crash_anywhere_is_no_tampering_and_loses_nothing(
        self,
        folder: Path,
        strike: Callable[..., Os],
        monkeypatch: pytest.MonkeyPatch,
        at: int,
        limit: int,
        kept: int,
        after: bool,
    ) -> None:
        """What was acknowledged is there, what was not is there in part or not at all."""
        log = opened(folder, limit=limit)
        for number in range(kept):
            log.record(began(f"kept{number}"))
        strike(at, Crash(), after=after)
        with contextlib.suppress(Crash):
            log.record(began("crashed"), ISSUED)
        monkeypatch.undo()
        next_one = opened(folder, limit=limit)
        whole(next_one)
        next_one.record(began("next"))
        whole(next_one)
        found = [r.rotation for r in records(next_one) if r.event != RECOVERED]
        assert found[:kept] == [f"kept{number}" for number in range(kept)]
        assert found[-1] == "next"
        assert found[kept:-1] in ([], ["crashed"], ["crashed", "r1"])
        assert next_one.unsettled("web") == "next"

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("limit", [1, 10_000])
    @pytest.mark.parametrize("at", range(1, CALLS))
    def test_a_refusal_anywhere_is_reported_and_leaves_the_log_as_it_was(
        self,
        folder: Path,
        strike: Callable[..., Os],
        monkeypatch: pytest.MonkeyPatch,
        at: int,
        limit: int,
        after: bool,
    ) -> None:
        """A beginning that could not be recorded must not be found in the log later."""
        log = opened(folder, limit=limit)
        log.record(began("kept"))
        fake = strike(at, OSError(28, "No space left on device"), after=after)
        said = ""
        try:
            log.record(began("refused"))
        except DiskTrouble as trouble:
            said = str(trouble)
        monkeypatch.undo()
        assert ("No space left" in said) == (fake.count >= at)
        whole(log)
        found = [r.rotation for r in records(log)]
        done = log.head() == records(log)[-1].head and len(found) == 2
        assert (
            found == ["kept"] or done
        )  # the last calls can only say of what is done that it failed
        log.record(began("next"))
        whole(log)

    def test_the_points_cover_a_whole_append(self, folder: Path, strike: Callable[..., Os]) -> None:
        """The control: an append with a rotation of files makes fewer calls than are tried."""
        log = opened(folder, limit=1)
        log.record(began("r1"))
        fake = strike(10_000, Crash())
        log.record(began("r2"))
        assert 8 <= fake.count < self.CALLS

    def test_a_torn_record_is_removed_and_that_is_recorded(self, folder: Path) -> None:
        """How much, and the hash of it: whoever wonders can tell what it was not."""
        log = opened(folder)
        log.record(began("r1"))
        path = folder / "audit.jsonl"
        path.write_bytes(path.read_bytes() + b'{"at":"2026')
        log.record(began("r2"))
        first, recovered, second = records(log)
        assert (first.rotation, second.rotation) == ("r1", "r2")
        assert recovered.event == RECOVERED
        assert recovered.details["removed"] == len(b'{"at":"2026')
        whole(log)

    def test_a_lagging_head_does_not_ask_for_an_outcome_twice(self, folder: Path) -> None:
        """The outcome was recorded and the head was not: the log is what counts."""
        log = opened(folder)
        log.record(began("r1"))
        before = (folder / "head.json").read_bytes()
        log.record(ISSUED, FINISHED)
        (folder / "head.json").write_bytes(before)
        assert json.loads(before)["waiting"] == {"web": "r1"}
        assert opened(folder).unsettled("web") is None

    @pytest.mark.parametrize("known", ["older", "emptied"])
    def test_a_lagging_head_does_not_hide_that_an_outcome_is_missing(
        self, folder: Path, known: str
    ) -> None:
        """The head is not synced: after a power cut only the log may know of the rotation."""
        log = opened(folder)
        log.record(FINISHED)
        before = (folder / "head.json").read_bytes()
        log.record(began("r2"))
        (folder / "head.json").write_bytes(before if known == "older" else b"")
        assert opened(folder).unsettled("web") == "r2"
        assert opened(folder).unsettled("mail") is None
        log.record(Happened("rotation.interrupted", "web", "r2"))
        assert opened(folder).unsettled("web") is None
