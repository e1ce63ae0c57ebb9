"""The states of key versions: every step by name, and a machine that takes them in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.errors import InvalidInput
from certrotd.keyring.evidence import (
    Count,
    Hold,
    Lacking,
    NotCounted,
    Scan,
    missing,
)
from certrotd.keyring.states import (
    Code,
    NotAllowed,
    NotProven,
    State,
    Transition,
    Version,
    Versions,
)
from tests.unit.keyring.versions import DAY, FRESH, NOW, activated, disabled, first, proof, states


class TestARotation:
    def test_a_key_passes_through_every_state_and_keeps_the_times(self) -> None:
        """An assessor asks for each of them."""
        ring = first()
        for step, days in enumerate((1, 2)):
            at = NOW + days * DAY
            if step == 0:
                ring = activated(ring, at).retire(1, at=at, why="census 0")
            else:
                ring = ring.disable(1, at=at, why="grace is over")
        end = NOW + 3 * DAY
        ring = ring.destroy(1, proof(end), FRESH, at=end, why="nobody missed it")
        assert states(ring) == ["destroyed", "active"]
        assert [(each.code, (each.at - NOW).days) for each in ring.version(1).transitions] == [
            (Code.GENERATED, 0),
            (Code.DISTRIBUTED, 0),
            (Code.ACTIVATED, 0),
            (Code.REPLACED, 1),
            (Code.RETIRED, 1),
            (Code.DISABLED, 2),
            (Code.DESTROYED, 3),
        ]
        assert all(each.why for each in ring.version(1).transitions)
        assert "census 0 of users" in ring.version(1).transitions[-1].why
        assert ring.version(1).since == end

    def test_a_key_that_was_not_distributed_is_not_activated(self) -> None:
        """A consumer without it could not read what the others encrypt with it."""
        ring = first().generate(at=NOW, why="due")
        with pytest.raises(NotAllowed, match="version 2 is pre-active, not secondary"):
            ring.activate(2, at=NOW, why="in a hurry")

    def test_an_active_key_is_not_distributed_again(self) -> None:
        """That would leave nobody encrypting."""
        with pytest.raises(NotAllowed, match="version 1 is active, not pre-active"):
            first().distribute(1, at=NOW, why="again")

    def test_a_second_rotation_does_not_begin_beside_the_first(self) -> None:
        """Which of the two would a rollback undo?"""
        ring = first().generate(at=NOW, why="due").distribute(2, at=NOW, why="given")
        ring = ring.generate(at=NOW, why="compromise")
        with pytest.raises(NotAllowed, match="version 2 is secondary: one rotation"):
            ring.distribute(3, at=NOW, why="given")

    def test_a_version_that_is_not_there_is_named(self) -> None:
        """A typing error at the command line."""
        with pytest.raises(NotAllowed, match="there is no version 7"):
            first().retire(7, at=NOW, why="typo")

    def test_a_key_that_encrypts_is_not_retired(self) -> None:
        """Nor is one that may be activated next."""
        with pytest.raises(NotAllowed, match="version 1 is active and cannot become retired"):
            first().retire(1, at=NOW, why="typo")

    def test_keys_that_an_application_has_are_adopted_in_their_states(self) -> None:
        """One encrypts, the others are read; nothing changes for the application."""
        ring = Versions().adopt(active=False, at=NOW, why="imported")
        ring = ring.adopt(active=True, at=NOW, why="imported")
        assert states(ring) == ["decrypt-only", "active"]
        assert ring.version(1).encrypted_until == NOW
        with pytest.raises(NotAllowed, match="version 2 is active"):
            ring.adopt(active=True, at=NOW, why="imported")

    def test_consumers_are_given_what_they_need_and_no_more(self) -> None:
        """A disabled key is one that is withheld."""
        kept = {state for state in State if not state.delivered}
        assert kept == {State.PRE_ACTIVE, State.DISABLED, State.DESTROYED}


class TestRollback:
    def test_a_secondary_key_is_withdrawn(self) -> None:
        """And the same one may be distributed again."""
        before = first().generate(at=NOW, why="due")
        ring = before.distribute(2, at=NOW, why="given").rollback(at=NOW, why="no answer")
        assert states(ring) == states(before)
        assert ring.distribute(2, at=NOW, why="again").secondary == ring.distribute(
            2, at=NOW, why="again"
        ).version(2)

    def test_the_version_before_encrypts_again_and_the_new_one_still_decrypts(self) -> None:
        """Ciphertext under the new one exists by then."""
        ring = activated(first()).rollback(at=NOW, why="errors")
        assert states(ring) == ["active", "secondary"]
        assert states(ring.activate(2, at=NOW, why="mended")) == ["decrypt-only", "active"]

    def test_a_key_that_has_encrypted_is_given_up_without_losing_its_ciphertext(self) -> None:
        """It cannot be withdrawn as one that was never used."""
        ring = activated(first()).rollback(at=NOW, why="errors").rollback(at=NOW, why="for good")
        assert states(ring) == ["active", "decrypt-only"]
        with pytest.raises(NotAllowed, match="version 1 is the first"):
            ring.rollback(at=NOW, why="further")

    def test_a_retired_or_disabled_key_decrypts_again_and_never_encrypts(self) -> None:
        """What needed it is readable; encryption is a new rotation's."""
        retired = activated(first()).retire(1, at=NOW, why="census 0")
        for ring in (retired, disabled()):
            back = ring.rollback(at=NOW, why="somebody misses it")
            assert states(back) == ["decrypt-only", "active"]
            with pytest.raises(NotAllowed, match="version 1 was retired: it never encrypts"):
                back.rollback(at=NOW, why="further")
        assert states(disabled().restore(1, at=NOW, why="missed")) == ["decrypt-only", "active"]

    def test_a_key_in_use_is_not_restored(self) -> None:
        """There is nothing to restore."""
        with pytest.raises(NotAllowed, match="version 1 is active, not retired or disabled"):
            first().restore(1, at=NOW, why="typo")

    def test_nothing_goes_back_to_a_destroyed_or_compromised_key(self) -> None:
        """The operator is told to rotate instead."""
        gone = disabled().destroy(1, proof(), FRESH, at=NOW, why="over")
        known = activated(first()).compromise(1, at=NOW, why="in a backup")
        for ring, word in ((gone, "destroyed"), (known, "compromised")):
            with pytest.raises(NotAllowed, match=f"the one before, is {word}"):
                ring.rollback(at=NOW, why="errors")

    def test_without_an_active_key_there_is_none_to_go_back_from(self) -> None:
        """After a compromise the way is forward."""
        with pytest.raises(NotAllowed, match="no version is active"):
            first().compromise(1, at=NOW, why="leaked").rollback(at=NOW, why="errors")


class TestACompromise:
    @pytest.mark.parametrize("made", [first, disabled])
    def test_a_key_is_compromised_from_any_state(self, made: Callable[[], Versions]) -> None:
        """It ceases to encrypt at once, and the next key does not count on it."""
        ring = activated(made().compromise(1, at=NOW, why="leaked"))
        assert ring.version(1).state is State.COMPROMISED
        assert ring.active is not None
        with pytest.raises(NotAllowed, match="is known to be compromised"):
            ring.compromise(1, at=NOW, why="again")

    def test_a_key_whose_compromise_is_learned_of_later_stays_destroyed(self) -> None:
        """SP 800-57's destroyed compromised: what it protected was exposed all the same."""
        ring = disabled().destroy(1, proof(), FRESH, at=NOW, why="over")
        ring = ring.compromise(1, at=NOW, why="found in an old backup")
        assert (ring.version(1).state, ring.version(1).compromised) == (State.DESTROYED, True)

    def test_a_compromised_key_is_destroyed_with_evidence(self) -> None:
        """When everything under it is re-encrypted."""
        ring = activated(first().compromise(1, at=NOW, why="leaked"))
        with pytest.raises(NotProven, match="users still has 3 ciphertexts under the key"):
            ring.destroy(1, proof(left=3), FRESH, at=NOW, why="over")
        ring = ring.destroy(1, proof(), FRESH, at=NOW, why="over")
        assert states(ring) == ["destroyed", "active"]
        with pytest.raises(NotAllowed, match="version 1 is destroyed already"):
            ring.destroy(1, proof(), FRESH, at=NOW, why="over")

    def test_a_compromised_key_is_not_activated(self) -> None:
        """Not even one that was secondary when it leaked, by a way round the keyring."""
        leaked = Transition(State.DECRYPT_ONLY, NOW, Code.ADOPTED, "")
        moves = (leaked, replace(leaked, to=State.COMPROMISED))
        with pytest.raises(NotAllowed, match="compromised and cannot become active"):
            Version(1, moves).moved(replace(leaked, to=State.ACTIVE))


class TestEvidence:
    LONG_AGO = NOW - 90 * DAY

    @pytest.mark.parametrize(
        ("shown", "code", "words"),
        [
            ({"census": {}}, Lacking.NOT_COUNTED, "the dataset users was not counted"),
            ({"census": {"users": Count(1, NOW)}}, Lacking.REMAINING, "has 1 ciphertext under"),
            (
                {"census": {"users": Count(0, NOW), "logs": Count(2, NOW)}},
                Lacking.REMAINING,
                "logs still has 2 ciphertexts",
            ),
            ({"census": {"users": Count(0, NOW - 2 * DAY)}}, Lacking.CENSUS_STALE, "take it again"),
            ({"census": {"users": Count(0, NOW + DAY)}}, Lacking.CLOCK, "in the future"),
            (
                {"census": {"users": Count(2, NOW, unopened=2)}},
                Lacking.QUARANTINED,
                "2 values of users open with no key",
            ),
            (
                {"failed": {"users": NotCounted(Lacking.UNREACHABLE, NOW + DAY, "it is away")}},
                Lacking.UNREACHABLE,
                "users was not counted: it is away",
            ),
            (
                {"failed": {"users": NotCounted(Lacking.CUT_SHORT, NOW + DAY, "1 directory")}},
                Lacking.CUT_SHORT,
                "users was not counted: 1 directory",
            ),
            ({"hold": Hold("audit", "ann", NOW)}, Lacking.HELD, "it is held by ann: audit"),
            (
                {"hold": Hold("audit", "ann", NOW, NOW + DAY)},
                Lacking.HELD,
                "held by ann until 2026-06-02 00:00Z: audit",
            ),
            (
                {"unacknowledged": ("web, which has another delivery",)},
                Lacking.UNACKNOWLEDGED,
                "not confirmed by web, which has",
            ),
            ({"scans": True}, Lacking.NOT_SCANNED, "was not looked for since"),
            (
                {"scans": True, "scan": Scan(LONG_AGO - DAY)},
                Lacking.NOT_SCANNED,
                "was not looked for since",
            ),
            ({"scans": True, "scan": Scan(NOW - 8 * DAY)}, Lacking.SCAN_STALE, "the last scan"),
            ({"scans": True, "scan": Scan(NOW + DAY)}, Lacking.CLOCK, "in the future"),
            (
                {"scans": True, "scan": Scan(NOW, unfinished=("shop/public.t",))},
                Lacking.CUT_SHORT,
                "did not end: shop/public.t",
            ),
            (
                {"scans": True, "scan": Scan(NOW, ("shop/audit.old: tink",))},
                Lacking.UNDECLARED,
                "is in no dataset: shop/audit.old: tink",
            ),
            ({"confirmations": 2}, Lacking.UNCONFIRMED, "2 people have to confirm it, and nobody"),
            (
                {"confirmations": 2, "confirmed": ("ann", "ann")},
                Lacking.UNCONFIRMED,
                "and ann did",
            ),
            ({"drains": {"cookies": NOW + DAY}}, Lacking.DRAINING, "cookies may hold"),
            ({"drilled": None}, Lacking.NO_DRILL, "no restore drill"),
            ({"drilled": LONG_AGO}, Lacking.DRILL_STALE, "the last restore drill is of"),
            ({"drilled": NOW + DAY}, Lacking.CLOCK, "in the future"),
            ({"rehearsed": None}, Lacking.NO_REHEARSAL, "no emergency was rehearsed"),
            ({"rehearsed": LONG_AGO}, Lacking.REHEARSAL_STALE, "the last rehearsal"),
            ({"rehearsed": NOW + DAY}, Lacking.CLOCK, "in the future"),
            ({"backups_away": "no disk"}, Lacking.BACKUPS_AWAY, "freed of the key: no disk"),
            (
                {"datasets": frozenset(), "census": {}, "drains": {}},
                Lacking.NOTHING_NAMED,
                "no dataset or drain is named",
            ),
        ],
    )
    def test_each_thing_that_is_not_shown_keeps_the_key(
        self, shown: dict[str, object], code: Lacking, words: str
    ) -> None:
        """One code and one line for each."""
        evidence = replace(proof(), **shown)  # type: ignore[arg-type]
        ring = disabled(self.LONG_AGO)
        with pytest.raises(NotProven) as refused:
            ring.destroy(1, evidence, FRESH, at=NOW, why="over")
        [lacking] = refused.value.missing
        assert lacking.code is code
        assert words in lacking.why
        assert words in str(refused.value)

    @pytest.mark.parametrize(
        ("first", "proven"), [(NOW - 7 * DAY, True), (NOW - 6 * DAY, False), (None, False)]
    )
    def test_the_census_is_zero_twice_and_so_far_apart(
        self, first: datetime | None, proven: bool
    ) -> None:
        """Between the two, what comes back late (a restored table, a queue) shows itself."""
        twice = replace(proof(), census={"users": Count(0, NOW, zero_since=first)})
        fresh, ring = replace(FRESH, apart=7 * DAY), disabled(self.LONG_AGO)
        if proven:
            assert states(ring.destroy(1, twice, fresh, at=NOW, why="over"))[0] == "destroyed"
            return
        with pytest.raises(NotProven, match="it has to be zero 7 d later, too") as refused:
            ring.destroy(1, twice, fresh, at=NOW, why="over")
        assert [each.code for each in refused.value.missing] == [Lacking.CENSUS_ONCE]

    def test_what_is_over_keeps_no_key(self) -> None:
        """A failure before the last count, a hold that has ended; two who confirmed are enough."""
        evidence = replace(
            proof(),
            failed={"users": NotCounted(Lacking.UNREACHABLE, NOW - DAY, "it was away")},
            hold=Hold("audit", "ann", NOW - 2 * DAY, NOW),
            confirmations=2,
            confirmed=("ann", "bob"),
        )
        assert not [*missing(evidence, FRESH, encrypted_until=self.LONG_AGO, now=NOW)]

    def test_times_are_told_to_the_minute(self) -> None:
        """People read them: of what is lacking, and of what was shown."""
        odd = datetime(2026, 3, 4, 5, 6, 7, 891234, tzinfo=UTC)
        old = {"users": Count(0, odd)}
        evidence = replace(proof(), census=old, drains={"cookies": NOW + DAY}, drilled=odd)
        found = missing(evidence, FRESH, encrypted_until=odd + DAY, now=NOW)
        words = "; ".join([each.why for each in found] + [str(evidence)])
        assert words.count("2026-03-04 05:06Z") == 5
        assert "2026-03-05 05:06Z" in words
        assert "+00:00" not in words
        assert "restore drill at no time" in str(replace(evidence, drilled=None))

    def test_a_census_from_before_the_key_ceased_to_encrypt_shows_nothing(self) -> None:
        """Rows were written under it after the count."""
        early = replace(proof(), census={"users": Count(0, NOW - DAY / 2)})
        found = missing(early, FRESH, encrypted_until=NOW, now=NOW)
        assert [each.code for each in found] == [Lacking.CENSUS_EARLY]

    def test_a_key_that_never_encrypted_needs_no_dataset(self) -> None:
        """An aborted rotation leaves one."""
        ring = first().generate(at=NOW, why="due")
        nothing = replace(proof(), datasets=frozenset(), census={}, drains={})
        assert states(ring.destroy(2, nothing, FRESH, at=NOW, why="aborted"))[1] == "destroyed"
        assert "no dataset" in str(nothing)

    def test_a_key_in_use_is_not_destroyed_whatever_is_shown(self) -> None:
        """Disabled first, and watched."""
        with pytest.raises(NotAllowed, match="version 1 is active and cannot become destroyed"):
            first().destroy(1, proof(), FRESH, at=NOW, why="over")


class TestImpossibleValues:
    """What a document says is checked against the same table as what is done."""

    @staticmethod
    def path(*states: State) -> tuple[Transition, ...]:
        return tuple(Transition(each, NOW, Code.GENERATED, "") for each in states)

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ((), "begins in no state"),
            ((State.RETIRED,), "begins in no state"),
            ((State.PRE_ACTIVE, State.ACTIVE), "went from pre-active to active"),
            (
                (State.ACTIVE, State.DECRYPT_ONLY, State.RETIRED, State.DECRYPT_ONLY, State.ACTIVE),
                "was retired, and active again",
            ),
            ((State.ACTIVE, State.DESTROYED), "went from active to destroyed"),
        ],
    )
    def test_a_version_with_an_impossible_past_is_refused(
        self, path: tuple[State, ...], words: str
    ) -> None:
        """No code of ours has written it."""
        with pytest.raises(InvalidInput, match=words):
            Version(1, self.path(*path))

    def test_a_keyring_with_two_active_keys_is_refused(self) -> None:
        """Or with a number twice."""
        one, two = (Version(n, self.path(State.ACTIVE)) for n in (1, 2))
        with pytest.raises(InvalidInput, match="versions 1 and 2 are both active"):
            Versions((one, two))
        with pytest.raises(InvalidInput, match="version 1 is there twice"):
            Versions((one, one))


def test_a_clock_that_was_put_back_puts_no_transition_before_the_last() -> None:
    """A drain that counts from the end of a key's use is not over before it began."""
    began = datetime(2026, 6, 1, tzinfo=UTC)
    back = began - timedelta(days=365)
    versions = Versions().adopt(active=True, at=began, why="x").generate(at=back, why="x")
    after = versions.distribute(2, at=back, why="x").activate(2, at=back, why="x")
    assert after.version(1).encrypted_until == began
    assert after.version(2).since == back
