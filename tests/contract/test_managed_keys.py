"""What every key promises that never leaves its service, and what is each service's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.clock import ManualClock
from certrotd.config.keks import KekEntry
from certrotd.errors import Failure, InvalidInput, Transient
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.managed.aws_kms import AwsManagedKey
from certrotd.kek.managed.azure_keyvault import AzureManagedKey
from certrotd.kek.managed.build import managed_key_of
from certrotd.kek.managed.port import ManagedKey, Retires, RotationsUsedUp
from certrotd.kek.managed.vault import VaultManagedKey
from certrotd.kek.port import Denied, Disabled, KekUnavailable, Unfit
from certrotd.kek.service import ServiceKek
from certrotd.kek.vault import Vault
from certrotd.lifecycle.decision import Asked
from certrotd.managed_keys.retention import Retention
from certrotd.rotation.engine import Finished, RolledBack
from tests.contract.kek_rigs import Around, EntraToken, aws_error, certified, secret
from tests.fakes.managed_keys import POLICY, Bench
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Front, Request, Response, fronting, passed_on
from tests.parts.key_services import Moto, Transit

DAY = timedelta(days=1)
USED = 1_790_000_000.0
CONFIG = "min_decryption_version"


@dataclass(frozen=True)
class Rig:
    """A key behind a front; ``kek`` wraps by the same key; ``denied`` is what forbids all."""

    key: Any
    kek: ServiceKek
    front: Front
    denied: Response
    throttled: Response

    def asked(self, *parts: str) -> int:
        """How many requests had all of these in their method, path or target."""
        texts = [
            f"{each.method} {each.path} {each.headers.get('x-amz-target', '')}"
            for each in self.front.got
        ]
        return sum(all(part in text for part in parts) for text in texts)


class MotoFront:
    """moto, and the two answers that it does not give: the period, and the last use of a key."""

    def __init__(self, moto: Moto) -> None:
        self._ask = passed_on(moto.url)
        self._days: Any = None

    def __call__(self, request: Request) -> Response:
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if operation == "GetKeyLastUsage":
            usage = {"Operation": "Encrypt", "Timestamp": USED}
            return self._json({"KeyLastUsage": usage})
        if operation == "EnableKeyRotation":
            self._days = json.loads(request.body).get("RotationPeriodInDays")
        answer = self._ask(request)
        if operation == "GetKeyRotationStatus" and self._days and answer.status == 200:
            return self._json({**json.loads(answer.body), "RotationPeriodInDays": self._days})
        return answer

    def _json(self, content: Mapping[str, Any]) -> Response:
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        return Response(200, json.dumps(content).encode(), headers)


def aws(around: Around, moto: Moto) -> Rig:
    around.monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    around.monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    front = around.stack.enter_context(fronting(MotoFront(moto)))
    alias = f"alias/k{time.monotonic_ns()}"
    key_id = moto.ask("create_key")["KeyMetadata"]["KeyId"]
    moto.ask("create_alias", AliasName=alias, TargetKeyId=key_id)
    service = AwsKms(alias, moto.REGION, front.url, None, 30)
    busy = aws_error("ThrottlingException", wait="7")
    denied = aws_error("AccessDeniedException")
    return Rig(AwsManagedKey(service, 30), ServiceKek(service, 30), front, denied, busy)


def vault(around: Around, transit: Transit) -> Rig:
    front = around.stack.enter_context(fronting(passed_on(transit.url)))
    name = f"managed-{time.monotonic_ns()}"
    transit.ask("POST", f"keys/{name}", type="aes256-gcm96")
    service = Vault(front.url, name, secret(around, "token", transit.token))
    denied = Response(403, b'{"errors":["permission denied"]}')
    busy = Response(429, b'{"errors":["rate limit"]}', {"Retry-After": "7"})
    return Rig(VaultManagedKey(service, 30), ServiceKek(service, 30), front, denied, busy)


def azure(around: Around, service: AzureVault) -> Rig:
    ca_file, pair = certified(around)
    front = around.stack.enter_context(fronting(service, pair))
    service.url = front.url
    service.make_key("managed")
    options = {"verify_challenge_resource": False, "connection_verify": str(ca_file)}
    keeper = AzureKeyVault(front.url, "managed", login=EntraToken, options=options)
    denied = Response(403, b'{"error":{"code":"Forbidden"}}')
    busy = Response(429, b'{"error":{"code":"Throttled"}}', {"Retry-After": "7"})
    return Rig(AzureManagedKey(keeper, 30), ServiceKek(keeper, 30), front, denied, busy)


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


class TestAws:
    @pytest.fixture
    def rig(self, around: Around, moto: Moto) -> Rig:
        return aws(around, moto)

    def test_the_25th_rotation_on_demand_is_the_last(self, rig: Rig) -> None:
        """certrotd counts down, and does not ask for the 26th."""
        for left in range(25, 0, -1):
            state = rig.key.describe()
            assert state.rotations_left == left
            rig.key.rotate(state.present.id)
        state = rig.key.describe()
        assert state.rotations_left == 0
        asked = rig.asked("RotateKeyOnDemand")
        with pytest.raises(RotationsUsedUp):
            rig.key.rotate(state.present.id)
        assert rig.asked("RotateKeyOnDemand") == asked == 25

    def test_a_limit_that_aws_counts_otherwise_is_believed(self, rig: Rig) -> None:
        """The list of rotations may be shorter than their count."""
        present = rig.key.describe().present.id
        rig.front.instead = lambda each: (
            aws_error("LimitExceededException")
            if "RotateKeyOnDemand" in each.headers["x-amz-target"]
            else None
        )
        with pytest.raises(RotationsUsedUp):
            rig.key.rotate(present)

    def test_a_rotation_under_way_is_not_joined_by_another(self, rig: Rig) -> None:
        """AWS takes a while for it."""
        upstream = rig.front.service

        def under_way(request: Request) -> Response | None:
            if "GetKeyRotationStatus" not in request.headers["x-amz-target"]:
                return None
            answer = upstream(request)
            body = {**json.loads(answer.body), "OnDemandRotationStartDate": USED}
            return Response(200, json.dumps(body).encode(), answer.headers)

        rig.front.instead = under_way
        state = rig.key.describe()
        assert state.rotating
        rig.key.rotate(state.present.id)
        assert rig.asked("RotateKeyOnDemand") == 0

    def test_the_last_use_is_told_where_it_is_known(self, rig: Rig) -> None:
        """Evidence before a key is deleted; not every role may see it."""
        assert rig.key.describe().last_use == datetime.fromtimestamp(USED, UTC)
        for code in ("AccessDeniedException", "UnknownOperationException"):
            rig.front.instead = lambda each, code=code: (  # type: ignore[misc]
                aws_error(code) if "GetKeyLastUsage" in each.headers["x-amz-target"] else None
            )
            assert rig.key.describe().last_use is None

    def test_a_key_that_was_never_used_has_no_last_use(self, rig: Rig) -> None:
        """AWS then answers without one."""
        empty = Response(200, b"{}", {"Content-Type": "application/x-amz-json-1.1"})
        rig.front.instead = lambda each: (
            empty if "GetKeyLastUsage" in each.headers["x-amz-target"] else None
        )
        assert rig.key.describe().last_use is None

    def test_aws_rotates_every_year_unless_told_otherwise(self, rig: Rig, moto: Moto) -> None:
        """The status says no period then."""
        found = moto.ask("describe_key", KeyId=rig.key.service.key)["KeyMetadata"]
        moto.ask("enable_key_rotation", KeyId=found["KeyId"])
        assert rig.key.describe().period == 365 * DAY

    def test_ids_of_key_material_are_those_of_versions(self, rig: Rig) -> None:
        """moto knows none yet; pages of rotations are followed to their end."""
        pages = {
            "": {"Truncated": True, "NextMarker": "more", "Rotations": [rotation("b", 2)]},
            "more": {"Truncated": False, "Rotations": [rotation("a", 1)]},
        }

        def listed(request: Request) -> Response | None:
            if "ListKeyRotations" not in request.headers["x-amz-target"]:
                return None
            page = pages[json.loads(request.body).get("Marker", "")]
            headers = {"Content-Type": "application/x-amz-json-1.1"}
            return Response(200, json.dumps(page).encode(), headers)

        rig.front.instead = listed
        state = rig.key.describe()
        assert [each.id for each in state.versions] == ["0", "a", "b"]
        assert state.last_rotation == datetime.fromtimestamp(USED + 2, UTC)
        pages["more"] = pages[""]
        with pytest.raises(KekUnavailable, match="without an end"):
            rig.key.describe()


def rotation(material: str, seconds: int) -> dict[str, Any]:
    return {"KeyMaterialId": material, "RotationDate": USED + seconds, "RotationType": "AUTOMATIC"}


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


class TestAzure:
    @pytest.fixture
    def vault(self) -> AzureVault:
        return AzureVault()

    @pytest.fixture
    def rig(self, around: Around, vault: AzureVault) -> Rig:
        return azure(around, vault)

    def test_notices_and_the_expiry_of_a_policy_stay(self, rig: Rig, vault: AzureVault) -> None:
        """Somebody else wrote them there."""
        notify = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}
        rotate = {"trigger": {"timeBeforeExpiry": "P1M"}, "action": {"type": "rotate"}}
        expiry = {"expiryTime": "P1Y6M"}
        policy = {"lifetimeActions": [notify, rotate], "attributes": expiry}
        vault.policies["managed"] = policy
        assert rig.key.describe().period == (365 + 180 - 30) * DAY
        rig.key.set_period(90 * DAY)
        after = vault.policies["managed"]
        assert after["attributes"] == expiry
        assert after["lifetimeActions"] == [
            notify,
            {"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}},
        ]

    @pytest.mark.parametrize("text", ["P", "PT1H", "90D", "P1.5D", ""])
    def test_a_policy_in_another_form_is_no_answer(
        self, rig: Rig, vault: AzureVault, text: str
    ) -> None:
        """Rather than a period that is guessed."""
        rotate = {"trigger": {"timeBeforeExpiry": text}, "action": {"type": "Rotate"}}
        attributes = {"expiryTime": "P1Y"}
        vault.policies["managed"] = {"lifetimeActions": [rotate], "attributes": attributes}
        with pytest.raises(KekUnavailable, match="cannot be read"):
            rig.key.describe()

    @pytest.mark.parametrize(
        "link", ["https://evil.example/keys/managed/versions?x", "/keys/other/versions?", "x"]
    )
    def test_a_link_that_leads_elsewhere_is_not_followed(self, rig: Rig, link: str) -> None:
        """The token would be sent there."""
        rig.key.describe()  # the token is known by now
        page = json.dumps({"value": [], "nextLink": link}).encode()
        headers = {"Content-Type": "application/json"}
        rig.front.instead = lambda each: (
            Response(200, page, headers) if "/versions" in each.path else None
        )
        with pytest.raises(KekUnavailable, match="leads elsewhere"):
            rig.key.describe()

    def test_a_list_without_the_present_version_is_no_answer(self, rig: Rig) -> None:
        """A rotation came between the two questions, perhaps."""
        page = Response(200, b'{"value": []}', {"Content-Type": "application/json"})
        rig.front.instead = lambda each: page if "/versions" in each.path else None
        with pytest.raises(KekUnavailable, match="does not list its present version"):
            rig.key.describe()

    def test_pages_without_an_end_are_not_followed(self, rig: Rig) -> None:
        """The service, or who answers for it, is broken."""
        link = f"{rig.front.url}/keys/managed/versions?api-version=7.4&$skiptoken=1"
        page = json.dumps({"value": [], "nextLink": link}).encode()
        headers = {"Content-Type": "application/json"}
        rig.front.instead = lambda each: (
            Response(200, page, headers) if "/versions" in each.path else None
        )
        with pytest.raises(KekUnavailable, match="without an end"):
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
