"""What is AWS's own of keys that never leave it: periods, limits, and ids of key material."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from certrotd.kek.managed.port import RotationsUsedUp
from certrotd.kek.port import KekUnavailable
from tests.contract.kek_rigs import Around, aws_error
from tests.contract.managed_key_rigs import DAY, USED, Rig, aws
from tests.parts.front import Request, Response
from tests.parts.key_services import Moto


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
