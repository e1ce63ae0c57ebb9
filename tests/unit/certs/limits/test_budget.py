"""The budget across restarts and processes, and who may spend next."""

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.certs.limits.budget import Budget, DocumentBudgetStore
from certrotd.certs.limits.rate_limited_issuer import RateLimitedIssuer
from certrotd.certs.limits.sliding_windows import Limit, Limits
from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import Standing
from certrotd.pki.keys import KeyType, generate, signing_request
from certrotd.pki.order import ValidationFailed
from certrotd.state import document
from certrotd.state.document import FileDocument
from tests.fakes.issuer import MemoryIssuer

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TWO = Limits(orders=Limit(2, HOUR))
WEB = ("example.com",)
SAID: list[str] = []


def budget(folder: Path, limits: Limits = TWO) -> Budget:
    """What a process that starts now has."""
    record = DocumentBudgetStore(FileDocument(folder, "b/ca"), SAID.append)
    return Budget(limits, record, SystemClock())


def spend(folder: Path, times: int) -> None:
    """Some orders of one process."""
    mine = budget(folder, Limits(orders=Limit(1000, HOUR)))
    for _ in range(times):
        mine.order(now=NOW)


@pytest.fixture
def said() -> list[str]:
    """What was told to people."""
    SAID.clear()
    return SAID


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """A daemon that is restarted by its supervisor must not order without end."""
    for _ in range(2):
        budget(tmp_path).order(now=NOW)
    assert budget(tmp_path).hold("web", WEB, renewal=False, now=NOW) is not None
    assert budget(tmp_path).left(NOW) == 0
    assert budget(tmp_path).hold("web", WEB, renewal=False, now=NOW + 2 * HOUR) is None
    assert (tmp_path / "b" / "ca.json").stat().st_mode & 0o777 == 0o600


def test_an_order_of_another_process_counts_at_once(tmp_path: Path) -> None:
    """`certrotd rotate` beside the daemon spends from the same account."""
    mine, other = budget(tmp_path), budget(tmp_path)
    assert mine.left(NOW) == 2
    other.order(now=NOW)
    assert mine.left(NOW) == 1


def test_processes_at_the_same_time_lose_no_order(tmp_path: Path) -> None:
    """Each reads, adds and writes, one after the other."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=spend, args=(tmp_path, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    kept = json.loads((tmp_path / "b" / "ca.json").read_bytes())
    assert len(kept["stamps"]["orders"]) == 60


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"version": 2, "stamps": {}}',
        '{"version": 1}',
        '{"version": 1, "stamps": {"orders": [1e999]}}',
        '{"version": 1, "stamps": {"orders": [NaN]}}',
        '{"version": 1, "stamps": {"orders": [1%s]}}' % ("0" * 400),
    ],
)
def test_a_file_that_is_not_understood_is_kept_aside_and_said(
    tmp_path: Path, said: list[str], content: str
) -> None:
    """Neither what somebody wrote is lost, nor do renewals stop for it."""
    path = tmp_path / "b" / "ca.json"
    path.parent.mkdir()
    path.write_text(content)
    assert budget(tmp_path).left(NOW) == 2
    assert path.with_name("ca.json.unreadable").read_text() == content
    assert len(said) == 1
    assert "kept as" in said[0]


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
def test_a_budget_that_is_no_file_is_kept_aside_and_reported(
    tmp_path: Path, said: list[str], put: Callable[[Path], None]
) -> None:
    """Nor is a FIFO waited for."""
    path = tmp_path / "b" / "ca.json"
    path.parent.mkdir()
    put(path)
    assert budget(tmp_path).left(NOW) == 2
    assert path.with_name("ca.json.unreadable").exists()
    assert "kept as" in said[0]


def test_a_good_budget_file_is_not_reported(tmp_path: Path, said: list[str]) -> None:
    """The control of the test above."""
    budget(tmp_path).order(now=NOW)
    assert (budget(tmp_path).left(NOW), said) == (1, [])


def test_a_file_that_could_not_be_read_once_is_not_taken_for_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a disk that hiccups at the start has the whole budget spent again, and forgotten."""
    for _ in range(2):
        budget(tmp_path).order(now=NOW)
    mine = budget(tmp_path)

    def failing(*_args: object, **_options: object) -> bytes:
        raise DiskTrouble("read the budget", OSError(errno.EIO, os.strerror(errno.EIO)))

    with monkeypatch.context() as patched:
        patched.setattr(document, "read_status", failing)
        for _ in range(2):
            with pytest.raises(DiskTrouble):
                mine.hold("web", WEB, renewal=False, now=NOW)
    assert mine.hold("web", WEB, renewal=False, now=NOW) is not None
    assert mine.left(NOW) == 0


def test_a_jump_is_known_also_to_a_budget_that_could_not_be_read_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process has ordered a moment ago must not seem long ago either."""
    mine, other = budget(tmp_path), budget(tmp_path)
    mine.order(now=NOW)
    other.order(now=NOW)
    with monkeypatch.context() as patched:
        patched.setattr(FileDocument, "revision", _no_such_luck)
        with pytest.raises(OSError, match="Input/output error"):
            mine.leapt(20 * HOUR)
        with pytest.raises(OSError, match="Input/output error"):
            mine.leapt(timedelta())
    later = NOW + 20 * HOUR
    assert mine.left(later) == 0
    mine.leapt(timedelta())
    assert mine.left(later) == 0
    assert mine.left(later + 2 * HOUR) == 2  # the control


def test_those_that_wait_come_before_those_that_come_later(tmp_path: Path) -> None:
    """Otherwise the certificates that are due every few days starve the others."""
    mine = budget(tmp_path)
    for _ in range(2):
        mine.order(now=NOW)
    first = mine.hold("first", WEB, renewal=False, now=NOW)
    second = mine.hold("second", WEB, renewal=False, now=NOW)
    third = mine.hold("third", WEB, renewal=False, now=NOW)
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.until == second.until < third.until  # two at a time
    assert mine.hold("late", WEB, renewal=False, now=first.until) is not None
    assert mine.hold("first", WEB, renewal=False, now=first.until) is None
    assert mine.hold("second", WEB, renewal=False, now=first.until) is None
    assert mine.hold("third", WEB, renewal=False, now=first.until) is not None


def test_a_reserved_order_is_not_given_twice_until_it_is_released(tmp_path: Path) -> None:
    """Between the look and the order there are preflights, and other rotations."""
    mine = budget(tmp_path)
    assert mine.hold("a", WEB, renewal=False, now=NOW) is None
    assert mine.hold("b", WEB, renewal=False, now=NOW) is None
    assert mine.hold("c", WEB, renewal=False, now=NOW) is not None
    mine.release("c")
    mine.release("a")
    assert mine.hold("c", WEB, renewal=False, now=NOW) is None
    mine.order(now=NOW)
    mine.release("c")  # what was held is now spent
    assert mine.left(NOW) == 1
    mine.release("b")
    assert mine.hold("d", WEB, renewal=False, now=NOW) is None


def test_an_order_that_cannot_be_counted_is_not_placed(tmp_path: Path) -> None:
    """A full disk must not make certrotd forget what it asked of the CA."""
    clock, ca = ManualClock(NOW), MemoryIssuer(lambda: NOW)
    issuer = counted(ca, Budget(TWO, _Full(), clock), clock)
    with pytest.raises(DiskTrouble):
        issuer.order(WEB, deadline=Deadline(clock, 1))
    assert ca.orders == []


def test_orders_and_failed_validations_are_counted(tmp_path: Path) -> None:
    """What the CA counts is counted here, and before the CA can."""
    clock, visible = ManualClock(NOW), set[str]()
    ca = MemoryIssuer(lambda: NOW, lookup=lambda _name: visible)
    mine = budget(tmp_path, Limits(orders=Limit(9, HOUR), failures=Limit(1, HOUR)))
    issuer = counted(ca, mine, clock)
    order = issuer.order(["*.example.com"], deadline=Deadline(clock, 1))
    assert (mine.left(NOW), order.url) == (8, ca.orders[0].url)
    with pytest.raises(ValidationFailed):
        order.validate()
    told = mine.hold("web", WEB, renewal=False, now=NOW)
    assert told is not None
    assert told.key == "failed:example.com"


def test_a_certificate_is_counted_before_it_is_asked_for_and_once(tmp_path: Path) -> None:
    """The CA counts it as soon as it issues, whether the answer arrives or not."""
    clock, ca = ManualClock(NOW), MemoryIssuer(lambda: NOW)
    limits = Limits(duplicates=Limit(1, HOUR))
    issuer = counted(ca, budget(tmp_path, limits), clock)
    order = issuer.order(WEB, deadline=Deadline(clock, 1))
    order.validate()
    assert budget(tmp_path, limits).hold("web", WEB, renewal=False, now=NOW) is None
    ca.faults["finalize"] = Transient("no answer")
    with pytest.raises(Transient):
        order.finalize(b"")
    assert budget(tmp_path, limits).hold("web", WEB, renewal=False, now=NOW) is not None
    csr = signing_request(generate(KeyType.ECDSA_P256), WEB)
    again = issuer.resume(order.url, deadline=Deadline(clock, 1))
    assert again.finalize(csr).startswith(b"-----BEGIN")
    kept = json.loads((tmp_path / "b" / "ca.json").read_bytes())["stamps"]
    assert sorted((key.partition(":")[0], len(each)) for key, each in kept.items()) == [
        ("set", 1),
        ("url", 1),
    ]


def test_a_validation_that_could_not_be_asked_for_is_no_failed_one(tmp_path: Path) -> None:
    """The control of the test above, and what resuming an order costs: nothing."""
    clock, ca = ManualClock(NOW), MemoryIssuer(lambda: NOW)
    mine = budget(tmp_path, Limits(orders=Limit(9, HOUR), failures=Limit(1, HOUR)))
    issuer = counted(ca, mine, clock)
    url = issuer.order(WEB, deadline=Deadline(clock, 1)).url
    order = issuer.resume(url, deadline=Deadline(clock, 1))
    ca.faults["validate"] = Transient("no answer")
    with pytest.raises(Transient):
        order.validate()
    order.validate()
    assert mine.left(NOW) == 8
    assert mine.hold("web", WEB, renewal=False, now=NOW) is None


def counted(ca: MemoryIssuer, mine: Budget, clock: ManualClock) -> RateLimitedIssuer:
    """The issuer as a rotation has it."""
    look: Callable[[], Standing] = Standing
    return RateLimitedIssuer(ca, mine, names=WEB, authority="memory", look=look, clock=clock)


def _no_such_luck(_document: FileDocument) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


class _Full:
    def load(self) -> None:
        return None

    def save(self, spent: object) -> None:
        raise DiskTrouble("write the budget", OSError(28, os.strerror(28)))
