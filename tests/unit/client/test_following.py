"""A keyring in use goes along with every revision, and never goes back."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.client import CannotDecrypt, SourceUnavailable, UnknownKey
from certrotd.client import following as module
from certrotd.client.sources import AGAIN, Held
from certrotd.codecs.errors import Unsupported
from certrotd.errors import Failure
from certrotd.kek import file as kek_file
from certrotd.keyring import heartbeat
from certrotd.keyring.document import CutShort, Forged, NoKek, Renamed, Replayed, Unreadable
from certrotd.keyring.document import sealed as seal
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keyring.material import Algorithm
from tests.parts.process import wait_until
from tests.unit.client.sealed import AAD, Sealed


def heard(directory: Path) -> list[Heartbeat]:
    """What is in the directory of heartbeats."""
    return [heartbeat.parse(each.read_bytes()) for each in sorted(directory.glob("*.json"))]


def passes(sealed: Sealed, seconds: float = 5.0) -> None:
    """So much time passes."""
    sealed.clock.advance(timedelta(seconds=seconds))


def test_a_new_revision_is_in_use_without_a_restart(sealed: Sealed) -> None:
    """Once it is time to look again, and not before."""
    with sealed.open(refresh=5.0) as keyring:
        old = keyring.encrypt(b"text", associated_data=AAD)
        sealed.generate()
        sealed.activate(2)
        passes(sealed, 4.9)
        assert not keyring.needs_reencryption(old)
        passes(sealed, 0.1)
        assert keyring.needs_reencryption(old)
        assert keyring.decrypt(old, associated_data=AAD) == b"text"
        assert keyring.encrypt(b"text", associated_data=AAD)[:5] == b"\x01\xff\xff\xff\xff"
        assert keyring.revision == sealed.keyring.revision
        assert keyring.delivery_hash == sealed.delivery.hash
        assert keyring.trouble is None


def test_ciphertext_under_a_key_that_came_since_is_decrypted_at_once(sealed: Sealed) -> None:
    """Another process was quicker: no read fails for that."""
    sealed.generate()
    with sealed.open() as late:
        sealed.move(lambda each: each.rollback(at=sealed.clock.now(), why="again"))
        sealed.move(lambda each: each.distribute(2, at=sealed.clock.now(), why="again"))
        sealed.activate(2)
        sealed.generate()
        sealed.activate(3)
        with sealed.open() as early:
            ciphertext = early.encrypt(b"text", associated_data=AAD)
        passes(sealed, 1.0)
        assert late.decrypt(ciphertext, associated_data=AAD) == b"text"


def test_hostile_ciphertext_makes_nobody_look_all_the_time(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a key that nobody has, once a second at most."""
    with sealed.open(refresh=1000) as keyring:
        looks: list[object] = []
        newer = keyring._source.newer

        def counted(held: Held | None) -> Held | None:
            looks.append(held)
            return newer(held)

        monkeypatch.setattr(keyring._source, "newer", counted)
        unknown = b"\x01" + bytes(40)
        for _ in range(50):
            with pytest.raises(UnknownKey):
                keyring.decrypt(unknown, associated_data=AAD)
        assert len(looks) == 1
        passes(sealed, 1)
        with pytest.raises(UnknownKey):
            keyring.decrypt(unknown, associated_data=AAD)
        assert len(looks) == 2


def _cut(sealed: Sealed) -> None:
    sealed.path.write_bytes(sealed.path.read_bytes()[:-10])


def _other(sealed: Sealed) -> None:
    data = sealed.path.read_bytes().replace(b'"orders"', b'"others"')
    sealed.path.write_bytes(data)


def _forge(sealed: Sealed) -> None:
    data = sealed.path.read_bytes()
    sealed.path.write_bytes(data.replace(b"due", b"duo"))


def _no_kek(sealed: Sealed) -> None:
    sealed.kek.path.unlink()
    sealed.kek = kek_file.make(sealed.kek.path)
    sealed.path.touch()


def _folder(sealed: Sealed) -> None:
    sealed.path.unlink()
    sealed.path.mkdir()


def _gone(sealed: Sealed) -> None:
    sealed.path.unlink()


def _garbage(sealed: Sealed) -> None:
    sealed.path.write_bytes(b"not ours\n" + b"0" * 64 + b"\n")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_cut, CutShort),
        (_other, Renamed),
        (_forge, Forged),
        (_no_kek, NoKek),
        (_folder, Unreadable),
        (_gone, SourceUnavailable),
        (_garbage, Unreadable),
    ],
)
def test_an_unreadable_document_keeps_the_old_keys(
    sealed: Sealed, spoil: Callable[[Sealed], None], kind: type[Failure]
) -> None:
    """It is reported once, and the application goes on; a new process has nothing to go on with."""
    with sealed.open() as keyring:
        ciphertext = keyring.encrypt(b"text", associated_data=AAD)
        spoil(sealed)
        for _ in range(3):
            passes(sealed)
            assert keyring.decrypt(ciphertext, associated_data=AAD) == b"text"
            assert keyring.encrypt(b"text", associated_data=AAD)
        assert [type(each) for each in sealed.troubles] == [kind]
        assert keyring.trouble is sealed.troubles[0]
        assert "\n" not in str(keyring.trouble)
        assert keyring.trouble is not None
        assert keyring.trouble.hint
    with pytest.raises(kind):
        sealed.open(name="orders")


def test_an_older_revision_is_not_taken(sealed: Sealed) -> None:
    """Whoever puts an old file back does not bring back old keys."""
    old = sealed.path.read_bytes()
    sealed.generate()
    with sealed.open() as keyring:
        sealed.path.write_bytes(old)
        passes(sealed)
        keyring.encrypt(b"text", associated_data=AAD)
        assert [type(each) for each in sealed.troubles] == [Replayed]
        assert keyring.revision == sealed.keyring.revision


def test_a_document_that_is_mended_is_used_again(sealed: Sealed) -> None:
    """Then nothing is wrong any more, and the next trouble is reported again."""
    with sealed.open() as keyring:
        _cut(sealed)
        passes(sealed)
        keyring.encrypt(b"text", associated_data=AAD)
        sealed.generate()
        passes(sealed)
        keyring.encrypt(b"text", associated_data=AAD)
        assert not keyring.trouble
        assert keyring.delivery_hash == sealed.delivery.hash
        _cut(sealed)
        passes(sealed)
        keyring.encrypt(b"text", associated_data=AAD)
        assert len(sealed.troubles) == 2


def test_a_kek_that_comes_back_is_asked_again(sealed: Sealed) -> None:
    """After half a minute, though the document has not changed since."""
    moved = sealed.kek.path.with_name("elsewhere")
    with sealed.open() as keyring:
        sealed.generate()
        sealed.kek.path.rename(moved)
        passes(sealed)
        keyring.encrypt(b"text", associated_data=AAD)
        assert len(sealed.troubles) == 1
        moved.rename(sealed.kek.path)
        passes(sealed, AGAIN - 1)
        keyring.encrypt(b"text", associated_data=AAD)
        assert len(keyring._troubles) == 1
        passes(sealed, 5)
        keyring.encrypt(b"text", associated_data=AAD)
        assert keyring.trouble is None
        assert keyring.delivery_hash == sealed.delivery.hash


def test_a_revision_that_this_form_cannot_use_keeps_the_old_keys(sealed: Sealed) -> None:
    """As where the next key is of an algorithm that the application's library lacks."""
    with sealed.open() as keyring:
        sealed.algorithm = Algorithm.FERNET
        sealed.generate()
        for _ in range(3):
            passes(sealed)
            keyring.encrypt(b"text", associated_data=AAD)
        assert [type(each) for each in sealed.troubles] == [Unsupported]
        assert keyring.trouble is not None


def test_a_kek_that_fails_beside_one_that_does_not_is_reported(sealed: Sealed) -> None:
    """The keys are there, and the second way to them is lost."""
    spare = kek_file.make(sealed.directory / "spare.kek")
    data, sealed.keyring = seal(sealed.keyring, {"spare": spare, "local": sealed.kek})
    sealed.path.write_bytes(data)
    spare.path.unlink()
    keks = {"spare": spare, "local": str(sealed.kek.path)}
    with sealed.open(kek=None, keks=keks) as keyring:
        assert keyring.encrypt(b"text", associated_data=AAD)
        assert "spare.kek is not there" in str(keyring.trouble)
        assert len(sealed.troubles) == 1


def test_troubles_are_logged_where_the_application_says_nothing(
    sealed: Sealed, caplog: pytest.LogCaptureFixture
) -> None:
    """By the standard library, as a warning."""
    from certrotd.client.settings import reported

    with sealed.open(on_trouble=reported) as keyring, caplog.at_level(logging.WARNING):
        _gone(sealed)
        passes(sealed)
        keyring.encrypt(b"text", associated_data=AAD)
    assert [each.name for each in caplog.records] == ["certrotd.client"]
    assert "cannot be had" in caplog.text


class TestHeartbeats:
    """Files in a directory."""

    def test_an_instance_is_heard_from_the_beginning_until_it_closes(self, sealed: Sealed) -> None:
        """With what it has encrypted so far."""
        beats = sealed.directory / "beats"
        beats.mkdir()
        with sealed.open(client="shop", heartbeats=beats, every=60) as keyring:
            [first] = heard(beats)
            assert (first.keyring, first.client) == ("orders", "shop")
            assert (first.delivery_hash, first.at) == (sealed.delivery.hash, sealed.clock.now())
            assert first.counts == {}
            keyring.encrypt(b"text", associated_data=AAD)
            keyring.encrypt(b"more text", associated_data=AAD)
            with pytest.raises(CannotDecrypt):
                keyring.decrypt(b"", associated_data=AAD)
            passes(sealed, 59)
            keyring.encrypt(b"", associated_data=AAD)
            assert heard(beats) == [first]
            passes(sealed, 5)
            keyring.encrypt(b"after", associated_data=AAD)
            [second] = heard(beats)
            assert second.instance == first.instance
            assert second.counts == {1: (3, 13)}
            assert second.failures == 1
            [file] = beats.iterdir()
            assert file.name == f"shop.{first.instance}.json"
            assert file.stat().st_mode & 0o777 == 0o640
        assert list(beats.iterdir()) == []

    def test_a_new_delivery_is_acknowledged_when_it_is_in_use(
        self, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Never before: what the heartbeat says can be relied upon."""
        beats = sealed.directory / "beats"
        beats.mkdir()
        with sealed.open(client="shop", heartbeats=beats, every=1e6) as keyring:
            told: list[str] = []
            send = keyring._beats.send  # type: ignore[union-attr]

            def sent(beat: Heartbeat) -> None:
                live = keyring._live
                assert live is not None
                assert live.hash == beat.delivery_hash
                told.append(beat.delivery_hash)
                send(beat)

            monkeypatch.setattr(keyring._beats, "send", sent)
            sealed.generate()
            passes(sealed)
            keyring.encrypt(b"", associated_data=AAD)
            sealed.activate(2)
            passes(sealed)
            keyring.encrypt(b"", associated_data=AAD)
            keyring.encrypt(b"", associated_data=AAD)
            assert len(told) == 2
            assert told[-1] == sealed.delivery.hash
            assert heard(beats)[0].delivery_hash == sealed.delivery.hash

    def test_a_revision_written_just_before_the_heartbeat_is_found(self, sealed: Sealed) -> None:
        """Else certrotd, who looks for heartbeats first, would not wait for this process."""
        beats = sealed.directory / "beats"
        beats.mkdir()
        with sealed.open(client="shop", heartbeats=beats, every=1e6) as keyring:
            beat = keyring._beat

            def late() -> None:
                keyring._beat = beat  # type: ignore[method-assign]
                sealed.activate(2)
                beat()

            keyring._beat = late  # type: ignore[method-assign]
            sealed.generate()
            passes(sealed)
            keyring.encrypt(b"", associated_data=AAD)
            assert heard(beats)[0].delivery_hash == sealed.delivery.hash

    def test_a_revision_of_other_states_alone_needs_no_new_acknowledgement(
        self, sealed: Sealed
    ) -> None:
        """The keys are the same; counting messages must not make every process write."""
        beats = sealed.directory / "beats"
        beats.mkdir()
        with sealed.open(client="shop", heartbeats=beats, every=1e6) as keyring:
            [first] = heard(beats)
            sealed.count(1, 10)
            passes(sealed)
            keyring.encrypt(b"", associated_data=AAD)
            assert keyring.revision == sealed.keyring.revision
            assert heard(beats) == [first]

    def test_heartbeats_that_cannot_be_written_stop_nobody(self, sealed: Sealed) -> None:
        """They are tried again, and what is wrong is reported once."""
        beats = sealed.directory / "beats"
        with sealed.open(client="shop", heartbeats=beats, every=60) as keyring:
            for _ in range(3):
                assert keyring.encrypt(b"", associated_data=AAD)
                passes(sealed)
            assert len(sealed.troubles) == 1
            assert "beats" in str(keyring.trouble)
            beats.mkdir()
            keyring.encrypt(b"", associated_data=AAD)
            assert len(heard(beats)) == 1
            assert keyring.trouble is None


class TestTheThread:
    """It looks and beats while the application does something else."""

    def test_an_idle_process_has_new_keys_and_acknowledges_them(self, sealed: Sealed) -> None:
        """A worker that waits for requests does not hold a rotation up."""
        beats = sealed.directory / "beats"
        beats.mkdir()
        more: dict[str, Any] = {"background": True, "client": "shop", "heartbeats": beats}
        with sealed.open(refresh=0.02, clock=None, **more) as keyring:
            old = keyring.encrypt(b"text", associated_data=AAD)
            sealed.generate()
            sealed.activate(2)
            wait_until(lambda: heard(beats)[0].delivery_hash == sealed.delivery.hash)
            assert keyring._sealing[1] == b"\x01\xff\xff\xff\xff"
            assert keyring.needs_reencryption(old)
            assert keyring.decrypt(old, associated_data=AAD) == b"text"
        assert list(beats.iterdir()) == []

    def test_it_ends_with_the_keyring(self, sealed: Sealed) -> None:
        """Closed or forgotten; whoever is forgotten takes leave, too."""
        beats = sealed.directory / "beats"
        beats.mkdir()
        more: dict[str, Any] = {"background": True, "client": "shop", "heartbeats": beats}
        keyring = sealed.open(refresh=0.02, clock=None, **more)
        assert _threads() == 1
        del keyring
        gc.collect()
        wait_until(lambda: _threads() == 0)
        assert list(beats.iterdir()) == []
        sealed.open(background=True).close()
        assert _threads() == 0

    def test_a_defect_does_not_end_it(
        self, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is reported, by its name alone: its words may hold anything."""
        with sealed.open() as keyring:
            monkeypatch.setattr(keyring._source, "newer", lambda held: 1 / 0)
            assert keyring._tick()
            assert keyring._tick()
            [trouble] = sealed.troubles
            assert str(trouble).endswith("orders.keyring: ZeroDivisionError")
            monkeypatch.undo()
            assert keyring._tick()
            assert keyring.trouble is None

    def test_without_a_thread_to_be_had_the_keyring_works(
        self, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then it looks when it is used."""

        def none(*_arguments: object, **_more: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(module, "Background", none)
        with sealed.open(background=True) as keyring:
            old = keyring.encrypt(b"text", associated_data=AAD)
            sealed.generate()
            sealed.activate(2)
            passes(sealed)
            assert keyring.needs_reencryption(old)

    def test_nobody_waits_for_whoever_is_looking(self, sealed: Sealed) -> None:
        """A slow KEK delays one call of one thread, and the others use the keys they have."""
        with sealed.open() as keyring:
            passes(sealed)
            with keyring._lock:
                done = threading.Event()

                def use() -> None:
                    keyring.encrypt(b"", associated_data=AAD)
                    done.set()

                thread = threading.Thread(target=use)
                thread.start()
                assert done.wait(60)
                thread.join()


def _threads() -> int:
    return sum(each.name == "certrotd-keyring" for each in threading.enumerate())
