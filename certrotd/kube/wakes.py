"""Requests to look at a subject now: keys of one ConfigMap, that any process may add."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from certrotd.errors import InvalidInput
from certrotd.id import Id
from certrotd.kube.api import Missing, revision_of
from certrotd.kube.objects import Objects
from certrotd.state.ports import Conflict

_TRIES = 40
_ALL = "all"


class Wakes:
    """As State.wake() and Changes.woken().

    A key is KIND.NAME, for no slash may be in it, and its value differs from any before: so that
    whoever takes it away sees that it was told again.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def tell(self, subject: str) -> None:
        """Ask for a look at that id; repeatable. Raises DiskTrouble."""
        told = {subject.replace("/", ".", 1): secrets.token_hex(8)}

        def add() -> None:
            try:
                self.objects.api.merge(self.objects.path(_ALL), {"data": told})
                return
            except Missing:
                pass
            try:
                self.objects.write(_ALL, _config_map(told), revision="")
            except Conflict:  # somebody has just made it
                self.objects.api.merge(self.objects.path(_ALL), {"data": told})

        self.objects.patiently(f"wake {subject}", add)

    def take(self, kind: str, mine: Callable[[str], bool]) -> frozenset[str]:
        """The ids of that kind that are ``mine``, told since the last time; raises DiskTrouble."""
        for _ in range(_TRIES):
            found = self.objects.read(_ALL)
            if found is None:
                return frozenset()
            data: dict[str, str] = found.get("data") or {}
            told = {key: subject for key in data if (subject := _subject(key, kind))}
            taken = {key: subject for key, subject in told.items() if mine(subject)}
            if not taken:
                return frozenset()
            left = {key: value for key, value in data.items() if key not in taken}
            try:
                self.objects.write(_ALL, _config_map(left), revision=revision_of(found))
            except Conflict:
                continue  # somebody tells one meanwhile
            return frozenset(taken.values())
        return frozenset()  # they are there the next time


def _config_map(data: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": data}


def _subject(key: str, kind: str) -> str | None:
    """The id that a key is for, if it is of that kind; None for what somebody put there."""
    of, _, name = key.partition(".")
    try:
        return str(Id(of, name)) if of == kind else None
    except InvalidInput:
        return None
