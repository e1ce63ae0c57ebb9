"""What every DNS solver promises; a new one is one more rig here, or one where its server is."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from dns.message import Message

from certrotd.address import Address
from certrotd.clock import SystemClock
from certrotd.dns.exec import Exec
from certrotd.dns.records import Coverage, Preflight, Solver, TxtRecord
from certrotd.dns.responder import Responder
from certrotd.dns.txt import txt_values
from certrotd.dns.wire import exchange, question
from tests.builders import soon
from tests.fakes.dns import MemorySolver
from tests.parts.process import free_port

ZONE = "example.test"


@dataclass(frozen=True)
class Rig:
    """A solver for names in ``example.test``, and a look at what it published."""

    solver: Solver
    visible: Callable[[str], set[str]]


class SolverClaims:
    """The contract. A test class that inherits it has a fixture ``rig``."""

    NAME = f"_acme-challenge.www.{ZONE}"
    ONE = TxtRecord(NAME, "one-ONE_1")
    TWO = TxtRecord(NAME, "two-TWO_2")
    OTHER = TxtRecord(f"_acme-challenge.{ZONE}", "one-ONE_1")

    def test_present_adds_the_record(self, rig: Rig) -> None:
        """The whole point; and before it nothing is there."""
        assert rig.visible(self.NAME) == set()
        rig.solver.present(self.ONE, deadline=soon())
        assert rig.visible(self.NAME) == {self.ONE.value}

    def test_present_twice_is_fine(self, rig: Rig) -> None:
        """The step runs again after a crash between doing and journaling."""
        rig.solver.present(self.ONE, deadline=soon())
        rig.solver.present(self.ONE, deadline=soon())
        assert rig.visible(self.NAME) == {self.ONE.value}

    def test_two_values_stand_side_by_side(self, rig: Rig) -> None:
        """acme.sh #3036, dehydrated #487: wildcard and apex overwrote each other."""
        rig.solver.present(self.ONE, deadline=soon())
        rig.solver.present(self.TWO, deadline=soon())
        assert rig.visible(self.NAME) == {self.ONE.value, self.TWO.value}

    def test_withdraw_deletes_one_value_and_leaves_the_other(self, rig: Rig) -> None:
        """The other value may be another order's, still being validated."""
        for record in (self.ONE, self.TWO, self.OTHER):
            rig.solver.present(record, deadline=soon())
        rig.solver.withdraw(self.ONE, deadline=soon())
        assert rig.visible(self.NAME) == {self.TWO.value}
        assert rig.visible(self.OTHER.name) == {self.OTHER.value}

    def test_withdraw_of_the_last_value_leaves_nothing(self, rig: Rig) -> None:
        """acme.sh #2037: leftovers break the next validation."""
        rig.solver.present(self.ONE, deadline=soon())
        rig.solver.withdraw(self.ONE, deadline=soon())
        assert rig.visible(self.NAME) == set()

    def test_withdraw_of_what_is_absent_is_fine(self, rig: Rig) -> None:
        """The sweep after a crash does not know how far the crashed process came."""
        rig.solver.withdraw(self.ONE, deadline=soon())
        rig.solver.present(self.TWO, deadline=soon())
        rig.solver.withdraw(self.ONE, deadline=soon())
        rig.solver.withdraw(self.ONE, deadline=soon())
        assert rig.visible(self.NAME) == {self.TWO.value}

    def test_a_withdrawn_record_can_be_presented_again(self, rig: Rig) -> None:
        """The CA may give the same token to the next order."""
        rig.solver.present(self.ONE, deadline=soon())
        rig.solver.withdraw(self.ONE, deadline=soon())
        rig.solver.present(self.ONE, deadline=soon())
        assert rig.visible(self.NAME) == {self.ONE.value}

    def test_preflight_passes_and_publishes_nothing(self, rig: Rig) -> None:
        """It runs before each order, beside records of others."""
        rig.solver.present(self.ONE, deadline=soon())
        if isinstance(rig.solver, Preflight):
            rig.solver.preflight(deadline=soon())
            rig.solver.preflight(deadline=soon())
        assert rig.visible(self.NAME) == {self.ONE.value}

    def test_a_name_that_can_be_published_is_covered(self, rig: Rig) -> None:
        """It is asked before each order, and in a dry run; nothing is published by it."""
        if isinstance(rig.solver, Coverage):
            rig.solver.covers(self.NAME, deadline=soon(), dry=True)
            rig.solver.covers(self.NAME, deadline=soon())
        assert rig.visible(self.NAME) == set()


class TestMemory(SolverClaims):
    """The fake keeps the promises, or tests that use it prove nothing."""

    @pytest.fixture
    def rig(self) -> Rig:
        solver = MemorySolver()
        return Rig(solver, solver.visible)


class TestResponder(SolverClaims):
    """The built-in server, asked over UDP."""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        address = Address("127.0.0.1", free_port("both"))
        responder = Responder(
            listen=(address,),
            zones=(ZONE,),
            nameserver="ns.example.net",
            hostmaster="hostmaster@example.net",
            directory=tmp_path / "dns",
            clock=SystemClock(),
        )
        responder.start()
        with closing(responder):
            yield Rig(responder, lambda name: published(address, name))


class TestExec(SolverClaims):
    """A script that keeps one file per value, as an operator might write it."""

    SCRIPT = """#!/bin/sh
set -eu
at="$RECORDS/$CERTROTD_FQDN"
case "$CERTROTD_ACTION" in
  present) mkdir -p "$at"; : > "$at/$CERTROTD_VALUE" ;;
  withdraw) rm -f "$at/$CERTROTD_VALUE" ;;
esac
"""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        records, script = tmp_path / "records", tmp_path / "hook"
        script.write_text(self.SCRIPT)
        script.chmod(0o700)
        inherited = {"PATH": "/usr/bin:/bin", "RECORDS": str(records)}
        solver = Exec((str(script),), environment=("RECORDS",), inherited=inherited)
        return Rig(solver, lambda name: {file.name for file in records.glob(f"{name}/*")})


def published(server: Address, name: str) -> set[str]:
    """The TXT values that ``server`` answers with."""
    reply = exchange(question(name, "TXT", recursion=False), server, deadline=soon())
    assert isinstance(reply, Message), reply
    return set(txt_values(reply, name).values)
