"""What every key promises that never leaves its service, and what is each service's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.config.keks import KekEntry
from certrotd.errors import Failure, InvalidInput, Transient
from certrotd.kek.managed.aws_kms import AwsManagedKey
from certrotd.kek.managed.azure_keyvault import AzureManagedKey
from certrotd.kek.managed.build import managed_key_of
from certrotd.kek.managed.port import ManagedKey, Retires
from certrotd.kek.managed.vault import VaultManagedKey
from certrotd.kek.port import Denied, KekUnavailable
from tests.contract.kek_rigs import Around
from tests.contract.managed_key_rigs import DAY, Rig, aws, azure, vault
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Request, Response


@pytest.fixture(params=["aws-kms", "vault", "azure-keyvault"])
def rig(request: pytest.FixtureRequest, around: Around) -> Rig:
    match request.param:
        case "aws-kms":
            return aws(around, request.getfixturevalue("moto"))
        case "vault":
            return vault(around, request.getfixturevalue("transit"))
        case _:
            return azure(around, AzureVault())


ACTS: dict[str, Callable[[ManagedKey], object]] = {
    "describe": lambda key: key.describe(),
    "rotate": lambda key: key.rotate("1"),
    "period": lambda key: key.set_period(90 * DAY),
}


class TestManagedKeys:
    def test_a_new_key_has_one_version(self, rig: Rig) -> None:
        """Nobody has rotated it, and nothing will."""
        state = rig.key.describe()
        assert len(state.versions) == 1
        assert state.present.decrypts
        assert state.present.created is not None
        assert state.present.created.tzinfo is not None
        assert (state.last_rotation, state.period, state.rotating) == (None, None, False)
        assert state.oldest_decrypting is state.present
        assert isinstance(rig.key, Retires) is (state.min_decryption_version is not None)
        assert state.type
        assert state.place

    def test_a_rotation_adds_a_version(self, rig: Rig) -> None:
        """What the one before has wrapped is still unwrapped."""
        wrapped, before = rig.kek.wrap(b"key", {}), rig.key.describe()
        rig.key.rotate(before.present.id)
        after = rig.key.describe()
        assert [each.id for each in after.versions] == [before.present.id, after.present.id]
        assert after.last_rotation is not None
        assert datetime.now(UTC) - after.last_rotation < timedelta(days=365)
        assert rig.kek.unwrap(wrapped, {}) == b"key"

    def test_a_rotation_that_somebody_has_done_is_not_done_again(self, rig: Rig) -> None:
        """A step that is repeated after a crash; AWS counts them."""
        before = rig.key.describe()
        rig.key.rotate(before.present.id)
        rig.key.rotate(before.present.id)
        assert len(rig.key.describe().versions) == 2

    def test_a_rotation_whose_answer_is_lost_is_asked_for_once(self, rig: Rig) -> None:
        """It may have been done; the next look tells."""
        before = rig.key.describe()
        upstream = rig.front.service

        def lost(request: Request) -> Response | None:
            target = request.headers.get("x-amz-target", "")
            if "/rotate" not in request.path and "RotateKeyOnDemand" not in target:
                return None
            upstream(request)
            return Response(500, b"{}")

        rig.front.instead = lost
        with pytest.raises(KekUnavailable):
            rig.key.rotate(before.present.id)
        rig.front.instead = lambda _: None
        assert len(rig.key.describe().versions) == 2
        rig.key.rotate(before.present.id)
        assert len(rig.key.describe().versions) == 2

    def test_a_period_is_set_and_taken_back(self, rig: Rig) -> None:
        """In whole days."""
        for period in (90 * DAY, 180 * DAY, None, None):
            rig.key.set_period(period)
            assert rig.key.describe().period == period

    @pytest.mark.parametrize("period", [timedelta(hours=36), 100_000 * DAY], ids=["part", "long"])
    def test_a_period_that_the_service_does_not_take_is_refused(
        self, rig: Rig, period: timedelta
    ) -> None:
        """Before it is asked, in words that say what it takes."""
        with pytest.raises(InvalidInput, match="cannot be rotated every") as refused:
            rig.key.set_period(period)
        assert "whole days" in refused.value.hint
        assert rig.front.got == []

    @pytest.mark.parametrize("act", ACTS)
    @pytest.mark.parametrize("trouble", ["down", "truncated", "throttled", "slow", "denied"])
    def test_a_key_in_trouble_says_who_can_help(self, rig: Rig, trouble: str, act: str) -> None:
        """As KEKs do, for they are asked the same way."""
        match trouble:
            case "down":
                rig.front.down = True
            case "truncated":
                rig.front.cuts = True
            case "slow":
                rig.front.hangs = True
                object.__setattr__(rig.key, "timeout", 0.4)
            case "throttled":
                rig.front.always(rig.throttled)
            case _:
                rig.front.always(rig.denied)
        kind: type[Failure] = Denied if trouble == "denied" else KekUnavailable
        with pytest.raises(kind) as refused:
            ACTS[act](rig.key)
        if trouble == "throttled":
            assert isinstance(refused.value, Transient)
            assert refused.value.retry_after == timedelta(seconds=7)

    def test_an_answer_without_sense_passes(self, rig: Rig) -> None:
        """A proxy's, or that of another version of the service."""
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        rig.front.always(Response(200, b'{"data":{},"KeyMetadata":{}}', headers))
        with pytest.raises(KekUnavailable):
            rig.key.describe()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"type": "aws-kms", "key": "alias/x"}, AwsManagedKey),
        (
            {"type": "vault", "address": "https://v", "key": "k", "token": {"env": "T"}},
            VaultManagedKey,
        ),
        (
            {"type": "azure-keyvault", "vault": "https://v.vault.azure.net", "key": "k"},
            AzureManagedKey,
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_managed_key_has_the_entry_of_a_kek(given: dict[str, Any], kind: type[Any]) -> None:
    """The services and their logins are the same."""
    entry: Any = TypeAdapter(KekEntry).validate_python({**given, "timeout": "3s"})
    key: Any = managed_key_of("main", entry)
    assert isinstance(key, kind)
    assert key.timeout == 3.0
