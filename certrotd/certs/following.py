"""Hearing of what starts, and looking at once whether it has an older copy: while the daemon runs.

What hears only wakes what looks: engines tell of many starts in a second, and a look asks each of
the target's parts. Whoever starts may not be ready for a look, so there is a later one as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from certrotd.certs.catching_up import survey
from certrotd.certs.managed import Managed
from certrotd.certs.trailing import Announcing
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.rotation.unexpected import as_failure

SETTLES = 1.0
"""So many seconds after a start comes the first look."""
READY = 15.0
"""And so many after it the second one."""
FLIGHT = 5.0
"""So many seconds later a certificate is looked at that is being rotated."""
LEAST = 5.0
"""A start has a certificate looked at so many seconds after the look before, however many start."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until somebody who could not be heard is asked again: doubled each time."""


class Following:
    """Service, of targets by their source, each with the certificates it is told for.

    ``in_flight`` says whether a certificate is being rotated, ``wake`` has one decided about,
    ``report`` takes a line about who cannot be heard, once, and when they can again.
    """

    name = "hearing of what starts"

    def __init__(
        self,
        sources: Mapping[str, tuple[Announcing, Sequence[Managed]]],
        *,
        in_flight: Callable[[Id], bool],
        wake: Callable[[Id], None],
        report: Callable[[str], None],
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._sources = sources
        self._in_flight = in_flight
        self._wake = wake
        self._report = report
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait
        self._looks = Looks()

    def start(self) -> None:
        """As Service.start."""
        jobs: list[Callable[[], None]] = [partial(self._listen, each) for each in self._sources]
        for job in (*jobs, self._look):
            threading.Thread(target=job, name=self.name, daemon=True).start()

    def close(self) -> None:
        """As Service.close; who waits for an engine sees it after a while, and does no more."""
        self._stopped.set()
        self._looks.close()

    def _listen(self, source: str) -> None:
        target, managed = self._sources[source]
        pause, away = FIRST_PAUSE, False
        while not self._stopped.is_set():
            heard = False
            try:
                for started in target.starts():
                    if self._stopped.is_set():
                        return
                    if away:
                        self._report(f"{source} tells again what starts")
                    if started or not heard:  # something may have started while nobody listened
                        self._looks.ask(managed, SETTLES)
                        self._looks.ask(managed, READY)
                    pause, away, heard = FIRST_PAUSE, False, True
            except Exception as error:  # noqa: BLE001  # a defect here is not the end of it
                failure = as_failure(error, f"hear what starts at {source}")
                if not away:
                    self._report(f"{failure}; certrotd asks again until it answers")
                away = True
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _look(self) -> None:
        while (managed := self._looks.next()) is not None:
            try:
                self._look_at(managed)
            except Exception as error:  # noqa: BLE001  # the check that comes now and then tells it
                self._report(str(as_failure(error, f"look at {managed.policy.name}")))

    def _look_at(self, managed: Managed) -> None:
        """A target that cannot be asked is reported by the check of the certificate."""
        subject = managed.policy.id
        if self._in_flight(subject):
            self._looks.ask([managed], FLIGHT)
        elif survey(managed).some:
            self._wake(subject)


def sources_of(
    trailing: Sequence[Managed], target: Callable[[str], object]
) -> Mapping[str, tuple[Announcing, Sequence[Managed]]]:
    """By its source, a target that tells what starts there, and whose certificates it is about.

    A target that cannot be built is passed over: whatever else it is needed for reports that.
    """
    found: dict[str, tuple[Announcing, list[Managed]]] = {}
    for each in trailing:
        for name in each.policy.trailing:
            with suppress(Failure):
                if isinstance(built := target(name), Announcing):
                    _, its = found.setdefault(built.source, (built, []))
                    its += [each] if each not in its else []
    return found


class Looks:
    """Which certificates are to be looked at, and from when on: each once, however often asked."""

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        import time

        self._now = now or time.monotonic
        self._changed = threading.Condition()
        self._due: dict[tuple[Id, float], tuple[float, Managed]] = {}
        self._last: dict[Id, float] = {}
        self._closed = False

    def ask(self, managed: Iterable[Managed], seconds: float) -> None:
        """Have each looked at in so many seconds; the same again puts it off no further.

        A host on which containers start all the time is not looked at all the time.
        """
        with self._changed:
            now = self._now()
            for each in managed:
                subject = each.policy.id
                at = max(now + seconds, self._last.get(subject, now - LEAST) + LEAST)
                self._due.setdefault((subject, seconds), (at, each))
            self._changed.notify_all()

    def next(self) -> Managed | None:
        """The next one, once its time has come; None when closed."""
        with self._changed:
            while not self._closed:
                if not self._due:
                    self._changed.wait()
                    continue
                key, (at, managed) = min(self._due.items(), key=lambda item: item[1][0])
                if (left := at - self._now()) <= 0:
                    del self._due[key]
                    self._last[managed.policy.id] = self._now()
                    return managed
                self._changed.wait(left)
        return None

    def close(self) -> None:
        """Nothing is due any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
