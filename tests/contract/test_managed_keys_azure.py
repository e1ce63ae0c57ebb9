"""What is Azure's own of keys that never leave it: policies, and lists in pages."""

from __future__ import annotations

import json

import pytest

from certrotd.kek.port import KekUnavailable
from tests.contract.kek_rigs import Around
from tests.contract.managed_key_rigs import DAY, Rig, azure
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Response


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
