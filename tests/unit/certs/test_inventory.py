"""All certificates of a configuration: one's trouble is never another's."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest

from certrotd.certs.decision import Renew
from certrotd.certs.placeholders import Placeholders
from certrotd.certs.policy import Policy, id_of
from certrotd.certs.world import World
from certrotd.clock import ManualClock
from certrotd.errors import InvalidInput, NeedsOperator, UsageError
from certrotd.lifecycle.decision import DAEMON, Asked
from certrotd.lifecycle.inventory import Inventory, look_at_all
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Subject
from certrotd.pki.generation import Standing
from certrotd.rotation.outcome import Finished, RolledBack
from certrotd.state.ports import Lease
from tests.fakes.managed import FakeManaged
from tests.fakes.rotator import Rotator
from tests.fakes.subjects import FakeWing, subject_of
from tests.fakes.world import MemoryWorld

NOW = datetime(2027, 3, 4, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock(NOW)


@pytest.fixture
def worlds(clock: ManualClock) -> dict[str, MemoryWorld]:
    """Three certificates with nothing in common."""
    return {
        name: MemoryWorld(Policy(name, (f"{name}.example.test",), "ca", "memory"), clock)
        for name in ("one", "two", "three")
    }


@pytest.fixture
def rotator(worlds: dict[str, MemoryWorld]) -> Rotator:
    """Numbers rotations."""
    numbers = count(1)
    return worlds["one"].rotator(new_id=lambda: f"rotation-{next(numbers)}")


def inventory(worlds: dict[str, MemoryWorld]) -> Inventory:
    """All of them."""
    return Inventory([FakeWing([subject_of(world.managed()) for world in worlds.values()])])


def names(chosen: Sequence[Subject]) -> list[str]:
    """What they are called."""
    return [each.id.name for each in chosen]


def rotated(
    certificates: Sequence[FakeManaged],
    rotator: Rotator,
    asked: Asked = Asked(),  # noqa: B008
    *,
    slots: int = 2,
) -> list[Report]:
    """What came of each."""
    subjects = [subject_of(each) for each in certificates]
    all_of_it = Inventory([FakeWing(subjects, slots)])
    return list(all_of_it.rotate(subjects, rotator.runner, asked))


class TestChosen:
    """Which certificates a command is about."""

    def test_none_named_means_all_in_the_file_s_order(self, worlds: dict[str, MemoryWorld]) -> None:
        """Listings look like the configuration."""
        chosen = inventory(worlds).chosen([])
        assert names(chosen) == ["one", "two", "three"]

    def test_named_ones_come_once_each(self, worlds: dict[str, MemoryWorld]) -> None:
        """Said twice is meant once: two rotations of one certificate would meet in its lock."""
        chosen = inventory(worlds).chosen(["two", "one", "two"])
        assert names(chosen) == ["two", "one"]

    @pytest.mark.parametrize(
        ("name", "hint"), [("tow", 'did you mean "two"?'), ("xyz", "known: one, two, three")]
    )
    def test_an_unknown_name_is_reported_with_the_nearest(
        self, worlds: dict[str, MemoryWorld], name: str, hint: str
    ) -> None:
        """Nothing at all is done where one of the names is wrong."""
        with pytest.raises(InvalidInput) as refused:
            inventory(worlds).chosen(["one", name])
        assert refused.value.hint == hint
        assert repr(name) in refused.value.message

    def test_a_dns_name_finds_its_certificate(self, worlds: dict[str, MemoryWorld]) -> None:
        """It is what monitoring, browsers and colleagues call it."""
        worlds["one"].policy = replace(worlds["one"].policy, names=("*.example.com", "a.test"))
        worlds["two"].policy = replace(worlds["two"].policy, names=("www.example.com", "one"))
        for said, meant in (
            ("www.example.com", "two"),  # a certificate of its own
            ("WWW.Example.com.", "two"),
            ("mail.example.com", "one"),  # the wildcard
            ("*.example.com", "one"),
            ("one", "one"),  # a certificate's name is what it is
        ):
            assert names(inventory(worlds).chosen([said])) == [meant], said
        for nobody in ("example.com", "a.b.example.com", "*.test", "not a name"):
            with pytest.raises(UsageError, match="there is no certificate"):
                inventory(worlds).chosen([nobody])

    def test_a_dns_name_of_several_certificates_is_asked_about(
        self, worlds: dict[str, MemoryWorld]
    ) -> None:
        """One with an ECDSA key and one with an RSA key, say: nobody is guessed at."""
        for name in ("one", "three"):
            worlds[name].policy = replace(worlds[name].policy, names=("www.example.com",))
        with pytest.raises(UsageError) as refused:
            inventory(worlds).chosen(["www.example.com"])
        assert str(refused.value) == (
            "several certificates are for www.example.com: one, three (name one of them)"
        )


class TestLook:
    """Where every certificate stands."""

    def test_an_unreadable_certificate_is_a_row_of_the_listing(
        self, worlds: dict[str, MemoryWorld]
    ) -> None:
        """A listing that ends at the first spoiled folder hides the rest."""

        def spoiled(*, thorough: bool) -> None:
            raise NeedsOperator("the folder is spoiled")

        all_of_it = inventory(worlds)
        bad = replace(worlds["one"].managed(), look=spoiled)  # type: ignore[arg-type]
        chosen = [subject_of(bad), *list(all_of_it.subjects)[1:]]
        first, *others = look_at_all(chosen, now=NOW, in_flight=lambda name: name == id_of("two"))
        assert (str(first.failure), first.decision) == ("the folder is spoiled", None)
        assert all(isinstance(row.decision, Renew) for row in others)
        assert [row.flight is not None for row in others] == [True, False]

    @pytest.mark.parametrize("error", [PermissionError(13, "no", "/x"), ZeroDivisionError("no")])
    def test_a_wing_that_cannot_look_hides_no_other(
        self, worlds: dict[str, MemoryWorld], error: Exception
    ) -> None:
        """Not even by a defect: the listing is what somebody opens to find out."""

        def spoiled(*, thorough: bool) -> None:
            raise error

        bad = replace(worlds["one"].managed(), look=spoiled)  # type: ignore[arg-type]
        chosen = [subject_of(bad), *list(inventory(worlds).subjects)[1:]]
        first, *others = look_at_all(chosen, now=NOW, in_flight=lambda _subject: False)
        assert "no" in str(first.failure)
        assert [first.state, *(each.state for each in others)] == ["unreadable", *["missing"] * 2]


class TestRotate:
    """Bringing them up to date."""

    def test_failures_of_every_kind_stop_nobody(
        self, worlds: dict[str, MemoryWorld], rotator: Rotator
    ) -> None:
        """A refusal, a lock somebody else holds, and a defect of our own."""

        def defect() -> World:
            raise ZeroDivisionError("nobody thought of this")

        worlds["one"].policy = replace(worlds["one"].policy, key_type="no such type")
        worlds["two"].locked = True
        certificates = [world.managed() for world in worlds.values()]
        broken = replace(
            MemoryWorld(
                Policy("four", ("four.example.test",), "ca", "memory"), rotator.clock
            ).managed(),
            world=defect,
        )
        reports = {
            report.subject.name: report
            for report in rotated([broken, *certificates], rotator, slots=1)
        }
        assert set(reports) == {"one", "two", "three", "four"}
        assert [name for name, report in reports.items() if not report.failed] == ["three"]
        assert isinstance(reports["one"].outcome, RolledBack)
        assert "another process" in str(reports["two"].failure)
        assert "ZeroDivisionError" in str(reports["four"].failure)
        assert isinstance(reports["three"].outcome, Finished)

    @pytest.mark.parametrize("concurrency", [1, 2])
    def test_no_more_rotations_run_than_the_concurrency(
        self, worlds: dict[str, MemoryWorld], rotator: Rotator, concurrency: int
    ) -> None:
        """A CA's and a machine's patience are both limited; but what may be done at once is."""
        meeting = threading.Barrier(concurrency)
        most, now = [0], [0]
        guard = threading.Lock()

        def counted(managed: FakeManaged) -> FakeManaged:
            @contextmanager
            def lock() -> Iterator[Lease]:
                with guard:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                if managed.policy.name in ("one", "two")[:concurrency]:
                    meeting.wait(timeout=10)  # both of them at once, or this breaks
                try:
                    with managed.lock() as lease:
                        yield lease
                finally:
                    with guard:
                        now[0] -= 1

            return replace(managed, lock=lock)

        chosen = [counted(world.managed()) for world in worlds.values()]
        reports = rotated(chosen, rotator, slots=concurrency)
        assert [report.failed for report in reports] == [False] * 3
        assert most[0] == concurrency

    def test_after_a_stop_nothing_is_begun(
        self, worlds: dict[str, MemoryWorld], rotator: Rotator
    ) -> None:
        """What waits for its turn is not begun after the process was told to stop."""
        told = replace(rotator, stopping=lambda: True)
        assert rotated([world.managed() for world in worlds.values()], told) == []
        assert all(world.store.look(name).live is None for name, world in worlds.items())


class TestPlaceholders:
    """Before anything else, every certificate that asks for a placeholder has one."""

    def test_placeholders_come_before_the_rotation_of_any_certificate(
        self, worlds: dict[str, MemoryWorld], rotator: Rotator
    ) -> None:
        """nginx -t reads the files of all virtual hosts, whoever's certificate is due."""
        for name in ("two", "three"):
            worlds[name].policy = replace(worlds[name].policy, bootstraps=True)
        seen = []

        def unready(*_about: object, **_how: object) -> tuple[()]:
            seen.append([worlds[name].store.live(name) for name in ("two", "three")])
            return ()

        worlds["one"].otherwise = {"unready": unready}
        all_of_it = inventory(worlds)
        report = all_of_it.rotate_one(next(all_of_it.subjects), DAEMON, rotator.runner)
        assert not report.failed
        assert seen == [[1, 1]]
        managed = [world.managed() for world in worlds.values()]
        assert Placeholders(managed).put(rotator.runner) == []

    def test_a_failed_placeholder_is_reported_by_its_own_rotation_alone(
        self, worlds: dict[str, MemoryWorld], rotator: Rotator
    ) -> None:
        """The others go on."""
        worlds["two"].policy = replace(worlds["two"].policy, bootstraps=True)
        worlds["two"].locked = True
        managed = [world.managed() for world in worlds.values()]
        reports = rotated(managed, rotator, Asked(by_hand=True))
        assert {report.subject.name for report in reports if report.failed} == {"two"}

    def test_looking_for_them_again_costs_nothing(
        self, worlds: dict[str, MemoryWorld], rotator: Rotator
    ) -> None:
        """Else ten thousand rotations are ten thousand looks at ten thousand certificates."""
        looks: list[bool] = []
        worlds["two"].policy = replace(worlds["two"].policy, bootstraps=True)
        managed = worlds["two"].managed()

        def look(*, thorough: bool = False) -> Standing:
            looks.append(thorough)
            return worlds["two"].managed().look(thorough=thorough)

        managed = replace(managed, look=look)
        placeholders = Placeholders([worlds["one"].managed(), managed])
        worlds["two"].locked = True
        assert [report.failed for report in placeholders.put(rotator.runner)] == [True]
        worlds["two"].locked = False
        assert len(placeholders.put(rotator.runner)) == 1, "one that failed is tried again"
        assert placeholders.put(rotator.runner) == []
        before = len(looks)
        for _ in range(5):
            assert placeholders.put(rotator.runner) == []
        assert len(looks) == before
