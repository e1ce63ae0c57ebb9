"""lego's httpreq protocol: what the endpoint is sent, in both of its modes."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from certrotd.dns.api import Reach
from certrotd.dns.records import TxtRecord
from certrotd.dns.webhook import Webhook
from certrotd.errors import InvalidInput, NeedsOperator
from tests.builders import soon
from tests.fakes.httpreq import HttpReq
from tests.fakes.provider_api import played
from tests.unit.notify.made import secret

KEY_AUTHORIZATION = (
    "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9"
)
VALUE = urlsafe_b64encode(hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()).decode().rstrip("=")


def test_the_default_mode_sends_name_and_value() -> None:
    """As lego's documentation has it: the name with a dot at its end."""
    there = HttpReq()
    with played(there.answer) as api:
        solver = Webhook(Reach("the webhook"), f"{api.url}/hook")
        record = TxtRecord("_acme-challenge.example.test", VALUE, KEY_AUTHORIZATION)
        solver.present(record, deadline=soon())
        solver.withdraw(record, deadline=soon())
        assert [each.path for each in api.asked] == ["/hook/present", "/hook/cleanup"]
        told = {"fqdn": "_acme-challenge.example.test.", "value": VALUE}
        assert [each.json for each in api.asked] == [told] * 2
        assert "authorization" not in api.asked[0].headers


def test_the_raw_mode_sends_the_challenge_itself() -> None:
    """The endpoint makes the record of it; after a crash it is told the same, by the journal."""
    there = HttpReq()
    with played(there.answer) as api:
        solver = Webhook(Reach("the webhook"), api.url, raw=True)
        record = TxtRecord("_acme-challenge.example.test", VALUE, KEY_AUTHORIZATION)
        solver.present(record, deadline=soon())
        assert there.values[record.name] == {VALUE}
        assert api.asked[0].json == {
            "domain": "example.test",
            "token": "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0",
            "keyAuth": KEY_AUTHORIZATION,
        }
        solver.withdraw(TxtRecord.from_json(record.to_json()), deadline=soon())
        assert there.values[record.name] == set()
        for other in (
            TxtRecord(record.name, VALUE),
            TxtRecord("elsewhere.test", VALUE, KEY_AUTHORIZATION),
        ):
            with pytest.raises(NeedsOperator, match="mode raw"):
                solver.present(other, deadline=soon())


def test_a_key_authorization_is_none_of_another_form() -> None:
    """The CA chooses the token: it ends up in the endpoint's hands."""
    for text in ("../../x.y", "a.b; reboot", "a.b\n", "a", f"{'a' * 500}.b"):
        with pytest.raises(InvalidInput):
            TxtRecord("_acme-challenge.example.test", VALUE, text)
    with_it = TxtRecord("_acme-challenge.example.test", VALUE, KEY_AUTHORIZATION)
    assert with_it == TxtRecord(with_it.name, VALUE)  # the same record, whatever is known of it


def test_a_user_name_that_is_wrong_is_told(tmp_path: Path) -> None:
    """The endpoint's words are shown, the password is not."""
    there = HttpReq(login=("certrotd", "right"))
    login = secret(tmp_path / "user", "certrotd"), secret(tmp_path / "password", "wrong-one")
    with played(there.answer) as api:
        solver = Webhook(Reach("the webhook"), api.url, login=login)
        with pytest.raises(NeedsOperator, match="who are you") as caught:
            solver.present(TxtRecord("_acme-challenge.example.test", VALUE), deadline=soon())
    assert "wrong-one" not in str(caught.value)
