"""The contract of solvers for those whose server is a fake of the tests' own.

Those with a real server are in tests/integration/test_dns_providers.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.dns import acmedns
from certrotd.dns.acmedns import AcmeDns
from certrotd.dns.api import Reach
from certrotd.dns.cloudflare import Cloudflare
from certrotd.dns.records import TxtRecord
from certrotd.dns.webhook import Webhook
from tests.builders import state_folder
from tests.contract.test_solvers import ZONE, Rig, SolverClaims
from tests.fakes.acme_dns import AcmeDnsServer
from tests.fakes.cloudflare import Cloudflare as PlayedCloudflare
from tests.fakes.httpreq import HttpReq
from tests.fakes.provider_api import played
from tests.unit.notify.made import secret


def in_zone(_name: str, _deadline: Deadline) -> str:
    """Every name is in the zone of the contract."""
    return ZONE


class TestCloudflare(SolverClaims):
    """A record per value, found by its content."""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        there = PlayedCloudflare()
        there.add_zone(ZONE)
        with played(there.answer) as api:
            token = secret(tmp_path / "token", there.token)
            yield Rig(
                Cloudflare(Reach("Cloudflare"), api.url, token=token, zone_of=in_zone), there.txt
            )


class TestWebhook(SolverClaims):
    """With basic authentication."""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        there = HttpReq(login=("certrotd", "pass:word"))
        with played(there.answer) as api:
            login = secret(tmp_path / "u", "certrotd"), secret(tmp_path / "p", "pass:word")
            yield Rig(
                Webhook(Reach("the webhook"), f"{api.url}/dns/", login=login),
                lambda name: there.values[name],
            )


class TestAcmeDns(SolverClaims):
    """A name is published at where its CNAME leads: at the subdomain of its account.

    Its values have to be 43 characters, as those of a CA are.
    """

    NAME = f"{'1' * 8}.{ZONE}"
    ONE = TxtRecord(NAME, "one-ONE_1".ljust(43, "x"))
    TWO = TxtRecord(NAME, "two-TWO_2".ljust(43, "x"))
    OTHER = TxtRecord(f"{'2' * 8}.{ZONE}", ONE.value)

    @pytest.fixture
    def rig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
        monkeypatch.setattr(acmedns, "SECOND", 0.1)
        there = AcmeDnsServer(ZONE, second=0.1)
        for subdomain in ("1" * 8, "2" * 8):
            there.accounts[subdomain] = {
                "username": f"user-{subdomain}",
                "password": "a-password",
                "subdomain": subdomain,
                "fulldomain": f"{subdomain}.{ZONE}",
            }
            there.places[subdomain] = ["", ""]
        accounts = {f"{key}.example.net": account for key, account in there.accounts.items()}
        with played(there.answer) as api:
            solver = AcmeDns(
                Reach("the acme-dns server"),
                api.url,
                folder=state_folder(tmp_path / "state", "solvers/own", SystemClock().now),
                given=secret(tmp_path / "accounts", json.dumps(accounts)),
            )
            yield Rig(solver, there.txt)
