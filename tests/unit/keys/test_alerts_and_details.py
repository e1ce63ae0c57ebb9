"""What people are told of a keyring: alerts and their ends, listings and its page, without keys."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from certrotd.keys.details import details_of
from certrotd.keys.subject import KeyringFound
from certrotd.lifecycle.alert import Alert, Resolved
from certrotd.lifecycle.view import View
from certrotd.rotation.engine import Stuck
from tests.unit.keys.rings import (
    DAY,
    FORCED,
    Rings,
    acknowledge,
    own_key,
    script,
    why_not,
    with_another_key,
)


def told(rings: Rings, *, thorough: bool = False) -> dict[str, Alert | Resolved]:
    """The alerts of one look, by the first part of their keys."""
    view = looked(rings, thorough=thorough)
    events = view.found.alerts(view)
    assert all(each.key.endswith("/key/orders") for each in events)
    return {each.key.split("/")[0]: each for each in events}


def looked(rings: Rings, *, thorough: bool = False) -> View:
    view = rings.view()
    if thorough:
        with rings.site(dry=True) as site:
            [subject] = site.inventory.chosen(["key/orders"])
            return View(subject, subject.look(now=rings.clock.now(), thorough=True), view.now)
    return view


def raised(rings: Rings, *, thorough: bool = False) -> dict[str, Alert]:
    return {k: v for k, v in told(rings, thorough=thorough).items() if isinstance(v, Alert)}


class TestAlerts:
    """Each, with its control before and its end after."""

    def test_a_keyring_that_is_well_raises_none_and_ends_all(self, rings: Rings) -> None:
        """With words for each but the one that was a question."""
        rings.done()
        events = told(rings, thorough=True)
        assert set(events) == {"acknowledgement", "late", "damaged", "adopt", "backups"}
        assert all(isinstance(each, Resolved) for each in events.values())
        assert events["adopt"].words == ""  # type: ignore[union-attr]
        assert events["late"].words  # type: ignore[union-attr]

    def test_a_consumer_that_does_not_confirm_within_its_time(self, rings: Rings) -> None:
        """After that time, and until it has confirmed."""
        ack = rings.place / "app.ack"
        rings.orders["consumers"] = {"app": {"acknowledge": {"file": str(ack)}, "within": "2h"}}
        rings.rotate()
        assert raised(rings) == {}
        assert "acknowledgement" not in told(rings), "neither raised nor over"
        rings.clock.advance(timedelta(hours=3))
        alert = raised(rings)["acknowledgement"]
        assert (alert.kind, alert.severity) == ("acknowledgement_missing", "error")
        assert "waits for the acknowledgement of app" in alert.what
        assert "certrotd cancel key/orders" in alert.todo
        acknowledge(rings, ack)
        rings.rotate()
        assert isinstance(told(rings)["acknowledgement"], Resolved)

    def test_a_key_beyond_its_cryptoperiod(self, rings: Rings) -> None:
        """Whatever keeps it from being rotated; a new key ends it."""
        rings.done()
        rings.orders["enabled"] = False
        rings.clock.advance(90 * DAY)
        assert raised(rings) == {}
        rings.clock.advance(2 * DAY)
        alert = raised(rings)["late"]
        assert (alert.severity, alert.cause) == ("error", "cryptoperiod")
        assert "Version 1" in alert.what
        assert "disabled" in alert.what
        rings.orders["enabled"] = True
        rings.done()
        assert isinstance(told(rings)["late"], Resolved)

    def test_an_output_that_something_else_changed(self, rings: Rings) -> None:
        """A thorough look sees it, and advises; written anew it is over."""
        rings.done()
        path = rings.place / "keys.json"
        good = path.read_bytes()
        path.write_bytes(with_another_key(good))
        alert = raised(rings, thorough=True)["damaged"]
        assert str(path) in alert.what
        assert alert.todo.endswith("certrotd keys deliver orders --overwrite")
        view = looked(rings, thorough=True)
        assert (view.state, str(path) in view.found.remark) == ("broken", True)
        path.write_bytes(good)
        assert isinstance(told(rings, thorough=True)["damaged"], Resolved)

    def test_a_keyring_that_is_gone_and_has_backups(self, rings: Rings, tmp_path: Path) -> None:
        """An error: applications may be without their keys; it ends when they are moved away."""
        place = tmp_path / "backups"
        rings.orders["backup"] = {"directory": str(place), "recipients": ["age1" + "q" * 58]}
        place.mkdir(mode=0o700)
        file = place / "orders.r0000000004.20260701T030405Z.backup"
        file.write_bytes(b"")
        alert = raised(rings)["backups"]
        assert alert.severity == "error"
        assert f"there are backups of orders in {place}" in alert.what
        assert alert.todo.endswith("certrotd keys restore orders --from FILE")
        file.unlink()
        assert raised(rings) == {}

    def test_an_application_that_has_a_key_already(self, rings: Rings) -> None:
        """A question to a person; once it is gone, nothing is said."""
        (rings.place / "keys.json").write_bytes(own_key())
        alert = raised(rings)["adopt"]
        assert (alert.severity, alert.todo) == ("warning", "certrotd keys adopt orders")
        (rings.place / "keys.json").unlink()
        assert raised(rings) == {}


def secrets_in(text: str, rings: Rings) -> list[int]:
    """The versions whose key is in it, in any of the usual encodings."""
    found = []
    for number, secret in rings.secrets().items():
        shapes = [
            secret.hex(),
            base64.b64encode(secret).decode().rstrip("="),
            base64.urlsafe_b64encode(secret).decode().rstrip("="),
            repr(secret)[2:-1],
        ]
        if any(shape.lower() in text.lower() for shape in shapes):
            found.append(number)
    return found


class TestShown:
    """Listings and the page."""

    def test_a_listing_has_every_version_and_no_key(self, rings: Rings) -> None:
        """All of it as JSON; the control is the output, which has every key."""
        rings.orders["datasets"] = {"rows": {"census": ["/bin/true"]}}
        rings.done()
        rings.done(FORCED)
        shown = rings.view().to_json()
        text = json.dumps(shown, default=str)
        assert secrets_in(text, rings) == []
        assert [each["state"] for each in shown["versions"]] == ["decrypt-only", "active"]
        assert [len(each["transitions"]) for each in shown["versions"]] == [4, 3]
        assert (shown["generation"], shown["names"], shown["strange"]) == (2, ["rows"], [])
        assert shown["cryptoperiod_seconds"] == 91 * 86400
        output = (rings.place / "keys.json").read_text()
        decoded = b"".join(
            base64.b64decode(each["keyData"]["value"]) for each in json.loads(output)["key"]
        )
        assert secrets_in(decoded.hex(), rings) == [1, 2], "the control"

    def test_the_page_has_facts_and_tables_and_no_key(self, rings: Rings) -> None:
        """Before the first key, with it, and after a rotation."""
        view = rings.view()
        assert isinstance(view.found, KeyringFound)
        facts, tables = facts_of(view)
        assert "Next rotation" not in facts
        assert tables["Versions"] == []
        rings.done()
        rings.done(FORCED)
        facts, tables = facts_of(rings.view())
        assert facts["Algorithm"] == "aes-256-gcm"
        assert facts["Output"] == f"tink {rings.place}/keys.json"
        assert {"Next rotation", "Encrypts since", "Cryptoperiod ends"} <= facts.keys()
        assert [row[1] for row in tables["Versions"]] == ["decrypt-only", "active"]
        assert secrets_in(repr(rings.view().found.details()), rings) == []
        assert tables["Consumers"] == []

    def test_consumers_are_asked_only_on_request(self, rings: Rings) -> None:
        """A listing of hundreds does not wait for them."""
        ack = rings.place / "app.ack"
        rings.orders["consumers"] = {
            "app": {"acknowledge": {"file": str(ack)}},
            "job": {"target": "job"},
            "odd": {"acknowledge": {"command": [str(rings.place / "gone")]}},
        }
        rings.config["targets"] = {"job": {"type": "command", "command": ["/bin/true"]}}
        with rings.site() as site:
            [subject] = site.inventory.chosen(["key/orders"])
            [view] = site.look([subject])
            assert {each.words for each in view.found.consumers(ask=True)} == {"has no keys yet"}
        consumers = rings.orders.pop("consumers")
        rings.done()
        rings.orders["consumers"] = consumers
        with rings.site() as site:
            [subject] = site.inventory.chosen(["key/orders"])
            [view] = site.look([subject])
            quiet = {each.name: each for each in view.found.consumers()}
            asked = {each.name: each for each in view.found.consumers(ask=True)}
            acknowledge(rings, ack)
            again = {each.name: each for each in view.found.consumers(ask=True)}
        assert {each.words for each in quiet.values()} == {"not asked now"}
        assert not asked["app"].current
        assert asked["app"].words == f"has not written {ack}"
        assert (asked["job"].words, asked["job"].unproven) == ("cannot be asked", True)
        assert asked["odd"].words.startswith("cannot be asked: ")
        assert not asked["odd"].current
        assert again["app"].current
        assert again["app"].words == "has the present keys"

    def test_what_was_staged_is_named(self, rings: Rings) -> None:
        """A rotation that was rolled back leaves a version that is ready."""
        rings.done()
        rings.done(FORCED)
        rings.rollback()
        assert rings.view().found.next_version == "version 2 is secondary"

    def test_a_plan_names_its_steps(self, rings: Rings) -> None:
        """Of what is due now, of what is postponed, and of nothing."""
        assert rings.view().found.steps()[0].startswith("generate")
        rings.orders["window"] = "mon-fri 01:00-05:00 UTC"
        assert rings.view().found.steps()[0].startswith("generate")
        rings.orders["window"] = None
        rings.done()
        assert rings.view().found.steps() == ()
        assert [each.code for each in rings.view().explain()][-1] == "not_due"

    def test_problems_are_asked_for_only_before_a_rotation(self, rings: Rings) -> None:
        """One in flight has met them already."""
        view = rings.view()
        assert view.decision is not None
        rings.orders["outputs"] = [rings.tink("nowhere/keys.json")]
        view = rings.view()
        assert view.decision is not None
        assert [str(each) for each in view.found.problems(view.decision, None)]
        rings.orders["consumers"] = {"app": {"acknowledge": {"file": "/nowhere/app.ack"}}}
        rings.orders["outputs"] = [rings.tink()]
        rings.rotate()
        rings.orders["outputs"] = [rings.tink("nowhere/keys.json")]
        view = rings.view()
        assert view.decision is not None
        assert list(view.found.problems(view.decision, view.flight)) == []

    def test_failures_are_counted_and_shown(self, rings: Rings) -> None:
        """A target that fails each time: how often, and why; once it is mended, it goes on."""
        bad = script(rings.place / "bad", "exit 3")
        rings.config["targets"] = {"app": {"type": "command", "command": [str(bad)]}}
        rings.orders["consumers"] = {"web": {"target": "app"}}
        report = rings.rotate()
        assert report.failed
        assert isinstance(report.outcome, Stuck)
        view = rings.view()
        assert view.state == "in flight"
        assert view.failures >= 1
        assert "bad exited with 3" in view.last_failure
        assert view.failed_at == rings.clock.now()
        script(bad, "exit 0")
        rings.clock.advance(DAY)
        for _ in range(3):
            rings.rotate()
        assert rings.view().state == "ok"

    def test_a_failure_in_a_row_is_shown_with_what_is_due(self, rings: Rings) -> None:
        """What was undone is postponed, and says why."""
        path = rings.place / "keys.json"
        rings.done()
        good = path.read_bytes()
        path.write_bytes(with_another_key(good))
        assert "was changed" in why_not(rings.rotate(FORCED))
        path.write_bytes(good)
        view = rings.view()
        assert view.failures == 1
        assert "was changed by something else" in view.last_failure


def facts_of(view: View) -> tuple[dict[str, str], dict[str, list[list[str]]]]:
    """The page in words."""
    assert isinstance(view.found, KeyringFound)
    details = details_of(view.found)
    facts = {label: cell.text or str(cell.moment) for label, cell in details.facts}
    tables: dict[str, list[list[str]]] = {
        each.title: [[cell.text for cell in row] for row in each.rows] for each in details.tables
    }
    return facts, tables


def test_a_wing_covers_the_datasets_of_its_keyrings(tmp_path: Path) -> None:
    """Who asks for a dataset is shown the keyring that protects it."""
    census: dict[str, Any] = {"census": ["/bin/true"]}
    rings = Rings(tmp_path, {"orders": {"datasets": {"rows": census}}, "users": {}})
    with rings.site(dry=True) as site:
        wing = site.wing("key")
        assert [str(each) for each in wing.covering("rows")] == ["key/orders"]
        assert wing.covering("other") == []
        assert [each.id.name for each in site.inventory.chosen(["rows"])] == ["orders"]
        assert wing.serve(lambda _line: None) is None
        assert {each.label for each in wing.checks()} == {"key/orders", "key/users"}
        [subject] = site.inventory.chosen(["users"])
        now = rings.clock.now()
        assert (subject.names, str(subject.fate.service)) == ((), "keys")
        assert subject.reserve(None, now=now) is None
        assert subject.foresee(None, now=now) is None
        subject.release()


def test_without_keyrings_there_is_nothing_to_do(tmp_path: Path) -> None:
    """The wing of a configuration of certificates alone."""
    rings = Rings(tmp_path)
    rings.config["keyrings"] = {}
    rings.config["issuers"] = {"lab": {"type": "internal"}}
    rings.config["certificates"] = [{"name": "web", "names": ["web.example.test"]}]
    with rings.site(dry=True) as site:
        wing = site.wing("key")
        assert (list(wing.subjects), list(wing.checks())) == ([], [])
