"""What a rotation acts upon, out of reach as soon as its lock is another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from certrotd.errors import Failure, Transient
from certrotd.state.ports import Fenced

T = TypeVar("T")


def guarded(adapter: T, check: Callable[[], None]) -> T:
    """``adapter`` with ``check``, which raises Fenced, before every call of its methods."""
    return cast("T", _Guarded(adapter, check))


class _Guarded:
    def __init__(self, inner: object, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    def __getattr__(self, name: str) -> Any:
        return _after(self._check, getattr(self._inner, name))


def _after(check: Callable[[], None], call: Callable[..., T]) -> Callable[..., T]:
    def checked(*given: Any, **named: Any) -> T:
        check()
        return call(*given, **named)

    return checked


def lost_lock(name: str, why: Fenced) -> Failure:
    """The failure of a rotation of ``name`` that has lost its lock."""
    return Transient(
        f"{name} may be another process's by now, and this one has stopped: {why}",
        hint="the next run continues where it stopped; never remove certrotd's locks and records",
    )
