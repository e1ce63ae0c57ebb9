"""Managed keys by the real command line and daemon, at the real transit engine and at moto."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.contract.managed_key_rigs import MotoFront
from tests.integration.daemon import running
from tests.integration.test_http import get, listen, ready
from tests.parts import Parts
from tests.parts.front import Front, fronting
from tests.parts.key_services import Moto, Transit
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.integration
NAME = "managed-key/orders"


@pytest.fixture(scope="module")
def transit(module_parts: Parts) -> Transit:
    return module_parts.start(Transit)


@pytest.fixture(scope="module")
def moto(module_parts: Parts) -> Moto:
    return module_parts.start(Moto)


class Keeper:
    """A site with one managed key, which the transit engine keeps."""

    def __init__(self, site: Site, transit: Transit) -> None:
        self.site, self.transit = site, transit
        self.key = f"orders-{time.monotonic_ns()}"
        transit.ask("POST", f"keys/{self.key}", type="aes256-gcm96")
        token = site.directory / "token"
        token.write_text(f"{transit.token}\n")
        token.chmod(0o600)
        site.config["keks"] = {
            "transit": {
                "type": "vault",
                "address": transit.url,
                "key": self.key,
                "token": {"file": str(token)},
            }
        }
        self.entry: dict[str, Any] = {"kek": "transit", "purpose": "orders"}
        site.config["managed_keys"] = {"orders": self.entry}

    @property
    def versions(self) -> int:
        """How many the engine has."""
        return int(self.transit.ask("GET", f"keys/{self.key}")["latest_version"])

    def row(self) -> dict[str, Any]:
        """What certrotd shows."""
        run = self.site.run("status", "--json", NAME)
        assert run.code == 0, run.stderr
        return run.row("orders")


@pytest.fixture
def keeper(site: Site, transit: Transit) -> Keeper:
    return Keeper(site, transit)


def test_a_key_of_the_transit_engine_is_rotated_by_the_command_line(keeper: Keeper) -> None:
    """Seen, rotated on demand, listed, and in the history and the audit log."""
    site = keeper.site
    row = keeper.row()
    assert (row["state"], row["reason_code"], row["present"]) == ("due", "unknown", None)
    plan = site.run("plan", NAME)
    assert plan.code == 0, plan.stderr
    assert "its service was never asked" in plan.stdout
    dry = site.run("rotate", "--dry-run", NAME)
    assert dry.code == 0, dry.stdout + dry.stderr
    assert keeper.row()["present"] is None
    assert site.run("rotate", NAME).code == 0
    row = keeper.row()
    assert (row["state"], row["reason_code"], row["present"]) == ("ok", "not_due", "1")
    ran = site.run("rotate", NAME, "--force")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert keeper.versions == 2
    row = keeper.row()
    assert (row["present"], [each["id"] for each in row["versions"]]) == ("2", ["1", "2"])
    history = site.run("history", NAME)
    assert history.code == 0
    assert "forced by hand" in history.stdout
    shown = site.run("audit", "show", NAME, "--json")
    assert shown.code == 0, shown.stderr
    assert "rotation.finished" in shown.stdout
    explained = site.run("plan", "--explain", NAME)
    assert "not_due" in explained.stdout


def test_a_key_is_rotated_when_its_cryptoperiod_nears_its_end(keeper: Keeper) -> None:
    """By a timer that asks for everything."""
    keeper.entry["cryptoperiod"] = "2s"
    time.sleep(2)
    ran = keeper.site.run("rotate", "--all")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert keeper.versions == 2


def test_an_old_version_is_retired_and_given_back(keeper: Keeper) -> None:
    """By a timer; what it encrypted opens again once a person lowers the number, and only then."""
    site, path = keeper.site, f"keys/{keeper.key}"
    old = keeper.transit.ask("POST", f"encrypt/{keeper.key}", plaintext="b2xk")["ciphertext"]
    keeper.entry |= {"keep_versions": 1, "retire_after": "3s"}

    def opens() -> bool:
        try:
            found = keeper.transit.ask("POST", f"decrypt/{keeper.key}", ciphertext=old)
        except AssertionError:
            return False
        return bool(found["plaintext"] == "b2xk")

    assert site.run("rotate", NAME, "--force").code == 0
    time.sleep(3)
    assert opens()
    explained = site.run("plan", "--explain", NAME)
    assert "raises min_decryption_version from 1 to 2" in explained.stdout
    ran = site.run("rotate", "--all")
    assert ran.code == 0, ran.stdout + ran.stderr
    row = keeper.row()
    assert (row["min_decryption_version"], row["min_available_version"]) == (2, 1)
    assert [each["decrypts"] for each in row["versions"]] == [False, True]
    assert not opens()
    shown = site.run("audit", "show", NAME, "--json")
    assert "raises min_decryption_version from 1 to 2" in shown.stdout
    assert "raises min_decryption_version" in site.run("history", NAME).stdout
    keeper.transit.ask("POST", f"{path}/config", min_decryption_version=1)
    watched = site.run("watch", "--json", NAME)
    assert watched.code == 1
    assert "decryption_lowered" in json.dumps(watched.json)
    assert site.run("rotate", "--all").code == 0
    assert keeper.row()["reason_code"] == "lowered"
    assert opens()
    assert site.run("rotate", NAME).code == 0
    assert not opens()


def test_a_version_that_somebody_else_withholds_too_soon_is_found(keeper: Keeper) -> None:
    """And nothing is done about it: they had a reason."""
    site = keeper.site
    keeper.entry |= {"keep_versions": 1, "retire_after": "90d"}
    assert site.run("rotate", NAME, "--force").code == 0
    assert site.run("rotate", "--all").code == 0
    assert site.run("watch", NAME).code == 0
    assert keeper.row()["min_decryption_version"] == 1
    keeper.transit.ask("POST", f"keys/{keeper.key}/config", min_decryption_version=2)
    watched = site.run("watch", "--json", NAME)
    assert watched.code == 1
    assert "version_withheld" in json.dumps(watched.json)
    assert site.run("rotate", "--all").code == 0
    assert keeper.row()["min_decryption_version"] == 2


def test_a_listing_asks_no_service(keeper: Keeper) -> None:
    """And a rotation of a service that is away fails, and says why."""
    site = keeper.site
    assert site.run("rotate", NAME).code == 0
    site.config["keks"]["transit"]["address"] = "http://127.0.0.1:9"
    row = keeper.row()
    assert row["reason_code"] == "unknown"
    assert "another key" in row["reason"]
    ran = site.run("rotate", NAME, "--force")
    assert ran.code == 1
    assert keeper.row()["failures"] == 1
    assert keeper.versions == 1


def test_the_daemon_watches_a_key_and_sets_its_period(keeper: Keeper) -> None:
    """It sees what somebody does there; its page and its metrics show it."""
    site = keeper.site
    keeper.entry |= {"rotated_by": "service", "cryptoperiod": "90d"}
    site.config["watch_every"] = "1s"
    port = listen(site)

    def period() -> int:
        return int(keeper.transit.ask("GET", f"keys/{keeper.key}")["auto_rotate_period"])

    with running(site):
        wait_until(lambda: ready(port) and period() == 90 * 86400)
        # else the step that sets it does not see it, and it counts as failed
        wait_until(lambda: keeper.row()["period_seconds"] == 90 * 86400, what="it is seen")
        keeper.transit.ask("POST", f"keys/{keeper.key}/config", auto_rotate_period="0")
        wait_until(lambda: period() == 90 * 86400, what="the period is set again")
        keeper.transit.ask("POST", f"keys/{keeper.key}/rotate")
        wait_until(lambda: keeper.row()["present"] == "2", what="the daemon sees the version")
        page = get(port, f"/{NAME}").text
        assert "Rotated by" in page
        assert keeper.key in page
        metrics = get(port, "/metrics").text
        assert 'kind="managed-key"' in metrics
        assert "automatic_rotation_off" in metrics


def test_what_is_wrong_is_found_by_a_watch(keeper: Keeper) -> None:
    """A person asks for it now."""
    site = keeper.site
    well = site.run("watch", "--json", NAME)
    assert well.code == 0, well.stderr
    assert keeper.row()["present"] == "1"
    keeper.entry["cryptoperiod"] = "1s"
    time.sleep(1)
    found = site.run("watch", "--json", NAME)
    assert found.code == 1
    assert "version_too_old" in json.dumps(found.json)


@pytest.fixture
def front(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """AWS, as moto plays it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with ExitStack() as stack:
        yield stack.enter_context(fronting(MotoFront(moto)))


def test_a_key_of_aws_is_rotated_until_aws_does_it_no_more(
    site: Site, moto: Moto, front: Front
) -> None:
    """Then it waits and says so; AWS does it by itself once that is asked for."""
    key = moto.ask("create_key")["KeyMetadata"]["KeyId"]
    kek = {"type": "aws-kms", "key": key, "region": moto.REGION, "endpoint": front.url}
    entry: dict[str, Any] = {"kek": "aws"}
    site.config["keks"], site.config["managed_keys"] = {"aws": kek}, {"orders": entry}
    assert site.run("rotate", NAME, "--force").code == 0

    def rotations() -> int:
        return len(moto.ask("list_key_rotations", KeyId=key)["Rotations"])

    assert rotations() == 1
    for _ in range(24):
        moto.ask("rotate_key_on_demand", KeyId=key)
    ran = site.run("rotate", NAME, "--force", "--json")
    assert "on demand no more" in ran.stdout
    entry |= {"keep_versions": 1, "retire_after": "90d"}
    checked = site.run("config", "check")
    assert checked.code != 0
    assert "managed_keys.orders.keep_versions: AWS KMS has no min_dec" in checked.stderr
    del entry["keep_versions"], entry["retire_after"]
    assert rotations() == 25
    watched = site.run("watch", NAME)
    assert watched.code == 1
    assert "AWS KMS rotates it on demand no more" in watched.stdout
    entry |= {"rotated_by": "service", "cryptoperiod": "180d"}
    assert site.run("rotate", NAME).code == 0
    assert moto.ask("get_key_rotation_status", KeyId=key)["KeyRotationEnabled"]
    assert site.run("status", "--json", NAME).row("orders")["period_seconds"] == 180 * 86400
    moto.ask("disable_key", KeyId=key)
    watched = site.run("watch", NAME)
    assert "is disabled" in watched.stdout
