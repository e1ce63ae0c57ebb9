"""Route 53 by boto3: where it is asked, with whose credentials, and what its answers mean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline
from certrotd.dns.api import Reach
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.dns.route53 import Route53
from certrotd.errors import NeedsOperator, Transient
from tests.builders import soon
from tests.fakes.provider_api import Asked, PlayedApi, Reply, played
from tests.unit.notify.made import secret

RECORD = TxtRecord("_acme-challenge.example.test", "value")
XML = {"Content-Type": "text/xml"}
_LIST = """<?xml version="1.0"?><ListResourceRecordSetsResponse
 xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets><ResourceRecordSet>
<Name>_acme-challenge.example.test.</Name><Type>TXT</Type>{more}<TTL>60</TTL><ResourceRecords>
<ResourceRecord><Value>"value"</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>
</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>1</MaxItems>
</ListResourceRecordSetsResponse>"""


def zone_of(_name: str, _deadline: Deadline) -> str:
    return "example.test"


def solver(directory: Path, url: str | None, **changes: Any) -> Route53:
    """One with keys of its own."""
    keys = secret(directory / "id", "AKIAEXAMPLE"), secret(directory / "key", "s3cret"), None
    settings = {"credentials": keys, "zone_id": "Z1", **changes}
    return Route53(Reach("Route 53"), zone_of=zone_of, endpoint=url, **settings)


@pytest.fixture(autouse=True)
def no_aws_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the machine has of AWS does not matter."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture
def there() -> Iterator[PlayedApi]:
    with played(lambda _: Reply()) as api:
        yield api


def error(status: int, code: str, message: str = "no") -> Reply:
    """As Route 53 words it."""
    body = (
        f"<?xml version='1.0'?><ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
        f"<Message>{message}</Message></Error></ErrorResponse>"
    )
    return Reply(status, body.encode(), XML)


def test_the_environment_does_not_say_where_aws_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the credentials would go to whoever is named there."""
    asked = []

    def send(_self: object, _method: str, url: str, **_: object) -> None:
        asked.append(url)
        raise Transient("not sent")

    monkeypatch.setattr("certrotd.dns.api.Requests.send", send)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_ROUTE_53", "http://192.0.2.1")
    with pytest.raises(Transient, match="not sent"):
        solver(tmp_path, None).present(RECORD, deadline=soon())
    [url] = asked
    assert url.startswith("https://route53.amazonaws.com/2013-04-01/hostedzone/Z1/rrset?")


def test_missing_credentials_and_libraries_are_told(
    there: PlayedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before an order is spent."""
    with pytest.raises(NeedsOperator, match="has no credentials"):
        solver(tmp_path, there.url, credentials=None).preflight(deadline=soon())
    other = solver(tmp_path, there.url, credentials=None, profile="nosuchprofile")
    with pytest.raises(NeedsOperator, match="nosuchprofile"):
        other.preflight(deadline=soon())
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(NeedsOperator, match="boto3, which is not installed") as caught:
        solver(tmp_path, there.url).preflight(deadline=soon())
    assert "[aws]" in caught.value.hint
    assert there.asked == []


def test_an_instance_s_credentials_have_a_deadline(
    there: PlayedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They come from a service of the cloud, which may hang; boto3 has no deadline for that."""
    own = Route53(Reach("Route 53", timeout=0.3), zone_of=zone_of, endpoint=there.url, zone_id="Z1")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{there.url}/credentials")
    there.instead = lambda _: Reply(200, b" " * 1000, drip=0.1)
    with pytest.raises(Transient, match="credentials"):
        own.preflight(deadline=soon())
    assert [each.path for each in there.asked] == ["/credentials"]


def test_credentials_that_hang_for_one_certificate_hold_up_the_others_for_a_while_only(
    there: PlayedApi, tmp_path: Path
) -> None:
    """All of them fail when the one does, rather than one after the other."""
    own = solver(tmp_path, there.url)
    with own._making, pytest.raises(Transient, match="has not answered others"):  # another's thread
        own.preflight(deadline=soon(0.2))
    own.preflight(deadline=soon())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "ServiceUnavailable", Transient),
        (403, "AccessDenied", Unpublished),
        (400, "ExpiredToken", Unpublished),
        (404, "NoSuchHostedZone", Unpublished),
        (400, "InvalidInput", Unpublished),
    ],
)
def test_an_error_of_the_service_says_who_acts(
    status: int, code: str, kind: type[Exception], there: PlayedApi, tmp_path: Path
) -> None:
    """Most of its errors have the status 400."""
    there.instead = lambda _: error(status, code)
    with pytest.raises(kind) as caught:
        solver(tmp_path, there.url).present(RECORD, deadline=soon())
    if code == "AccessDenied":
        assert "route53:ListResourceRecordSets" in str(caught.value)
    assert len(there.asked) == 1


@pytest.mark.parametrize("code", ["Throttling", "PriorRequestNotComplete"])
def test_an_account_that_asks_too_much_is_asked_again(
    code: str, there: PlayedApi, tmp_path: Path
) -> None:
    """All certificates of an account share five requests a second; at the deadline it is said."""
    busy = 2

    def answer(asked: Asked) -> Reply:
        if len(there.asked) <= busy:
            return error(400, code, "Rate exceeded")
        return Reply(200, _LIST.format(more="").encode(), XML)

    there.instead = answer
    own = solver(tmp_path, there.url, pause=0.01)
    own.present(RECORD, deadline=soon())
    assert len(there.asked) == 3
    busy = 1000
    with pytest.raises(Transient, match="Rate exceeded"):
        own.present(RECORD, deadline=soon(2))
    assert len(there.asked) > 4


def test_records_that_changed_meanwhile_are_not_deleted(there: PlayedApi, tmp_path: Path) -> None:
    """Route 53 refuses to delete what is not there in this form: the next try reads it again."""

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply(200, _LIST.format(more="").encode(), XML)
        assert b"<Action>DELETE</Action>" in asked.body
        return error(400, "InvalidChangeBatch", "but the values provided do not match")

    there.instead = answer
    with pytest.raises(Transient, match="changed meanwhile"):
        solver(tmp_path, there.url).withdraw(RECORD, deadline=soon())


def test_records_with_a_routing_policy_are_left_alone(there: PlayedApi, tmp_path: Path) -> None:
    """They are several sets of one name, and somebody's intention."""
    text = _LIST.format(more="<SetIdentifier>eu</SetIdentifier><Weight>1</Weight>")
    there.instead = lambda _: Reply(200, text.encode(), XML)
    with pytest.raises(Unpublished, match="routing policy"):
        solver(tmp_path, there.url).present(RECORD, deadline=soon())
    assert [each.method for each in there.asked] == ["GET"]
