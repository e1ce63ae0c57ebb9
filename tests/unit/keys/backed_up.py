"""A keyring that is backed up, and what is done with its backups, for tests."""

from __future__ import annotations

from pathlib import Path

from certrotd.assessment.transitions import destructions
from certrotd.escrow.age import Key
from certrotd.escrow.drill import Drilled
from certrotd.escrow.restore import Destruction
from certrotd.keyring.states import State
from certrotd.keys import escrow
from certrotd.keys.escrow import Back
from tests.unit.escrow.samples import keys
from tests.unit.keys.rings import DAY, FORCED, Rings, keyring_of

RECIPIENT, IDENTITY = keys()


def host(tmp_path: Path, name: str) -> Rings:
    """A keyring on a host of its own, whose backups are where those of all hosts are."""
    place = tmp_path / name
    place.mkdir(mode=0o700)
    rings = Rings(place)
    rings.orders.update(
        {
            "backup": {
                "directory": str(tmp_path / "backups"),
                "recipients": list(RECIPIENT.recipients),
            },
            "drains": {"cookies": "1d"},
            "grace": "0d",
            "watch": "0d",
        }
    )
    return rings


def damage(rings: Rings) -> None:
    """Flip a bit in the newest backup."""
    with rings.keyring() as keyring:
        assert keyring.backups is not None
        file = keyring.backups.directory / keyring.backups.list()[0].name
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)


def drilled(rings: Rings, data: bytes | None = None, by: Key = IDENTITY) -> Drilled:
    with rings.site() as site:
        return escrow.drilled(keyring_of(site), site.audit, by, data)


def restored(rings: Rings, data: bytes, *, anew: bool = False, audited: bool = True) -> Back:
    def destroyed() -> tuple[Destruction, ...]:
        return destructions(rings.records(), "orders") if audited else ()

    with rings.site() as site:
        return escrow.restore(
            *(keyring_of(site), site.audit, data, IDENTITY), anew=anew, destroyed=destroyed
        )


def newest(rings: Rings) -> bytes:
    with rings.keyring() as keyring:
        assert keyring.backups is not None
        return keyring.backups.read(keyring.backups.list()[0])


def backed_up(rings: Rings) -> bytes:
    """One that is made by hand, now."""
    with rings.site() as site:
        return Path(escrow.back_up(keyring_of(site), site.audit)).read_bytes()


def destroyed(rings: Rings) -> bytes:
    """Version 1 is destroyed; the backup from before that."""
    rings.done()
    rings.done(FORCED)
    data = newest(rings)
    rings.clock.advance(2 * DAY)
    assert drilled(rings).succeeded
    for _ in range(3):
        rings.done()
    assert rings.states() == {1: State.DESTROYED, 2: State.ACTIVE}
    return data
