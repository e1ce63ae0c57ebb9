"""What is watched of a keyring beside the scheduler, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certrotd.client.beats import Files
from certrotd.errors import NeedsOperator
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keyring.states import State
from certrotd.keys.checks import STRANGE, UNCOUNTED, UNDECRYPTED, UNREADABLE, KeyringCheck
from certrotd.keys.serving import GONE
from certrotd.lifecycle.finding import EarlierLooks, Finding, FindingSeverity
from tests.unit.escrow.samples import keys
from tests.unit.keys.rings import DAY, FORCED, Rings, script, with_another_key

HASH = "ab" * 32
RECIPIENT, _ = keys()


@contextmanager
def check(rings: Rings) -> Iterator[KeyringCheck]:
    """That of a process."""
    with rings.site() as site:
        wing = site.wing("key")
        [found] = [each for each in wing.checks() if each.label == "key/orders"]
        assert isinstance(found, KeyringCheck)
        yield found


def findings(rings: Rings) -> dict[str, str]:
    """What one look finds, by kind."""
    with check(rings) as found:
        [looked] = found.look()
    return {each.kind: each.words for each in looked.watched.findings}


def beat(at: datetime, messages: int, *, failures: int = 0, instance: str = "0") -> Heartbeat:
    return Heartbeat(
        "orders", "shop", instance * 16, at, HASH, {1: (messages, 10 * messages)}, failures
    )


def used(rings: Rings) -> int:
    """How many messages version 1 has encrypted, as the keyring counts."""
    with rings.keyring() as keyring:
        return keyring.look().uses[1].messages


@pytest.fixture
def beats(rings: Rings) -> Files:
    """The heartbeats that come over the socket."""
    rings.config["key_server"] = {"socket": str(rings.place / "keys.sock")}
    rings.orders["consumers"] = {
        "app": {"acknowledge": {"heartbeat": "socket"}},
        "job": {"acknowledge": {"heartbeat": str(rings.place / "beats")}},
    }
    (rings.place / "beats").mkdir(mode=0o700)
    _first_by_hand(rings)
    with rings.keyring() as keyring:
        files = Files(keyring.own_heartbeats, 0o600)
    files.prepare()
    return files


def _first_by_hand(rings: Rings) -> None:
    """A key is there, whoever confirms it later."""
    consumers = rings.orders.pop("consumers")
    rings.done()
    rings.orders["consumers"] = consumers


class TestOutputs:
    """Whether they are as they were delivered."""

    def test_a_keyring_that_is_as_it_should_be_has_no_findings(self, rings: Rings) -> None:
        """Before its first key, too."""
        assert findings(rings) == {}
        rings.done()
        assert findings(rings) == {}

    def test_an_output_that_was_changed_is_a_finding(self, rings: Rings) -> None:
        """By its path, and without its content."""
        rings.done()
        path = rings.place / "keys.json"
        path.write_bytes(with_another_key(path.read_bytes()))
        assert findings(rings) == {STRANGE: f"tink {path}: it has a key that the keyring never had"}

    def test_a_look_that_breaks_off_is_a_finding(self, rings: Rings) -> None:
        """An unreadable keyring, in one line."""
        rings.done()
        rings.document.write_bytes(b"")
        with check(rings) as found:
            [looked] = found.look()
            watched = found.failed(NeedsOperator("no"))
        assert [each.words for each in watched.findings] == ["no"]
        [wrong] = looked.watched.findings  # each part of the look says the same
        assert (wrong.kind, wrong.alert) == (UNREADABLE, "trouble")
        assert "is cut short" in wrong.words
        assert (watched.about, watched.at) == (found.about, rings.clock.now())
        with check(rings) as found:
            assert list(found.watched_keys()) == [watched.key]
            assert found.every > 0

    def test_while_a_rotation_is_in_flight_what_was_found_before_stands(self, rings: Rings) -> None:
        """Outputs change meanwhile: nobody is told of that."""
        rings.orders["consumers"] = {"app": {"acknowledge": {"file": "/nowhere/app.ack"}}}
        rings.rotate()
        earlier = EarlierLooks({STRANGE: 1}, (Finding(STRANGE, "as before"),))
        with check(rings) as found:
            [looked] = found.look()
        assert looked.moving
        settled = looked.settle(earlier)
        assert settled.watched.findings == earlier.told
        assert settled.held == earlier

    def test_what_is_found_is_reported_at_once(self, rings: Rings) -> None:
        """It passes by nobody's patience."""
        rings.done()
        (rings.place / "keys.json").write_bytes(b"{half")
        with check(rings) as found:
            [looked] = found.look()
        settled = looked.settle(EarlierLooks())
        assert [each.kind for each in settled.watched.findings] == [STRANGE]
        assert settled.held.told == settled.watched.findings
        assert settled.held.counts == {STRANGE: 1}


class TestProcesses:
    """What their heartbeats say is counted once, and kept with the key."""

    def test_messages_are_counted_once_and_grow(self, rings: Rings, beats: Files) -> None:
        """However often the same heartbeat is read, by whichever process of certrotd."""
        beats.send(beat(rings.clock.now(), 7))
        for _ in range(3):
            assert findings(rings) == {}
        assert used(rings) == 7
        beats.send(beat(rings.clock.now(), 9))
        findings(rings)
        assert used(rings) == 9
        beats.send(beat(rings.clock.now(), 5, instance="1"))
        findings(rings)
        assert used(rings) == 14

    def test_heartbeats_of_both_places_are_counted(self, rings: Rings, beats: Files) -> None:
        """Those in a directory of the application's, and those that came over the socket."""
        beats.send(beat(rings.clock.now(), 3))
        Files(rings.place / "beats", 0o600).send(beat(rings.clock.now(), 4, instance="1"))
        findings(rings)
        assert used(rings) == 7

    def test_a_process_that_took_leave_is_counted_and_forgotten(
        self, rings: Rings, beats: Files
    ) -> None:
        """Of the socket's alone: a directory of the application's is the application's."""
        beats.send(beat(GONE, 3))
        beats.send(beat(rings.clock.now() - 2 * DAY, 4, instance="1"))
        beats.send(beat(rings.clock.now(), 5, instance="2"))
        other = Files(rings.place / "beats", 0o600)
        other.send(beat(rings.clock.now() - 2 * DAY, 6, instance="3"))
        with rings.keyring() as keyring:
            own = keyring.own_heartbeats
        findings(rings)
        assert used(rings) == 18
        assert [path.name for path in own.iterdir()] == [f"shop.{'2' * 16}.json"]
        assert len(list((rings.place / "beats").iterdir())) == 1
        findings(rings)
        assert used(rings) == 18

    def test_ciphertext_that_could_not_be_decrypted_is_a_finding_for_a_day(
        self, rings: Rings, beats: Files
    ) -> None:
        """By application, with how many."""
        beats.send(beat(rings.clock.now(), 0, failures=1200))
        assert findings(rings) == {UNDECRYPTED: "shop could not decrypt 1,200 ciphertexts"}
        rings.clock.advance(timedelta(days=1, seconds=1))
        assert findings(rings) == {}

    def test_a_file_that_is_no_heartbeat_is_a_finding(self, rings: Rings, beats: Files) -> None:
        """What is not known is not taken for nothing, and the rest of the look goes on."""
        (rings.place / "beats" / "shop.x.json").write_bytes(b"{half")
        assert "shop.x.json" in findings(rings)[UNREADABLE]

    def test_a_directory_that_is_no_directory_is_a_finding(
        self, rings: Rings, beats: Files
    ) -> None:
        """One that is not there yet is nobody's heartbeat."""
        (rings.place / "beats").rmdir()
        assert findings(rings) == {}
        (rings.place / "beats").write_text("")
        assert "beats" in findings(rings)[UNREADABLE]

    def test_nothing_is_counted_before_there_is_a_key(self, rings: Rings) -> None:
        """There is nobody to count for."""
        rings.orders["consumers"] = {"job": {"acknowledge": {"heartbeat": str(rings.place)}}}
        Files(rings.place, 0o600).send(beat(rings.clock.now(), 3))
        assert findings(rings) == {}

    def test_another_process_that_rotates_it_puts_the_counting_off(
        self, rings: Rings, beats: Files
    ) -> None:
        """Until the next look, which counts it."""
        beats.send(beat(rings.clock.now(), 7))
        with rings.keyring() as keyring, keyring.lock():
            assert findings(rings) == {}
        assert used(rings) == 0
        findings(rings)
        assert used(rings) == 7

    def test_a_key_that_has_encrypted_enough_is_rotated_for_that(
        self, rings: Rings, beats: Files
    ) -> None:
        """What processes say of themselves is a limit of the key's."""
        rings.orders["rotate"] = {"messages": 1000}
        beats.send(beat(rings.clock.now(), 1000))
        findings(rings)
        decision = rings.view().decision
        assert decision is not None
        assert decision.code == "messages"


class TestCounts:
    """The census of every key that no longer encrypts."""

    @pytest.fixture
    def program(self, rings: Rings) -> Path:
        """Two versions, and a program that counts."""
        path = script(rings.place / "count", f"echo $CERTROTD_VERSION >> {rings.place}/log; echo 0")
        rings.orders["datasets"] = {"rows": {"census": [str(path)]}}
        rings.done()
        rings.done(FORCED)
        return path

    def test_a_census_is_taken_of_the_old_key_alone_and_lets_it_be_retired(
        self, rings: Rings, program: Path
    ) -> None:
        """And asks for a look at the keyring, as something may be due now."""
        rings.clock.advance(timedelta(minutes=1))
        assert rings.view().decision.act == "wait"  # type: ignore[union-attr]
        assert findings(rings) == {}
        assert (rings.place / "log").read_text() == "1\n"
        with rings.site() as site:
            assert site.state.changes("key")
            assert list((rings.place / "state/wake").rglob("*orders*"))
        report = rings.done()
        assert report.decision is not None
        assert report.decision.code == "retire"
        assert rings.states()[1] is State.RETIRED

    def test_a_program_that_fails_is_a_warning_and_no_proof(
        self, rings: Rings, program: Path
    ) -> None:
        """The key stays; the control above retires it."""
        script(program, "exit 7")
        rings.clock.advance(timedelta(minutes=1))
        with check(rings) as found:
            [looked] = found.look()
        [finding] = looked.watched.findings
        assert (finding.kind, finding.severity) == (UNCOUNTED, FindingSeverity.WARNING)
        assert "census of rows was not taken" in finding.words
        assert rings.view().decision.act == "wait"  # type: ignore[union-attr]

    def test_a_program_that_counts_something_keeps_the_key(
        self, rings: Rings, program: Path
    ) -> None:
        """And says so, where it is asked why."""
        script(program, "echo 12")
        rings.clock.advance(timedelta(minutes=1))
        findings(rings)
        assert rings.view().decision.act == "wait"  # type: ignore[union-attr]
        assert rings.view().to_json()["versions"][0]["state"] == "decrypt-only"

    def test_counts_that_were_garbled_are_kept_aside_and_taken_anew(
        self, rings: Rings, program: Path
    ) -> None:
        """By the next look."""
        findings(rings)
        [kept] = (rings.place / "state/census").glob("orders*")
        kept.write_bytes(b"{half")
        assert rings.view().state == "ok"
        findings(rings)
        assert kept.read_bytes().startswith(b'{"counts": {"1"')
        assert len(list((rings.place / "state/census").iterdir())) == 2

    def test_without_datasets_nothing_is_counted(self, rings: Rings) -> None:
        """Nor where every key encrypts."""
        rings.done()
        rings.done(FORCED)
        assert findings(rings) == {}
        assert not list((rings.place / "state").glob("census/*"))


class TestDrills:
    """A restore is tried where certrotd can open the backups; a person is reminded otherwise."""

    def test_certrotd_drills_by_itself_and_says_what_fails(
        self, rings: Rings, tmp_path: Path
    ) -> None:
        """With a passphrase it can; a backup that is gone is a failed drill, audited."""
        words, backups = tmp_path / "words", tmp_path / "backups"
        words.write_text("correct horse battery")
        words.chmod(0o600)
        rings.orders["backup"] = {
            "directory": str(backups),
            "passphrase": {"file": str(words)},
            "drill": {"every": "30d"},
        }
        rings.done()
        assert findings(rings) == {}
        drilled = [each for each in rings.records() if each.event == "keyring.drilled"]
        assert len(drilled) == 1
        assert findings(rings) == {}
        assert len([each for each in rings.records() if "drill" in each.event]) == 1
        rings.clock.advance(timedelta(days=16))
        for each in backups.iterdir():
            each.unlink()
        assert "drill_failed" in findings(rings)
        assert rings.records()[-1].event == "keyring.drill_failed"

    def test_a_person_who_has_to_drill_is_reminded(self, rings: Rings, tmp_path: Path) -> None:
        """Once as much time has passed as the configuration allows, and not before."""
        rings.orders["backup"] = {
            "directory": str(tmp_path / "backups"),
            "recipients": list(RECIPIENT.recipients),
            "drill": {"every": "30d"},
        }
        rings.done()
        assert findings(rings) == {}
        rings.clock.advance(timedelta(days=31))
        assert "drill_never" in findings(rings)
