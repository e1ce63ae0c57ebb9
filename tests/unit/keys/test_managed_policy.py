"""What the configuration of a keyring asks for, and who is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certrotd.consumers.port import Expected
from certrotd.errors import LockHeld
from certrotd.keyring.states import State
from certrotd.keys.policy import MOST_MESSAGES
from certrotd.kube.access import Access
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.observe.trust import no_check
from tests.unit.keys.rings import (
    DAY,
    FORCED,
    START,
    Rings,
    acknowledge,
    keyring_of,
    script,
    why_not,
)


class TestPolicy:
    """What the configuration says becomes the policy."""

    def test_the_defaults_are_those_of_the_classification(self, rings: Rings) -> None:
        """And nothing else is limited."""
        for name, days in {"public": 365, "internal": 91, "confidential": 30}.items():
            rings.orders["classification"] = name
            assert rings.policy().cryptoperiod == days * DAY
        policy = rings.policy()
        assert policy.messages == MOST_MESSAGES // 2
        assert (policy.size, policy.calendar, policy.window, policy.capacity, policy.slots) == (
            *(None, None, None, None, None),
        )
        assert not policy.escrows

    def test_everything_that_is_configured_is_in_it(self, rings: Rings) -> None:
        """Each entry of the file, with the next time of its calendar."""
        more: dict[str, Any] = {
            "rotate": {
                "cryptoperiod": "12d",
                "messages": 7,
                "bytes": 8,
                "calendar": "0 3 1 * *",
            },
            "custodians": ["eve", "bob"],
            "consumers": {
                "late": {"acknowledge": {"file": "/run/late.ack"}, "wave": 7},
                "soon": {"acknowledge": {"file": "/run/soon.ack"}, "within": "5m"},
                "too": {"acknowledge": {"file": "/run/too.ack"}},
            },
            "datasets": {"rows": {"census": ["/bin/true"]}},
            "drains": {"cookies": "3d"},
            "grace": "1d",
            "watch": "2d",
            "window": "mon-fri 01:00-05:00 UTC",
            "enabled": False,
        }
        rings.orders.update(more)
        with rings.keyring() as keyring:
            policy, within = keyring.policy, keyring.within
        assert (policy.cryptoperiod, policy.messages, policy.size) == (12 * DAY, 7, 8)
        assert policy.custodians == {"eve", "bob"}
        assert policy.waves == (("soon", "too"), ("late",))
        assert (set(policy.datasets), dict(policy.drains)) == ({"rows"}, {"cookies": 3 * DAY})
        assert (policy.grace, policy.watch, policy.enabled) == (DAY, 2 * DAY, False)
        assert policy.calendar is not None
        assert policy.calendar(START) == START.replace(month=4, day=1, hour=3)
        assert policy.window is not None
        assert within["soon"] == timedelta(minutes=5)
        assert within["late"] == timedelta(hours=1)
        assert rings.view().state == "disabled"

    def test_a_window_holds_back_what_is_due(self, rings: Rings) -> None:
        """The first key, too: its consumers are told."""
        rings.orders["window"] = "mon-fri 01:00-05:00 UTC"
        assert isinstance(rings.view().decision, Postpone)
        assert not rings.rotate().failed
        assert rings.states() == {}
        rings.clock.advance(timedelta(hours=2))  # Thursday, 02:00
        rings.done()

    def test_a_calendar_asks_for_a_key_whatever_its_age(self, rings: Rings) -> None:
        """On the first of the month."""
        rings.orders["rotate"] = {"calendar": "0 3 1 * *"}
        rings.done()
        rings.clock.advance(27 * DAY)
        assert isinstance(rings.view().decision, Wait)
        rings.clock.advance(2 * DAY)
        report = rings.done()
        assert report.decision is not None
        assert report.decision.code == "calendar"

    def test_a_custodian_who_leaves_is_a_reason_to_rotate(self, rings: Rings) -> None:
        """One who comes is none."""
        rings.orders["custodians"] = ["eve", "bob"]
        rings.done()
        rings.orders["custodians"] = ["eve", "bob", "ann"]
        assert isinstance(rings.view().decision, Wait)
        rings.orders["custodians"] = ["eve", "ann"]
        report = rings.done()
        assert report.decision is not None
        assert report.decision.code == "departed"
        assert report.decision.why.startswith("bob had access")
        assert isinstance(rings.view().decision, Wait), "and not again"

    def test_the_digest_of_its_configuration_follows_what_it_uses(self, rings: Rings) -> None:
        """Its own entry, KEKs, and its targets; not the keyring beside it."""

        def digest() -> str:
            with rings.keyring() as keyring:
                return keyring.configuration()

        seen = {digest()}
        rings.config["keyrings"]["users"] = {}
        rings.config["targets"] = {"a": {"type": "command", "command": ["/bin/true"]}}
        assert digest() in seen
        rings.orders["consumers"] = {"a": {"target": "a"}}
        seen.add(digest())
        rings.config["targets"]["a"]["command"] = ["/bin/false"]
        seen.add(digest())
        rings.config["keks"]["more"] = {"type": "file", "path": str(rings.place / "more")}
        seen.add(digest())
        assert len(seen) == 4


class TestConsumers:
    """Who is told, and confirms."""

    def test_each_way_toacknowledge_is_built(self, rings: Rings) -> None:
        """By the module of its kind; a heartbeat over the socket is kept in the state directory."""
        rings.config["key_server"] = {"socket": str(rings.place / "keys.sock")}
        rings.orders["consumers"] = {
            "file": {"acknowledge": {"file": "/run/a.ack"}},
            "http": {"acknowledge": {"http": "http://127.0.0.1:1/"}},
            "command": {"acknowledge": {"command": ["/bin/true"]}},
            "beat": {"acknowledge": {"heartbeat": str(rings.place)}},
            "socket": {"acknowledge": {"heartbeat": "socket"}},
        }
        with rings.keyring() as keyring:
            told = {name: each.acknowledgement for name, each in keyring.world().consumers.items()}
            own = keyring.own_heartbeats
        kinds = {name: type(each).__name__ for name, each in told.items()}
        assert kinds == {
            "file": "FileAnswer",
            "http": "HttpAnswer",
            "command": "CommandAnswer",
            "beat": "HeartbeatAnswer",
            "socket": "HeartbeatAnswer",
        }
        assert told["socket"].directory == own  # type: ignore[union-attr]
        assert told["beat"].directory == rings.place  # type: ignore[union-attr]

    def test_the_account_at_an_api_server_is_read_once(
        self, rings: Rings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is asked twice a second at first, and a kubeconfig may run a program."""
        read: list[object] = []

        def access(*of: object) -> Access:
            read.append(of[:2])
            return Access("https://127.0.0.1:9", no_check(), "shop")

        monkeypatch.setattr("certrotd.kube.connecting.access", access)
        rings.orders["consumers"] = {
            "api": {"acknowledge": {"api_server": "https://127.0.0.1:9", "timeout": "1s"}}
        }
        expected = Expected("orders", "aa", {})
        with rings.keyring() as keyring:
            for _ in range(2):
                asked = keyring.world().consumers["api"].acknowledgement
                assert asked is not None
                assert "did not answer" in asked.ask(expected).words
        assert read == [(None, None)]

    def test_a_target_is_run_once_at_each_stage_and_under_its_own_lock(self, rings: Rings) -> None:
        """Two consumers of one target: it is built once, and never runs twice at a time."""
        log = rings.place / "log"
        told = script(rings.place / "told", f'echo "$$" >> {log}')
        rings.config["targets"] = {"app": {"type": "command", "command": [str(told)]}}
        rings.orders["consumers"] = {"web": {"target": "app"}, "job": {"target": "app"}}
        rings.done()
        assert len(log.read_text().splitlines()) == 2
        assert list((rings.place / "state/locks").rglob("_target-app*"))
        rings.done(FORCED)
        assert len(log.read_text().splitlines()) == 6

    def test_a_target_that_restarts_for_another_is_waited_for_as_long_as_that_may_take(
        self, rings: Rings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A rotation that gives up after two minutes is undone, while all goes well."""
        monkeypatch.setattr("certrotd.targets.kubernetes.build", lambda *_: object())
        shop = {"type": "kubernetes", "workloads": ["deployment/a"], "timeout": "15m"}
        rings.config["targets"] = {"shop": shop}
        rings.orders["consumers"] = {"web": {"target": "shop"}}
        begun = rings.clock.monotonic()
        with rings.site() as site:
            consumer = keyring_of(site, "orders").world().consumers["web"]
            with (
                site.lock("_target-shop", "target shop", None),
                pytest.raises(LockHeld),
                consumer.alone(),
            ):
                pass
        assert rings.clock.monotonic() - begun >= 1800

    def test_a_target_that_cannot_be_told_is_a_problem_before_anything_is_begun(
        self, rings: Rings
    ) -> None:
        """Its program is missing: no key is made."""
        rings.config["targets"] = {
            "app": {"type": "command", "command": [str(rings.place / "missing")]}
        }
        rings.orders["consumers"] = {"web": {"target": "app"}}
        assert "missing" in why_not(rings.rotate())
        assert rings.states() == {}

    def test_a_consumer_that_does_not_confirm_holds_the_rotation_and_a_person_cancels_it(
        self, rings: Rings
    ) -> None:
        """The key that was staged stays with everybody's old one in use."""
        ack = rings.place / "app.ack"
        rings.orders["consumers"] = {"app": {"acknowledge": {"file": str(ack)}}}
        report = rings.rotate()
        assert not report.failed
        assert rings.view().state == "in flight"
        assert "waits for the acknowledgement of app" in rings.view().why
        acknowledge(rings, ack)
        rings.rotate()
        assert rings.view().state == "ok"
        ack.unlink()
        rings.rotate(FORCED)
        assert rings.states() == {1: State.ACTIVE, 2: State.SECONDARY}
        assert not rings.cancel().failed
        assert rings.states() == {1: State.ACTIVE, 2: State.PRE_ACTIVE}

    def test_a_rollback_takes_back_one_step(self, rings: Rings) -> None:
        """The key that has encrypted stays with everybody."""
        rings.done()
        rings.done(FORCED)
        assert not rings.rollback().failed
        assert rings.states() == {1: State.ACTIVE, 2: State.SECONDARY}
        assert isinstance(rings.view().decision, Postpone)
