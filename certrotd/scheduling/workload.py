"""What one configuration gives the scheduler to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from certrotd.certs.limits.budget import Budget
from certrotd.certs.managed import Managed
from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.report import Report


@dataclass(frozen=True)
class Workload:
    """What one configuration gives to do.

    ``in_flight`` says whether a certificate's journal is open, ``budget`` gives that of an issuer
    (None: no limit), ``close`` lets go of it all when its last rotation has ended. ``left_out`` is
    what was wrong about certificates that are not there therefore. ``directories`` says what is
    wrong with those that everything is kept in, ``journals`` why nobody knows what is in flight.
    ``changed`` are the certificates that were rotated since it was asked last.
    """

    certificates: Mapping[Id, Managed]
    concurrency: int
    rotate: Callable[[Managed], Report]
    in_flight: Callable[[Id], bool]
    budget: Callable[[str], Budget | None]
    close: Callable[[], None] = lambda: None
    left_out: Sequence[ConfigProblem] = ()
    directories: Callable[[], Failure | None] = lambda: None
    journals: Callable[[], Failure | None] = lambda: None
    changed: Callable[[], Collection[Id]] = tuple
