"""What a rotation needs of the services that have a certificate, as small Protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from certrotd.pki.generation import (
    Checked,
    LiveCertificate,
)


class Target(Protocol):
    """Something that serves the certificate and must be told of a new one."""

    def check(self) -> None:
        """Whether it could be told now, changing nothing; raises Failure with what is wrong."""
        ...

    def apply(self) -> None:
        """Have it read its certificate files again; raises Failure."""
        ...


@runtime_checkable
class Precheck(Protocol):
    """A target that can tell something of itself before there is any certificate."""

    def precheck(self) -> None:
        """Whether what it is told with is there; nothing is run or changed. Raises Failure."""
        ...


@runtime_checkable
class Informed(Protocol):
    """A target that is told which certificates it is told for."""

    @property
    def together(self) -> bool:
        """Whether it may be told for several at once."""
        ...

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Target.apply."""
        ...


@runtime_checkable
class Revertible(Protocol):
    """A target that goes back in another way than by being told again."""

    def revert(self, shown: Mapping[str, Any]) -> Sequence[str]:
        """Undo what apply() began, now that the old files are back; repeatable, raises Failure.

        ``shown`` as of Checked, from before the change; empty where nobody looked. What is gone
        since is returned, in words: nobody can have that serve anything.
        """
        ...


@runtime_checkable
class InformedRevertible(Protocol):
    """The same of one that is told which certificates it is told for."""

    def revert_for(
        self, certificates: Sequence[LiveCertificate], shown: Mapping[str, Any]
    ) -> Sequence[str]:
        """As Revertible.revert; nothing is changed of what was never told of any but these."""
        ...


@runtime_checkable
class Fenceable(Protocol):
    """A target that takes many acts to be told, and can look before each whether it still may."""

    def fenced(self, check: Callable[[], None]) -> Target:
        """The same target, with ``check``, which raises Fenced, before each act."""
        ...


@runtime_checkable
class Cautious(Protocol):
    """A target that can tell what makes its reload felt, though it would succeed."""

    def checked(self) -> Checked:
        """As Target.check, in the same look."""
        ...


@runtime_checkable
class InformedCautious(Protocol):
    """The same of one that is told which certificates it is told for."""

    def checked_for(self, certificates: Sequence[LiveCertificate]) -> Checked:
        """As Cautious.checked."""
        ...
