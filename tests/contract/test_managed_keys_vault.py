"""What is Vault's own of keys that never leave it: versions that are retired."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.clock import ManualClock
from certrotd.errors import InvalidInput
from certrotd.kek.managed.vault import VaultManagedKey
from certrotd.kek.port import Denied, Disabled, KekUnavailable, Unfit
from certrotd.kek.vault import Vault
from certrotd.lifecycle.decision import Asked
from certrotd.managed_keys.retention import Retention
from certrotd.rotation.engine import Finished, RolledBack
from tests.contract.kek_rigs import Around, secret
from tests.contract.managed_key_rigs import CONFIG, DAY, Rig, vault
from tests.fakes.managed_keys import POLICY, Bench
from tests.parts.front import Request, Response, fronting
from tests.parts.key_services import Transit


class TestVault:
    @pytest.fixture
    def rig(self, around: Around, transit: Transit) -> Rig:
        return vault(around, transit)

    def limits(self, rig: Rig) -> tuple[int | None, int | None, list[bool]]:
        """The lowest version to decrypt, and to be there, and which of those decrypt."""
        state = rig.key.describe()
        decrypts = [each.decrypts for each in state.versions]
        return state.min_decryption_version, state.min_available_version, decrypts

    def test_a_retired_version_does_not_open_until_it_is_taken_back(self, rig: Rig) -> None:
        """Its ciphertext stays what it is; newer ones open all the time."""
        old = rig.kek.wrap(b"old", {})
        rig.key.rotate("1")
        newer = rig.kek.wrap(b"newer", {})
        rig.key.rotate("2")
        assert self.limits(rig) == (1, 1, [True, True, True])
        rig.key.retire_before("2")
        assert self.limits(rig) == (2, 1, [False, True, True])
        assert rig.key.describe().oldest_decrypting.id == "2"
        with pytest.raises(Disabled):
            rig.kek.unwrap(old, {})
        assert rig.kek.unwrap(newer, {}) == b"newer"
        rig.key.retire_before("1")
        assert self.limits(rig) == (1, 1, [True, True, True])
        assert rig.kek.unwrap(old, {}) == b"old"

    def test_a_retirement_whose_answer_is_lost_is_undone(self, rig: Rig) -> None:
        """By the wing's step at the real engine: an old ciphertext opens again, then no more."""
        old = rig.kek.wrap(b"old", {})
        rig.key.rotate("1")
        policy = replace(POLICY, retention=Retention(1, timedelta(hours=1)))
        bench = Bench(policy, clock=ManualClock(datetime.now(UTC) + 2 * timedelta(hours=1)))
        bench.key = rig.key
        bench.check().look()
        upstream, told = rig.front.service, []

        def lost(request: Request) -> Response | None:
            if not request.path.endswith("/config"):
                return None
            answer = upstream(request)
            told.append(self.limits(rig)[0])
            return Response(500, b"{}") if json.loads(request.body) == {CONFIG: 2} else answer

        rig.front.instead = lost
        report = bench.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert told[0] == 2
        assert told[-1] == 1
        assert rig.kek.unwrap(old, {}) == b"old"
        rig.front.instead = lambda _: None
        assert isinstance(bench.tick(timedelta(minutes=1)).outcome, Finished)
        with pytest.raises(Disabled):
            rig.kek.unwrap(old, {})

    def test_a_retirement_that_is_refused_is_undone_by_reading_alone(self, rig: Rig) -> None:
        """A token may lack update on keys/KEY/config: that must not hold the key up for good."""
        rig.key.rotate("1")
        policy = replace(POLICY, retention=Retention(1, timedelta(hours=1)))
        bench = Bench(policy, clock=ManualClock(datetime.now(UTC) + 2 * timedelta(hours=1)))
        bench.key = rig.key
        bench.check().look()
        written = []

        def refused(request: Request) -> Response | None:
            if not request.path.endswith("/config"):
                return None
            written.append(json.loads(request.body))
            return Response(403, b'{"errors": ["permission denied"]}')

        rig.front.instead = refused
        report = bench.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert written == [{CONFIG: 2}]
        assert self.limits(rig)[0] == 1
        rig.front.instead = lambda _: None
        assert isinstance(bench.rotate(Asked(by_hand=True)).outcome, Finished)
        assert self.limits(rig)[0] == 2

    @pytest.mark.parametrize("version", ["", "0", "9", "x"])
    def test_a_version_that_is_not_there_retires_nothing(self, rig: Rig, version: str) -> None:
        """A misspelt one must not retire all."""
        with pytest.raises(InvalidInput, match="has no version"):
            rig.key.retire_before(version)
        assert self.limits(rig) == (1, 1, [True])

    def test_what_is_trimmed_is_neither_shown_nor_taken_back(
        self, rig: Rig, transit: Transit
    ) -> None:
        """The engine has destroyed it."""
        for present in ("1", "2"):
            rig.key.rotate(present)
        path = f"keys/{rig.key.service.key}"
        transit.ask("POST", f"{path}/config", min_decryption_version=3, min_encryption_version=3)
        transit.ask("POST", f"{path}/trim", min_available_version=2)
        assert self.limits(rig) == (3, 2, [False, True])
        with pytest.raises(InvalidInput, match="has no version 1"):
            rig.key.retire_before("1")
        rig.key.retire_before("2")
        assert self.limits(rig) == (2, 2, [True, True])

    def test_versions_that_may_encrypt_still_are_not_retired(
        self, rig: Rig, transit: Transit
    ) -> None:
        """The engine refuses it, and the words say what stands in the way."""
        rig.key.rotate("1")
        transit.ask("POST", f"keys/{rig.key.service.key}/config", min_encryption_version=1)
        with pytest.raises(Unfit, match="min encryption version of 1") as refused:
            rig.key.retire_before("2")
        assert "min_encryption_version" in refused.value.hint
        assert self.limits(rig) == (1, 1, [True, True])

    @pytest.mark.parametrize("trouble", ["down", "denied", "throttled"])
    def test_a_retirement_in_trouble_says_who_can_help(self, rig: Rig, trouble: str) -> None:
        """As every other call does."""
        rig.front.down = trouble == "down"
        if trouble != "down":
            rig.front.always(rig.denied if trouble == "denied" else rig.throttled)
        with pytest.raises(Denied if trouble == "denied" else KekUnavailable):
            rig.key.retire_before("1")

    def test_an_engine_of_an_older_kind_has_no_lowest_version_that_is_there(
        self, around: Around
    ) -> None:
        """It says less, and a 0 is the first version."""
        body = b'{"data":{"min_decryption_version":0,"latest_version":1,"keys":{"1":1}}}'
        token = secret(around, "token", "t")
        with fronting(lambda _: Response(200, body)) as front:
            state = VaultManagedKey(Vault(front.url, "k", token), 30).describe()
        assert (state.min_decryption_version, state.min_available_version) == (1, None)

    def test_an_asymmetric_key_is_seen_too(self, around: Around, transit: Transit) -> None:
        """Its versions are written in another form."""
        transit.ask("POST", "keys/signing", type="ed25519")
        token = secret(around, "token", transit.token)
        key = VaultManagedKey(Vault(transit.url, "signing", token), 30)
        key.rotate("1")
        [first, second] = key.describe().versions
        assert (first.id, second.id) == ("1", "2")
        assert second.created is not None
        assert datetime.now(UTC) - second.created < timedelta(hours=1)

    def test_an_answer_without_content_is_one(self, around: Around, transit: Transit) -> None:
        """Older versions answer 204 to what newer ones answer with the key."""
        rig = vault(around, transit)
        upstream = rig.front.service

        def without(request: Request) -> Response | None:
            if request.method == "GET":
                return None
            upstream(request)
            return Response(204)

        rig.front.instead = without
        rig.key.rotate("1")
        rig.key.set_period(30 * DAY)
        state = rig.key.describe()
        assert (state.present.id, state.period) == ("2", 30 * DAY)

    def test_a_key_that_is_not_there_is_unfit(self, around: Around, transit: Transit) -> None:
        """And none is made."""
        token = secret(around, "token", transit.token)
        with pytest.raises(Unfit):
            VaultManagedKey(Vault(transit.url, "nobodys", token), 30).rotate("1")

    def test_a_key_without_a_version_is_no_answer(self, around: Around) -> None:
        """Every key has one."""
        body = b'{"data":{"min_decryption_version":0,"latest_version":0,"keys":{}}}'
        token = secret(around, "token", "t")
        with fronting(lambda _: Response(200, body)) as front:
            key = VaultManagedKey(Vault(front.url, "k", token), 30)
            with pytest.raises(KekUnavailable, match="cannot be read"):
                key.describe()

    def test_versions_without_a_time_are_no_answer(self, around: Around) -> None:
        """Another engine is mounted there."""
        body = b'{"data":{"min_decryption_version":1,"latest_version":1,"keys":{"1":"x"}}}'
        token = secret(around, "token", "t")
        with fronting(lambda _: Response(200, body)) as front:
            key = VaultManagedKey(Vault(front.url, "k", token), 30)
            with pytest.raises(KekUnavailable, match="cannot be read"):
                key.describe()
