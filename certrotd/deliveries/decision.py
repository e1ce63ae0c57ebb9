"""What can be done about a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from certrotd.lifecycle.decision import Action

RECHECK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Deliver(Action):
    """Bring the live ``generation`` to the host; ``over`` is a folder there that was changed."""

    act: ClassVar[str] = "deliver"
    generation: int
    over: str = ""


ACTS = (Deliver,)
