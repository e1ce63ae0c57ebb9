"""A keyring of a configuration file, on a disk: its keys, its KEK, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.datasets import configured
from certrotd.errors import Failure
from certrotd.keyring.states import State
from certrotd.keys.decision import Rotate
from certrotd.keys.rotation import redeliver, rewrap
from certrotd.lifecycle.decision import Wait
from tests.unit.keys.rings import (
    FORCED,
    START,
    Rings,
    everything_in,
    rewritten,
    why_not,
)


class TestFirstKey:
    """What is made, and when."""

    def test_the_first_rotation_makes_the_kek_the_keyring_and_the_output(
        self, rings: Rings
    ) -> None:
        """Each for its owner alone; the keyring holds the key only wrapped."""
        report = rings.done()
        assert report.decision is not None
        assert report.decision.code == "first"
        assert rings.states() == {1: State.ACTIVE}
        for path in (rings.place / "kek", rings.document, rings.place / "keys.json"):
            assert path.stat().st_mode & 0o777 == 0o600
        [key] = json.loads((rings.place / "keys.json").read_bytes())["key"]
        assert key["status"] == "ENABLED"
        [secret] = rings.secrets().values()
        assert secret not in rings.document.read_bytes()
        assert rings.view().state == "ok"

    def test_a_rotation_keeps_the_old_key_and_its_kek(self, rings: Rings) -> None:
        """The first key decrypts still, and is the same."""
        rings.done()
        kek, [first] = (rings.place / "kek").read_bytes(), rings.secrets().values()
        rings.done(FORCED)
        assert rings.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}
        assert rings.secrets()[1] == first != rings.secrets()[2]
        assert (rings.place / "kek").read_bytes() == kek
        told = json.loads((rings.place / "keys.json").read_bytes())
        assert len(told["key"]) == 2

    def test_a_look_writes_nothing(self, rings: Rings) -> None:
        """Of another user or a dry one: not even the state directory is made."""
        before = everything_in(rings.place)
        view = rings.view(dry=True)
        assert (view.state, view.why) == ("missing", "there is no key yet")
        assert isinstance(view.decision, Rotate)
        there = everything_in(rings.place)
        assert there.keys() - before.keys() == {"certrotd.yaml"}

    def test_a_look_at_a_keyring_changes_nothing_of_it(self, rings: Rings) -> None:
        """Neither files nor their times, once there is a key."""
        rings.done()
        with rings.keyring(dry=True) as keyring:  # the configuration file is written by then
            before = everything_in(rings.place)
            keyring.look(thorough=True)
            assert list(keyring.problems(Wait("", START))) == []
            assert keyring.attempts().failures == 0
            assert everything_in(rings.place) == before

    def test_a_rotation_wakes_for_the_cryptoperiod(self, rings: Rings) -> None:
        """It is due when a tenth of it is left, and not before."""
        rings.orders["classification"] = "restricted"
        rings.done()
        rings.clock.advance(timedelta(days=6))
        assert isinstance(rings.view().decision, Wait)
        rings.clock.advance(timedelta(hours=8))
        assert rings.done().decision is not None
        assert rings.states()[2] is State.ACTIVE


class TestKek:
    """The file of a KEK is made before it has wrapped anything, and never again."""

    def test_a_kek_that_is_missing_later_is_not_made_anew(self, rings: Rings) -> None:
        """Nothing rotates, no key is made, and the one failure says which file it is."""
        rings.done()
        (rings.place / "kek").rename(rings.place / "elsewhere")
        before = rings.document.read_bytes()
        view = rings.view()
        assert view.state == "unreadable"
        assert str(rings.place / "kek") in view.why
        assert str(rings.place / "kek") in why_not(rings.rotate(FORCED))
        assert not (rings.place / "kek").exists()
        assert rings.document.read_bytes() == before
        (rings.place / "elsewhere").rename(rings.place / "kek")
        rings.done(FORCED)

    def test_a_second_keyring_takes_the_kek_that_is_there_or_none(self, rings: Rings) -> None:
        """Where one keyring was wrapped, a missing KEK is not made for the other."""
        rings.done()
        rings.config["keyrings"]["users"] = {"outputs": [rings.tink("users.json")]}
        kek = (rings.place / "kek").read_bytes()
        (rings.place / "kek").rename(rings.place / "elsewhere")
        assert str(rings.place / "kek") in why_not(rings.rotate(name="users"))
        assert not (rings.place / "kek").exists()
        (rings.place / "kek").write_bytes(kek)
        (rings.place / "kek").chmod(0o600)
        rings.done(FORCED, name="users")

    def test_a_kek_that_is_there_before_the_first_keyring_is_used(self, rings: Rings) -> None:
        """The operator made it: it is not replaced."""
        (rings.place / "kek").write_bytes(bytes(range(32)))
        (rings.place / "kek").chmod(0o600)
        rings.done()
        assert (rings.place / "kek").read_bytes() == bytes(range(32))

    def test_one_of_two_keks_is_enough(self, rings: Rings) -> None:
        """Each wraps every key; the first may be gone."""
        rings.config["keks"]["other"] = {"type": "file", "path": str(rings.place / "kek2")}
        rings.done()
        (rings.place / "kek").unlink()
        assert rings.view().state == "ok"

    def test_a_kek_that_is_added_later_is_made(self, rings: Rings) -> None:
        """What has wrapped nothing loses nothing; from then on it is never made anew."""
        rings.done()
        rings.config["keks"]["other"] = {"type": "file", "path": str(rings.place / "kek2")}
        rings.done(FORCED)
        (rings.place / "kek").unlink()
        assert rings.view().state == "ok"
        (rings.place / "kek2").unlink()
        assert rings.view().state == "unreadable"
        assert "is not there" in why_not(rings.rotate(FORCED))
        assert not (rings.place / "kek2").exists()

    @pytest.mark.parametrize("lost", ["gone", "damaged"])
    def test_no_kek_is_made_while_a_keyring_does_not_tell_what_wraps_it(
        self, rings: Rings, lost: str
    ) -> None:
        """It may be the one that is missing: its disk is not mounted."""
        rings.done()
        if lost == "gone":
            rings.document.unlink()
        else:
            rings.document.write_bytes(b"{}")
        rings.config["keyrings"]["users"] = {"outputs": [rings.tink("users.json")]}
        (rings.place / "kek").unlink()
        assert "is not there" in why_not(rings.rotate(name="users"))
        assert not (rings.place / "kek").exists()

    def test_no_kek_is_made_while_a_keyring_without_a_mark_is_wrapped_by_it(
        self, rings: Rings
    ) -> None:
        """A kill before the mark was written, or a lost mark, is no reason."""
        rings.done()
        shutil.rmtree(rings.place / "state/keyring-marks")
        rings.config["keyrings"]["users"] = {"outputs": [rings.tink("users.json")]}
        (rings.place / "kek").unlink()
        assert "is not there" in why_not(rings.rotate(name="users"))
        assert not (rings.place / "kek").exists()

    def test_a_first_try_without_keks_goes_on_with_them(self, rings: Rings) -> None:
        """The KEK of the state directory opens its keyrings until the configured ones wrap them."""
        keks = rings.config.pop("keks")
        rings.done()
        with rings.keyring() as keyring:
            assert keyring.kek_words("state_dir/kek") == "state_dir/kek (file)"
        rings.config["keks"] = keks
        assert rings.view().state == "ok"
        with rings.keyring() as keyring:
            assert keyring.kek_words("state_dir/kek") == "state_dir/kek (no longer configured)"
        rings.ask(rewrap)
        (rings.place / "state/kek").unlink()
        assert rings.view().state == "ok"

    def test_a_first_try_of_an_older_certrotd_stays_readable(self, rings: Rings) -> None:
        """It called the KEK of the state directory local; that is not made anew, either."""
        rings.config["keks"] = {"local": {"type": "file", "path": str(rings.place / "state/kek")}}
        rings.done()
        del rings.config["keks"]
        assert rings.view().state == "ok"
        (rings.place / "state/kek").rename(rings.place / "elsewhere")
        rings.config["keyrings"]["users"] = {"outputs": [rings.tink("users.json")]}
        assert "is not there" in why_not(rings.rotate(name="users"))
        (rings.place / "elsewhere").rename(rings.place / "state/kek")
        rings.done(FORCED)
        assert rings.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}

    def test_a_kek_that_left_the_configuration_is_named(self, rings: Rings) -> None:
        """For reports; one that is configured has its type beside it."""
        with rings.keyring() as keyring:
            assert keyring.kek_words("local") == "local (file)"
            assert keyring.kek_words("old") == "old (no longer configured)"


def _truncated(rings: Rings) -> None:
    data = rings.document.read_bytes()
    rings.document.write_bytes(data[: len(data) // 2])


def _emptied(rings: Rings) -> None:
    rings.document.write_bytes(b"")


def _forged(rings: Rings) -> None:
    rewritten(rings.document, revision=99)


def _replayed(rings: Rings) -> None:
    old = rings.document.read_bytes()
    rings.done(FORCED)
    rings.document.write_bytes(old)


def _of_another(rings: Rings) -> None:
    rings.config["keyrings"]["users"] = {"outputs": [rings.tink("users.json")]}
    rings.done(name="users")
    [other] = (rings.place / "state/keyrings").glob("users*")
    rings.document.write_bytes(other.read_bytes())


def _gone(rings: Rings) -> None:
    rings.document.unlink()


def _unmarked(rings: Rings) -> None:
    [mark] = (rings.place / "state/keyring-marks").glob("orders*")
    mark.write_bytes(b"{}")


def _directory(rings: Rings) -> None:
    path = rings.document
    path.unlink()
    path.mkdir()


DAMAGES = {
    "cut short": _truncated,
    "is cut short": _emptied,
    "seal": _forged,
    "put an old one back": _replayed,
    "users": _of_another,
    "is gone": _gone,
    "does not say the highest revision": _unmarked,
    "is not a regular file": _directory,
}


@pytest.mark.parametrize("words", DAMAGES)
def test_a_damaged_keyring_is_one_failure_and_nothing_is_made_in_its_place(
    tmp_path: Path, words: str
) -> None:
    """Its state is `unreadable`; no rotation writes anything, whoever asks for it."""
    rings = Rings(tmp_path)
    rings.done()
    DAMAGES[words](rings)
    state = tmp_path / "state"
    kept = (everything_in(state / "keyrings"), everything_in(state / "keyring-marks"))
    output = (tmp_path / "keys.json").read_bytes()
    view = rings.view()
    assert view.state == "unreadable"
    assert words in view.why
    assert "\n" not in view.why
    shown = view.to_json()
    assert shown["versions"] == []
    for report in (rings.rotate(), rings.rotate(FORCED), rings.ask(redeliver)):
        assert words in why_not(report)
        assert report.outcome is None
    assert (everything_in(state / "keyrings"), everything_in(state / "keyring-marks")) == kept
    assert (tmp_path / "keys.json").read_bytes() == output
    begun = [each for each in rings.records() if each.event == "rotation.began"]
    if words != "users":
        assert len(begun) == (2 if "old one" in words else 1)


class TestTemplate:
    """An output that needs a file of the operator's to be told at all."""

    def test_a_template_that_is_gone_hides_no_other_keyring(self, rings: Rings) -> None:
        """The one keyring is unreadable, by its own name; the others are rotated."""
        template = rings.place / "keys.tmpl"
        rings.config["keyrings"]["users"] = {
            "outputs": [
                {
                    "type": "template",
                    "path": str(rings.place / "users.conf"),
                    "template": str(template),
                }
            ]
        }
        template.write_text("key={{ active.base64 }}\n")
        with rings.site() as site:
            template.unlink()
            views = {each.id.name: each for each in site.look(list(site.inventory.subjects))}
            shown: dict[str, Any] = {name: each.to_json() for name, each in views.items()}
        assert views["users"].state == "unreadable"
        assert str(template) in views["users"].why
        assert shown["users"]["outputs"] == [f"template {rings.place}/users.conf"]
        assert views["orders"].state == "missing"


class TestBackup:
    """A keyring that is backed up before a key is used."""

    def test_a_place_that_is_no_directory_is_a_problem_before_anything_is_begun(
        self, rings: Rings
    ) -> None:
        """No key encrypts that is not in a backup."""
        secret = rings.place / "passphrase"
        secret.write_text("correct horse battery")
        secret.chmod(0o600)
        rings.orders["backup"] = {
            "directory": str(rings.place / "backups"),
            "passphrase": {"file": str(secret)},
        }
        (rings.place / "backups").write_text("a file is in its place")
        assert "backups" in why_not(rings.rotate())
        assert rings.states() == {}
        (rings.place / "backups").unlink()
        rings.done()
        assert len(os.listdir(rings.place / "backups")) == 1

    def test_a_recipient_that_is_none_is_a_problem_before_anything_is_begun(
        self, rings: Rings
    ) -> None:
        """As the line of the documentation that everybody copies."""
        entry = {"directory": str(rings.place / "backups"), "recipients": ["age1" + "q" * 58]}
        rings.orders["backup"] = entry
        with rings.keyring(dry=True) as keyring:
            [problem] = keyring.problems(Rotate("now"))
        assert "is no recipient of age" in str(problem)
        assert "is no recipient of age" in why_not(rings.rotate())
        assert not (rings.place / "backups").exists()


@pytest.mark.parametrize("missing", ["program", "library"])
def test_no_key_is_made_whose_files_of_sops_nothing_could_rotate(
    rings: Rings, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The old one would be needed for ever; the first key needs neither."""
    program = "/nowhere/sops" if missing == "program" else "true"
    files = {"type": "files", "roots": [str(rings.place / "f")], "codec": "sops"}
    rings.orders["datasets"] = {"secrets": {**files, "sops": {"program": program}}}
    rings.orders["algorithm"] = "age-x25519"
    rings.orders["outputs"] = [{"type": "age-identities", "path": str(rings.place / "keys.txt")}]
    if missing == "library":
        monkeypatch.setattr(configured, "installed", lambda _module: False)
    rings.done()
    why = why_not(rings.rotate(FORCED))
    assert rings.states() == {1: State.ACTIVE}
    if missing == "program":
        assert "the dataset secrets: the program /nowhere/sops is not an executable file" in why
    else:
        assert "the dataset secrets needs the Python module pyrage, which is not" in why


def test_the_failures_are_typed(rings: Rings) -> None:
    """Whoever asks for a target or a KEK gets a Failure, and no traceback."""
    rings.done()
    (rings.place / "kek").write_bytes(b"short")
    with rings.keyring() as keyring, pytest.raises(Failure):
        keyring.store.read()
