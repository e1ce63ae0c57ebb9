"""What the report of key management is told of a configured keyring."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.keyring.document import Unreadable
from certrotd.keys.report import facts_of
from tests.unit.keys.backed_up import drilled, host
from tests.unit.keys.rings import DAY, FORCED, Rings, script


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """A keyring that is backed up before each key is used; old keys go as soon as they can."""
    return host(tmp_path, "host")


class TestFacts:
    """What the report for assessors is made of."""

    def test_all_that_is_known_of_a_keyring_is_in_them(self, rings: Rings) -> None:
        """With its KEKs, consumers, counts, drains, backups and drill; and no key."""
        count = script(rings.place / "count", "echo 12")
        told = script(rings.place / "told", "exit 0")
        rings.config["targets"] = {"app": {"type": "command", "command": [str(told)]}}
        rings.orders.update(
            {
                "owner": "shop team",
                "purpose": "addresses",
                "custodians": ["eve"],
                "datasets": {"rows": {"census": [str(count)]}, "more": {"census": ["/bin/false"]}},
                "consumers": {
                    "app": {"target": "app", "acknowledge": {"command": ["/bin/true"]}},
                    "mute": {"target": "app"},
                },
            }
        )
        with rings.keyring() as keyring:
            assert facts_of(keyring) is None, "there is no key yet"
        rings.done()
        rings.done(FORCED)
        drilled(rings)
        with rings.site() as site:
            [check] = site.wing("key").checks()
            check.look()
        with rings.keyring() as keyring:
            facts = facts_of(keyring)
        assert facts is not None
        assert (facts.name, facts.owner, facts.custodians) == ("orders", "shop team", ("eve",))
        assert facts.wrapped_by == ("local (file)",)
        assert [each.version.number for each in facts.versions] == [1, 2]
        consumers = {each.name: each.acknowledged for each in facts.consumers}
        assert consumers == {"app": rings.clock.now(), "mute": None}
        datasets = {each.name: each.values for each in facts.datasets}
        assert datasets == {"rows": 12, "more": None}
        [drain] = facts.drains
        assert drain.until == rings.clock.now() + DAY
        assert len(facts.backups) == 2
        assert facts.backups[0].versions == (1, 2)
        assert facts.drills[0].succeeded
        assert not any(secret.hex() in repr(facts) for secret in rings.secrets().values())

    def test_a_keyring_that_is_hardly_configured_has_facts(self, tmp_path: Path) -> None:
        """No backup, no drill, no drain that runs."""
        rings = Rings(tmp_path, {"orders": {"drains": {"cookies": "1d"}}})
        rings.orders["consumers"] = {"app": {"acknowledge": {"command": ["/bin/false"]}}}
        rings.rotate()
        with rings.keyring() as keyring:
            facts = facts_of(keyring)
        assert facts is not None
        assert (facts.backups, facts.drills, facts.outputs) == ((), (), ())
        assert facts.drains[0].until is None
        assert facts.consumers[0].acknowledged is None


def test_a_keyring_that_cannot_be_read_has_no_facts(rings: Rings) -> None:
    """A report is not made of what nobody knows."""
    rings.done()
    rings.document.write_bytes(b"")
    with rings.keyring() as keyring, pytest.raises(Unreadable):
        facts_of(keyring)
