"""The inventory: every subject of a configuration, looked at and rotated several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.config.nearest import MAX_LISTED, suggestion
from certrotd.errors import Failure, UsageError
from certrotd.id import Id
from certrotd.lifecycle.decision import Asked, by_decision
from certrotd.lifecycle.subject import Subject, followers
from certrotd.lifecycle.view import View
from certrotd.lifecycle.wing import Wing
from certrotd.rotation.unexpected import as_failure

if TYPE_CHECKING:  # a listing loads no engine
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner
    from certrotd.rotation.flight import Flight


@dataclass(frozen=True)
class Inventory:
    """The subjects of all ``wings``, in the order of the configuration."""

    wings: Sequence[Wing]

    @property
    def subjects(self) -> Iterator[Subject]:
        """All of them."""
        return (subject for wing in self.wings for subject in wing.subjects)

    def chosen(self, names: Sequence[str]) -> list[Subject]:
        """The subjects called that (by name, id, or what they are for), or all.

        UsageError says which is not there, or not alone.
        """
        if not names:
            return list(self.subjects)
        ids = {str(subject.id): subject for subject in self.subjects}
        called: dict[str, list[str]] = {}
        for text, subject in ids.items():
            called.setdefault(subject.id.name, []).append(text)
        found = (name if name in ids else self._only(name, called) for name in names)
        return [ids[text] for text in dict.fromkeys(found)]

    def with_followers(self, chosen: Sequence[Subject]) -> list[Subject]:
        """``chosen``, and those that follow them and are not among them."""
        following, known = followers(self.subjects), {each.id for each in chosen}
        more = [each for one in chosen for each in following.get(one.id, ())]
        return [*chosen, *(each for each in more if each.id not in known)]

    def _only(self, name: str, called: Mapping[str, Sequence[str]]) -> str:
        """The only id with that name; else that of the subject that is for it."""
        texts = called.get(name, ())
        if len(texts) > 1:
            raise UsageError(
                f"several are called {name}: {', '.join(texts)}", hint="name one of them"
            )
        if texts:
            return texts[0]
        kind, _, plain = name.rpartition("/")
        used = [wing for wing in self.wings if wing.subjects] or self.wings[:1]
        wings = [wing for wing in used if wing.kind == kind] or used
        wanted = plain if wings is not used else name
        found = [each for wing in wings for each in wing.covering(wanted)]
        if len(found) == 1:
            return str(found[0])
        used = [wing for wing in wings if wing.subjects] or wings[:1]  # no word of what is not used
        kinds = " or ".join(wing.kind for wing in used)
        if found:
            listed = ", ".join(each.name for each in found[:MAX_LISTED])
            listed += ", …" if len(found) > MAX_LISTED else ""
            raise UsageError(
                f"several {found[0].kind}s are for {wanted}: {listed}", hint="name one of them"
            )
        raise UsageError(f"there is no {kinds} {wanted!r}", hint=suggestion(wanted, list(called)))

    def rotate_one(self, subject: Subject, asked: Asked, runner: Runner) -> Report:
        """Bring one up to date, after what comes before any rotation."""
        unready = self._prepare(runner).get(subject.id.kind)
        return _rotated(subject, runner, asked, unready)

    def rotate(self, chosen: Sequence[Subject], runner: Runner, asked: Asked) -> Iterator[Report]:
        """Bring each up to date, so many of a kind at once as it has slots.

        One's failure never stops the others. What fails before any rotation fails again in the
        subject's own, which reports it. Whoever follows another of them comes after it.
        """
        from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

        unready, following = self._prepare(runner), followers(chosen)
        known = {each.id for each in chosen}
        later = {each.id for one in known for each in following.get(one, ())}
        with ExitStack() as stack:
            pools = {
                wing.kind: stack.enter_context(
                    ThreadPoolExecutor(wing.slots, thread_name_prefix=f"{wing.kind} rotation")
                )
                for wing in self.wings
            }

            def begin(subjects: Iterable[Subject]) -> set[Future[Report]]:
                return {
                    pools[kind].submit(_rotated, subject, runner, asked, unready.get(kind))
                    for kind, subject in ((each.id.kind, each) for each in subjects)
                    if not runner.stopping()
                }

            running = begin(each for each in chosen if each.id not in later)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for report in [future.result() for future in done]:
                    running |= begin(following.get(report.subject, ()))
                    yield report

    def _prepare(self, runner: Runner) -> Mapping[str, Failure]:
        """Do what comes before any rotation; by kind why its wing could not, which is a defect."""
        unready = {}
        for wing in self.wings:
            try:
                wing.prepare(runner)
            except Exception as error:  # noqa: BLE001  # one wing must not stop the others
                unready[wing.kind] = as_failure(error, f"prepare what rotates each {wing.kind}")
        return unready


def _rotated(subject: Subject, runner: Runner, asked: Asked, unready: Failure | None) -> Report:
    """What comes of one, whatever its wing does."""
    from certrotd.lifecycle.report import Report

    if unready is not None:
        return Report(subject.id, failure=unready)
    try:
        return subject.rotate(runner, asked)
    except Exception as error:  # noqa: BLE001  # one subject must not stop the others
        failure = as_failure(error, f"rotate {subject.id.kind} {subject.id.name}")
        return Report(subject.id, failure=failure)


def look_at_all(
    subjects: Sequence[Subject], *, now: datetime, in_flight: Callable[[Id], bool]
) -> Iterator[View]:
    """Where each subject stands; a failure is a view, never the end of the listing."""
    for subject in subjects:
        try:
            found = subject.look(now=now)
        except Exception as error:  # noqa: BLE001  # one subject must not hide the others
            failure = as_failure(error, f"look at {subject.id.kind} {subject.id.name}")
            yield View(subject, subject.unseen(), now, failure=failure)
            continue
        flight: Flight | None = None
        unknown: Failure | None = None
        try:
            if in_flight(subject.id):
                flight = _flight_of(subject)
        except Failure as failure:
            unknown = failure
        # what is in flight goes on, whatever would keep another rotation from beginning
        held = by_decision(found.decision) if flight is None else None
        yield View(subject, found, now, flight, held, unknown)


def _flight_of(subject: Subject) -> Flight:
    """Its rotation, which somebody has in hand."""
    from certrotd.rotation.flight import Flight, flight_in

    return flight_in(subject.journal) or Flight()
