"""The outputs of a configured keyring: edited, lost, taken over, and how they name keys."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from certrotd.codecs.wso2 import Wso2
from certrotd.errors import NeedsOperator
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.keys.decision import Rotate
from certrotd.keys.rotation import adopt, overwrite, redeliver
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.rotation.engine import Finished
from tests.unit.keys.rings import (
    DAY,
    FORCED,
    Rings,
    everything_in,
    own_key,
    texts,
    why_not,
    with_another_key,
)

SLOTS = {
    "type": "dotenv",
    "slots": {"v1": "KEY_V1", "v2": "KEY_V2"},
    "version": "KEY_VERSION",
    "encoding": "base64",
}


def test_no_key_is_staged_while_a_value_names_none_where_the_application_needs_that(
    rings: Rings,
) -> None:
    """WSO2's server would try the staged key on such a value, and nothing else."""
    path, database = rings.place / "deployment.toml", rings.place / "app.db"
    rings.orders["outputs"] = [{"type": "toml", "path": str(path), "reads_secondary": True}]
    dataset = {"type": "sql", "url": f"sqlite:///{database}", "table": "idn", "columns": ["value"]}
    rings.orders["datasets"] = {"idn": {**dataset, "codec": {"type": "wso2"}}}
    with closing(sqlite3.connect(database, isolation_level=None)) as rows:
        rows.execute("create table idn (id integer primary key, value text)")
        rings.done()
        key = DataKey(1, Algorithm.AES_256_GCM, Material(rings.secrets()[1]))
        for codec in (Wso2(), Wso2(key_ids=False)):
            value = codec.encrypt(b"x", key).decode()
            rows.execute("insert into idn (value) values (?)", (value,))
        before = path.read_bytes()
        assert "1 values of idn name no key" in why_not(rings.rotate(FORCED))
        assert path.read_bytes() == before
        rows.execute("delete from idn where id = 2")
        rings.done(FORCED)
        assert rings.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}
    rings.orders["datasets"]["idn"]["url"] = f"sqlite:///{rings.place}/gone.db"
    with rings.keyring() as keyring:
        [problem] = keyring.problems(Rotate("asked"))
    assert "unable to open database file" in str(problem)


class TestOutputs:
    """What stands at their paths, and who wrote it."""

    def test_an_output_edited_by_hand_is_not_overwritten(self, rings: Rings) -> None:
        """A key that the keyring never had: nothing rotates until a person decides."""
        rings.done()
        path = rings.place / "keys.json"
        strange = with_another_key(path.read_bytes())
        path.write_bytes(strange)
        report = rings.rotate(FORCED)
        assert "was changed by something else" in why_not(report)
        assert path.read_bytes() == strange
        assert rings.states()[1] is State.ACTIVE
        with rings.keyring() as keyring:
            [words] = keyring.look(thorough=True).strange
        assert words == f"tink {path}: it has a key that the keyring never had"

    def test_what_certrotd_wrote_is_known_again_where_its_place_has_another_name(
        self, rings: Rings
    ) -> None:
        """Of a form that is not read back; so is a Secret whose namespace is written out later."""
        template = rings.place / "keys.tmpl"
        template.write_text("key={{ active.base64 }}\n")
        output = {"type": "template", "template": str(template)}
        for name in ("old", "new", "other"):
            (rings.place / name).mkdir()

        def words(name: str) -> tuple[str, ...]:
            rings.orders["outputs"] = [{**output, "path": str(rings.place / name / "app.conf")}]
            with rings.keyring() as keyring:
                return keyring.look(thorough=True).strange

        assert words("old") == ()
        rings.done()
        (rings.place / "old/app.conf").rename(rings.place / "new/app.conf")
        assert words("new") == ()
        (rings.place / "other/app.conf").write_text("key=other\n")
        [strange] = words("other")
        assert strange.endswith("certrotd did not write it")

    def test_deliver_overwrite_keeps_the_strange_file_aside(self, rings: Rings) -> None:
        """Beside the output, for its owner alone; then everything is as it was delivered."""
        rings.done()
        path = rings.place / "keys.json"
        good, strange = path.read_bytes(), with_another_key(path.read_bytes())
        path.write_bytes(strange)
        report = rings.ask(overwrite)
        assert isinstance(report.outcome, Finished), report
        [aside] = texts(report.outcome.facts["aside"])
        assert Path(aside).read_bytes() == strange
        assert Path(aside).stat().st_mode & 0o077 == 0
        assert json.loads(path.read_bytes()) == json.loads(good)

    def test_deliver_overwrite_helps_a_rotation_that_waits_for_it(self, rings: Rings) -> None:
        """What the failure of `keys deliver` advises does away with it, in one command."""
        rings.done()
        path = rings.place / "keys.json"
        good, strange = path.read_bytes(), with_another_key(path.read_bytes())
        path.write_bytes(strange)
        assert "keys deliver orders --overwrite" in why_not(rings.ask(redeliver))
        assert rings.view().state == "in flight"
        assert not rings.ask(overwrite).failed
        assert rings.view().state == "ok"
        assert json.loads(path.read_bytes()) == json.loads(good)
        [record] = [x for x in rings.records() if x.event == "keyring.output_kept_aside"]
        [aside] = texts(record.details["aside"])
        assert Path(aside).read_bytes() == strange

    def test_deliver_overwrite_leaves_alone_what_a_rotation_waits_for_otherwise(
        self, rings: Rings
    ) -> None:
        """It awaits a consumer: nothing is kept aside, and it goes on waiting."""
        rings.orders["consumers"] = {"app": {"acknowledge": {"file": "/nowhere/app.ack"}}}
        rings.rotate()
        assert "waits for the acknowledgement" in why_not(rings.ask(overwrite))
        assert not [x for x in rings.records() if x.event == "keyring.output_kept_aside"]

    def test_a_lost_output_is_delivered_anew_with_the_same_keys(self, rings: Rings) -> None:
        """No new key is made for that."""
        rings.done()
        path = rings.place / "keys.json"
        good = json.loads(path.read_bytes())
        path.unlink()
        assert rings.view().decision is not None
        report = rings.done()
        assert report.decision is not None
        assert report.decision.code == "undelivered"
        assert json.loads(path.read_bytes()) == good
        assert rings.states() == {1: State.ACTIVE}

    def test_an_output_of_a_rotation_before_is_seen(self, rings: Rings) -> None:
        """Somebody put the file of last week back: it is named, and the next rotation mends it."""
        rings.done()
        path = rings.place / "keys.json"
        old = path.read_bytes()
        rings.done(FORCED)
        path.write_bytes(old)
        with rings.keyring() as keyring:
            [words] = keyring.look(thorough=True).strange
        assert str(path) in words

    def test_an_output_that_cannot_be_read_is_one_of_the_words(self, rings: Rings) -> None:
        """A link in its place is not followed; the other outputs are looked at all the same."""
        rings.orders["outputs"].append(rings.tink("second.json"))
        rings.done()
        with rings.keyring() as keyring:
            assert keyring.look(thorough=True).strange == (), "the control"
        path = rings.place / "keys.json"
        path.rename(rings.place / "real.json")
        path.symlink_to(rings.place / "real.json")
        with rings.keyring() as keyring, pytest.raises(NeedsOperator, match="link"):
            keyring.look(thorough=True)
        assert rings.view().state == "unreadable"

    def test_a_garbled_output_is_strange_in_words(self, rings: Rings) -> None:
        """What is no keyset at all is a word about that output."""
        rings.done()
        (rings.place / "keys.json").write_bytes(b"{half")
        with rings.keyring() as keyring:
            [words] = keyring.look(thorough=True).strange
        assert words.startswith(f"tink {rings.place}/keys.json: ")

    def test_a_directory_that_is_gone_is_a_problem_before_anything_is_begun(
        self, rings: Rings
    ) -> None:
        """No key is made for an output that cannot be written."""
        rings.orders["outputs"] = [rings.tink("nowhere/keys.json")]
        assert "nowhere" in why_not(rings.rotate())
        assert rings.states() == {}
        assert not (rings.place / "kek").exists()


class TestAdoption:
    """An application that has keys of its own."""

    def test_nothing_is_made_while_an_application_has_a_key(self, rings: Rings) -> None:
        """The daemon waits, and says how the key is taken over."""
        (rings.place / "keys.json").write_bytes(own_key())
        (rings.place / "keys.json").chmod(0o600)
        view = rings.view()
        assert isinstance(view.decision, Wait)
        assert view.code == "adopt"
        assert "certrotd keys adopt orders" in view.why
        report = rings.rotate()
        assert not report.failed
        assert report.outcome is None
        assert rings.states() == {}
        assert not (rings.place / "kek").exists()

    def test_adopting_changes_nothing_that_the_application_reads(self, rings: Rings) -> None:
        """The same bytes; and the next rotation adds a key beside the one it had."""
        path = rings.place / "keys.json"
        path.write_bytes(own_key())
        path.chmod(0o600)
        before = everything_in(rings.place)["keys.json"]
        report = rings.ask(partial(adopt, None, None))
        assert isinstance(report.outcome, Finished), report
        assert everything_in(rings.place)["keys.json"] == before
        assert rings.states() == {1: State.ACTIVE}
        rings.done(FORCED)
        own, told = json.loads(before[2]), json.loads(path.read_bytes())
        assert told["key"][0]["keyId"] == own["primaryKeyId"]
        assert told["primaryKeyId"] != own["primaryKeyId"]
        assert "has keys already" in why_not(rings.ask(partial(adopt, None, None)))

    def test_two_outputs_with_different_keys_are_not_adopted(self, rings: Rings) -> None:
        """Nothing is taken over, and both files stay as they are."""
        rings.orders["outputs"].append(rings.tink("second.json"))
        for name in ("keys.json", "second.json"):
            (rings.place / name).write_bytes(own_key())
            (rings.place / name).chmod(0o600)
        assert "name one of them" in why_not(rings.ask(partial(adopt, None, None)))
        source = str(rings.place / "second.json")
        assert f"{rings.place}/keys.json would change" in why_not(
            rings.ask(partial(adopt, source, None))
        )
        assert rings.states() == {}

    def test_there_is_nothing_to_adopt_without_a_file(self, rings: Rings) -> None:
        """It says so, and makes no key."""
        assert "there is nothing to take over at" in why_not(rings.ask(partial(adopt, None, None)))
        assert rings.states() == {}

    def test_an_output_that_the_keyring_lacks_is_not_adopted_from(self, rings: Rings) -> None:
        """A wrong type or path is a mistake, not another output; one of none is none."""
        ours = f"tink {rings.place}/keys.json"
        said = why_not(rings.ask(partial(adopt, None, "dotenv")))
        assert f"orders has no output dotenv (the configuration gives it {ours})" in said
        assert "no output /x" in why_not(rings.ask(partial(adopt, "/x", None)))
        rings.orders["outputs"] = []
        assert "has no output (the configuration gives it none" in why_not(
            rings.ask(partial(adopt, None, None))
        )

    def test_an_output_is_adopted_from_by_its_type(self, rings: Rings) -> None:
        """Where the others have nothing that is of that type."""
        (rings.place / "keys.json").write_bytes(own_key())
        (rings.place / "keys.json").chmod(0o600)
        report = rings.ask(partial(adopt, f"{rings.place}/keys.json", "tink"))
        assert report.outcome is not None
        assert rings.states() == {1: "active"}

    def test_keys_that_are_twice_there_are_not_adopted(self, rings: Rings) -> None:
        """One of both would be given up unseen."""
        told = json.loads(own_key())
        [key] = told["key"]
        told["key"].append({**key, "keyId": 77})
        (rings.place / "keys.json").write_text(json.dumps(told))
        (rings.place / "keys.json").chmod(0o600)
        assert "are the same" in why_not(rings.ask(partial(adopt, None, None)))
        assert rings.states() == {}


class TestIds:
    """How ciphertext names its key."""

    def test_two_outputs_with_different_names_for_keys_are_refused(self, rings: Rings) -> None:
        """A slot is no key id of Tink's: no key is made that one of both could not name."""
        rings.orders["outputs"].append({**SLOTS, "path": str(rings.place / "keys.env")})
        assert "name keys in different ways" in why_not(rings.rotate())
        assert rings.states() == {}

    def test_two_outputs_of_one_way_have_the_same_key(self, rings: Rings) -> None:
        """And the same id of it."""
        rings.orders["outputs"].append(rings.tink("second.json"))
        rings.done()
        first, second = (
            json.loads((rings.place / name).read_bytes()) for name in ("keys.json", "second.json")
        )
        assert first["primaryKeyId"] == second["primaryKeyId"]

    def test_a_key_without_a_name_has_none(self, rings: Rings) -> None:
        """Fernet tries every key: there is nothing to draw."""
        rings.orders["algorithm"] = "fernet"
        rings.orders["outputs"] = [{"type": "fernet-list", "path": str(rings.place / "list")}]
        rings.done()
        with rings.keyring() as keyring:
            found = keyring.store.inspect()
            assert found is not None
            assert found.entries[1].id == ""

    def test_slots_are_taken_in_turn_and_limit_the_versions(self, rings: Rings) -> None:
        """Two slots, two keys: the third waits for the first to be destroyed."""
        rings.orders["outputs"] = [{**SLOTS, "path": str(rings.place / "keys.env")}]
        rings.done()
        rings.done(FORCED)
        assert "KEY_VERSION=v2" in (rings.place / "keys.env").read_text()
        assert (rings.policy().slots, rings.policy().capacity) == (2, 2)
        rings.clock.advance(90 * DAY)
        view = rings.view()
        assert isinstance(view.decision, Postpone)
        assert "no free slot: version 1 is decrypt-only" in view.why

    def test_a_key_that_is_text_is_drawn_printable(self, rings: Rings) -> None:
        """Whoever reads it as characters meets no other bytes."""
        output = {
            "type": "dotenv",
            "path": str(rings.place / "keys.env"),
            "key": "APP_KEY",
            "previous": "APP_OLD_KEYS",
            "encoding": "text",
        }
        rings.orders["outputs"] = [output]
        rings.done()
        [secret] = rings.secrets().values()
        assert len(secret) == 32
        assert all(0x20 < each < 0x7F for each in secret)

    def test_numbers_have_a_first_and_a_last(self, rings: Rings) -> None:
        """The gem's header has one byte for them: 255 keys, each with an IV."""
        (rings.place / "ciphers").mkdir(mode=0o700)
        rings.orders["algorithm"] = "aes-256-cbc"
        rings.orders["outputs"] = [
            {
                "type": "yaml-ciphers",
                "path": str(rings.place / "symmetric-encryption.yml"),
                "key_directory": str(rings.place / "ciphers"),
                "stem": "shop",
            }
        ]
        assert rings.policy().slots == 255
        rings.done()
        with rings.keyring() as keyring:
            found = keyring.store.read()
            assert found is not None
            assert len(found.keyring.entries[1].iv) == 16
