"""Certificates that are deleted: what keeps that from being done, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from certrotd.certs.deleting import DeletingRotation, User, foreseen, users_of
from certrotd.certs.managed import relearnt
from certrotd.certs.plan import rebuild
from certrotd.certs.ports import Prober
from certrotd.certs.removing import Remove
from certrotd.errors import NeedsOperator, Transient
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import DeletionForeseen
from certrotd.observe.tls import Served
from certrotd.pki.generation import Standing
from certrotd.rotation.engine import Finished, Parked
from tests.builders import DAY, NOW, generation, standing
from tests.model import scenarios
from tests.unit.certs.rotating import Case


def delete(case: Case) -> Report:
    return DeletingRotation(case.world.managed()).delete(case.rotator().runner)


def seen(case: Case, users: tuple[User, ...] = ()) -> DeletionForeseen:
    return foreseen(
        case.world.managed(),
        copies=["/etc/tls.pem"],
        hosts=["mail"],
        in_secret=False,
        users=lambda _found: users,
    )


def test_everything_goes_but_what_others_read() -> None:
    """It says so before, and the audit log and the history know of it."""
    case = Case("rollback")
    found = seen(case)
    assert found.version == 2
    assert "generations 1, 2" in found.goes[0]
    assert found.stays[:2] == ("the copy /etc/tls.pem", "the copies on host mail")
    assert isinstance(delete(case).outcome, Finished)
    assert case.world.store.look(scenarios.NAME) == Standing()
    assert case.world.audit.happened[-1].details == {"act": "delete"}


def test_what_copies_replaced_goes_too() -> None:
    """Old keys, left by a rotation that could not drop them; of a Secret nobody else does."""
    case = Case("rollback")
    files = (("key", b"old"), ("chain", b"old"))
    case.world.installer.files = files
    case.world.installer.backups = (("r0", files),)
    assert isinstance(delete(case).outcome, Finished)
    left = case.world.installer
    assert (len(left.backups), left.files) == (0, files)


def test_what_is_in_use_or_in_flight_is_not_deleted() -> None:
    """With the reason, and what to do."""
    case = Case("rollback")
    with pytest.raises(NeedsOperator, match="still in use: www:443 serves it"):
        seen(case, (User("www:443 serves it"),))
    assert seen(case, (User("whether it is", certain=False),)).unknown == ("whether it is",)
    case.trouble.refuse |= {"target web: apply": 1, "installer: restore the key": 1}
    case.rotate(forced=True)
    with pytest.raises(NeedsOperator, match="a rotation of site is in flight"):
        seen(case)
    assert "in flight" in str(delete(case).failure)
    assert case.live is not None


def test_it_says_of_what_the_ca_was_not_told() -> None:
    """With the state goes that it was to be revoked, and with the generation its certificate."""
    case = Case("rollback")
    case.trouble.refuse["issuer: revoke"] = 1
    case.rotator().revoke(case.world.managed(), 1, "keyCompromise")
    [line] = seen(case).goes[2:]
    assert line.startswith("the CA is NOT told: still to be revoked: generation 1 (keyCompromise)")
    case.rotator().revoke(case.world.managed(), 1, "keyCompromise")
    assert len(seen(case).goes) == 2
    assert "valid until" in seen(case).stays[-1]


def test_a_deletion_that_is_cut_off_is_finished() -> None:
    """By the next one; nothing of it is undone."""
    case = Case("rollback")
    case.trouble.refuse["store: remove"] = 1
    assert isinstance(delete(case).outcome, Parked)
    assert seen(case).version is None, "it may be asked for again"
    assert isinstance(delete(case).recovered, Finished)
    assert case.world.store.look(scenarios.NAME) == Standing()
    assert isinstance(rebuild("delete", {}), Remove)


def test_whoever_serves_it_is_found() -> None:
    """By its leaf at an endpoint, and by its path in a service's own configuration."""

    case = Case("rollback")
    world = case.world.managed().world()
    found = case.world.store.look(scenarios.NAME)
    endpoint = case.world.endpoint("web")
    place = world.store.place(scenarios.NAME)

    class Service:
        def reads(self, path: str) -> bool:
            return path == place

    def broken() -> object:
        raise NeedsOperator("nginx -T exited with 1")

    targets = [("nginx", Service), ("command", object), ("other", broken)]
    assert list(users_of(found, world, [endpoint, endpoint], targets)) == [
        User(f"{endpoint} serves it"),
        User(f"the configuration of target nginx names {place}"),
        User(f"whether target other names {place}: nginx -T exited with 1", certain=False),
    ]

    class Down:
        def look(self, _endpoint: object) -> Served:
            raise Transient("nobody answers")

    down = replace(world, prober=cast("Prober", Down()))
    assert list(users_of(found, down, [endpoint], [])) == [
        User(f"whether {endpoint} serves it: nobody answers", certain=False)
    ]
    other = replace(found, live=None, newest=None)
    assert len(list(users_of(other, world, [endpoint], []))) == 0


def test_a_certificate_of_the_same_name_knows_nothing_of_the_one_before() -> None:
    """Generations are numbered anew: an earlier revocation is of another one."""
    entry = {
        "reason": "superseded",
        "asked": NOW.isoformat(),
        "fingerprint": "ab",
        "by": "",
        "not_after": (NOW + DAY).isoformat(),
        "done": None,
        "why": "",
        "refused": False,
    }
    revoked = {"outcome": "finished", "to": "", "facts": {"revocations": {"1": entry}}}
    deleted = {"outcome": "finished", "to": "", "facts": {"act": "delete"}}
    assert relearnt([revoked], standing(generation())).revoked
    assert not relearnt([revoked, deleted], standing(generation())).revoked
