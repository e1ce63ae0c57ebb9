"""What one configuration gives the scheduler to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.wing import Ration, Terms


@dataclass(frozen=True)
class Workload:
    """What one configuration gives to do.

    ``slots`` says how many subjects of a kind are rotated at once. ``in_flight`` says whether a
    subject's journal is open. ``rations`` gives the accounts that may be limited, each with what it
    has left (None: no limit). ``close`` lets go of it all when its last rotation has ended.
    ``left_out`` are the problems of entries that are skipped. ``directories`` says what is wrong
    with those that everything is kept in, ``full`` why there is no room in them, ``journals`` why
    nobody knows what is in flight. ``followers`` are to be looked at once another was rotated.
    ``changed`` gives the subjects that were rotated since the last call, ``woken`` those that
    somebody asked to look at; either may raise Failure or OSError after some of them.
    """

    subjects: Mapping[Id, Subject]
    slots: Mapping[str, int]
    rotate: Callable[[Subject, Asked], Report]
    in_flight: Callable[[Id], bool]
    terms: Terms = field(default_factory=Terms)
    rations: Mapping[str, Callable[[], Ration | None]] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None
    left_out: Sequence[ConfigProblem] = ()
    directories: Callable[[], Failure | None] = lambda: None
    full: Callable[[], Failure | None] = lambda: None
    journals: Callable[[], Failure | None] = lambda: None
    followers: Mapping[Id, Sequence[Id]] = field(default_factory=dict)
    changed: Callable[[], Iterable[Id]] = tuple
    woken: Callable[[], Iterable[Id]] = tuple
