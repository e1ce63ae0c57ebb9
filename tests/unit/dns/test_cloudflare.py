"""Zones and records of Cloudflare, as its documentation describes them: which one is meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certrotd.clock import Deadline
from certrotd.dns.api import Reach
from certrotd.dns.cloudflare import Cloudflare
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.errors import NeedsOperator, Transient
from tests.builders import soon
from tests.fakes.cloudflare import Cloudflare as PlayedCloudflare
from tests.fakes.cloudflare import refusal
from tests.fakes.provider_api import Asked, PlayedApi, Reply, played
from tests.unit.notify.made import secret

RECORD = TxtRecord("_acme-challenge.example.test", "value")


@pytest.fixture
def there() -> PlayedCloudflare:
    return PlayedCloudflare()


@pytest.fixture
def api(there: PlayedCloudflare) -> Iterator[PlayedApi]:
    with played(there.answer) as started:
        yield started


def zone_of(_name: str, _deadline: Deadline) -> str:
    return "example.test"


def solver(api: PlayedApi, directory: Path, zone_id: str | None = None) -> Cloudflare:
    token = secret(directory / "token", "a-scoped-token")
    return Cloudflare(Reach("Cloudflare"), api.url, token=token, zone_of=zone_of, zone_id=zone_id)


def test_the_zone_is_found_among_a_hundred(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """By its name; and where an API in between ignores that, on whichever page it is."""
    for n in range(120):
        there.add_zone(f"zone{n}.test")
    wanted = there.add_zone("example.test")

    def unfiltered(asked: Asked) -> Reply:
        query = {key: value for key, value in asked.query.items() if key != "name"}
        return there.answer(Asked(asked.method, asked.path, query, asked.headers, asked.body))

    solver(api, tmp_path).present(RECORD, deadline=soon())
    assert len(api.asked) == 2
    api.instead = unfiltered
    solver(api, tmp_path).present(TxtRecord(RECORD.name, "other"), deadline=soon())
    assert [each["name"] for each in there.records[wanted].values()] == [RECORD.name] * 2


def test_a_value_is_deleted_from_whichever_page_it_is_on(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Years of leftovers at one name."""
    there.add_zone("example.test")
    own = solver(api, tmp_path)
    for n in range(60):
        own.present(TxtRecord(RECORD.name, f"leftover-{n}"), deadline=soon())
    own.present(RECORD, deadline=soon())
    own.withdraw(RECORD, deadline=soon())
    assert there.txt(RECORD.name) == {f"leftover-{n}" for n in range(60)}


def test_of_two_zones_the_active_one_is_meant(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """A domain that moved between accounts; two that are active are for the operator."""
    there.add_zone("example.test", "moved")
    active = there.add_zone("example.test")
    solver(api, tmp_path).present(RECORD, deadline=soon())
    assert there.records[active]
    other = there.add_zone("example.test")
    with pytest.raises(Unpublished, match="2 zones") as caught:
        solver(api, tmp_path).covers(RECORD.name, deadline=soon())
    assert active in caught.value.message
    assert "zone_id" in caught.value.hint
    solver(api, tmp_path, other).present(RECORD, deadline=soon())
    assert there.records[other]


def test_a_name_outside_of_the_zone_of_zone_id_is_refused(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Before an order is spent; with a token that lacks Zone:Read nobody can tell."""
    own = solver(api, tmp_path, there.add_zone("example.test"))
    other = TxtRecord("_acme-challenge.notexample.test", "value")
    own.covers(RECORD.name, deadline=soon())
    with pytest.raises(Unpublished, match=r"is not in the zone example\.test of Cloudflare"):
        own.covers(other.name, deadline=soon())
    with pytest.raises(Unpublished, match=r"is not in the zone example\.test of Cloudflare"):
        own.present(other, deadline=soon())
    assert there.txt(other.name) == set()
    there.reads_zones = False
    solver(api, tmp_path, own._zone_id).covers(other.name, deadline=soon())


def test_a_token_for_another_account_finds_no_zone(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """It is valid, and its list of zones is empty: that is no success."""
    there.add_zone("of-another-account.test")
    own = solver(api, tmp_path)
    own.preflight(deadline=soon(), dry=True)
    with pytest.raises(Unpublished, match=r"has no zone example\.test") as caught:
        own.present(RECORD, deadline=soon())
    assert "another account" in caught.value.hint


def test_a_malformed_token_is_a_matter_of_credentials(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Cloudflare answers 400 to it."""
    api.instead = lambda _: refusal(400, 6003, "Invalid request headers")
    with pytest.raises(Unpublished, match="refuses the credentials") as caught:
        solver(api, tmp_path).preflight(deadline=soon())
    assert "API token" in caught.value.hint


def test_an_error_of_the_token_is_shown_without_it(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Some gateways say back what they were told, at length, or leave out the words."""
    api.instead = lambda _: refusal(400, 9109, "no a-scoped-token " + "x" * 5000)
    with pytest.raises(Unpublished, match="refuses the credentials: no ") as caught:
        solver(api, tmp_path).preflight(deadline=soon())
    assert "a-scoped-token" not in str(caught.value)
    assert len(caught.value.message) < 500
    api.instead = lambda _: Reply(400, {"errors": [{"code": 9109}]})
    with pytest.raises(Unpublished, match="refuses the credentials"):
        solver(api, tmp_path).preflight(deadline=soon())


def test_an_answer_that_says_it_is_no_success_is_none(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Else an order would wait for a record that nobody made."""
    there.add_zone("example.test")

    def answer(asked: Asked) -> Reply:
        found = there.answer(asked)
        return found if asked.method == "GET" else Reply(200, {**found.body, "success": False})

    api.instead = answer
    with pytest.raises(Transient, match="cannot be read"):
        solver(api, tmp_path).present(RECORD, deadline=soon())


def test_an_id_that_is_none_becomes_no_part_of_a_url(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Ids come from the answer, and go into the path of a request that deletes."""
    bad = {"id": "../../user/tokens", "name": "example.test", "status": "active"}
    api.instead = lambda _: Reply(200, {"result": [bad], "result_info": {"total_pages": 1}})
    with pytest.raises(Transient, match="cannot be read"):
        solver(api, tmp_path).withdraw(RECORD, deadline=soon())
    assert len(api.asked) == 1


def test_a_list_without_an_end_is_given_up(
    there: PlayedCloudflare, api: PlayedApi, tmp_path: Path
) -> None:
    """Each page says that there is one more."""
    api.instead = lambda _: Reply(200, {"result": [], "result_info": {"total_pages": 10**9}})
    with pytest.raises(NeedsOperator, match="more than 50 pages"):
        solver(api, tmp_path).covers(RECORD.name, deadline=soon())
