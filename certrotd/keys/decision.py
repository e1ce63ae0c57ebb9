"""What can be done about a keyring, each with one word for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from certrotd.lifecycle.decision import Action

RECHECK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rotate(Action):
    """Stage a new key, and encrypt with it; ``compromised`` is the version that others may know."""

    act: ClassVar[str] = "rotate"
    needs_clock: ClassVar[bool] = True
    compromised: int | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Deliver(Action):
    """Write the outputs anew, and have every consumer confirm.

    ``overwrite``: also what something else has changed, after it is kept aside.
    """

    act: ClassVar[str] = "deliver"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Rollback(Action):
    """Undo the last step of the newest rotation, as a person asked."""

    act: ClassVar[str] = "rollback"


@dataclass(frozen=True, slots=True)
class Compromise(Action):
    """Note that others may know a version that does not encrypt."""

    act: ClassVar[str] = "compromise"
    version: int = 0


@dataclass(frozen=True, slots=True)
class Reencrypt(Action):
    """Bring what is stored in these datasets under the active key."""

    act: ClassVar[str] = "re-encrypt"
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retire(Action):
    """End the use of a version that nothing is left under."""

    act: ClassVar[str] = "retire"
    needs_clock: ClassVar[bool] = True
    version: int = 0


@dataclass(frozen=True, slots=True)
class Restore(Action):
    """Let a retired or disabled version decrypt again."""

    act: ClassVar[str] = "restore"
    version: int = 0


@dataclass(frozen=True, slots=True)
class Disable(Action):
    """Withhold a retired version from every consumer."""

    act: ClassVar[str] = "disable"
    needs_clock: ClassVar[bool] = True
    version: int = 0


@dataclass(frozen=True, slots=True)
class Rewrap(Action):
    """Have every key wrapped by the present versions of the KEKs; the keys stay as they are."""

    act: ClassVar[str] = "rewrap"


@dataclass(frozen=True, slots=True)
class Destroy(Action):
    """Forget the material of a version for ever."""

    act: ClassVar[str] = "destroy"
    needs_clock: ClassVar[bool] = True
    version: int = 0


@dataclass(frozen=True, slots=True)
class Adopt(Action):
    """Take over the keys that an application has at ``outlet``."""

    act: ClassVar[str] = "adopt"
    outlet: str = ""


ACTS = (
    *(Adopt, Rotate, Deliver, Reencrypt, Rollback, Compromise, Retire, Restore, Disable, Rewrap),
    Destroy,
)
