"""What every notifier promises, the one in memory, Apprise and the webhook alike."""

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from certrotd.errors import Failure, Transient
from certrotd.notify.apprise import Apprise
from certrotd.notify.message import Notifier
from certrotd.notify.webhook import Webhook
from tests.builders import soon
from tests.fakes.notifier import MemoryNotifier
from tests.parts.receiver import Receiver, receiving
from tests.unit.notify.made import RAISED, secret

MESSAGE = replace(RAISED, what="Undoing the step swap failed: <no> & “why”.")
HIDDEN = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


@dataclass(frozen=True)
class Rig:
    """A notifier, what arrived of messages as one text each, and how to break the other side."""

    notifier: Notifier
    arrived: Callable[[], list[str]]
    fail: Callable[[bool], None]
    hang: Callable[[], None]


def _in_memory() -> Rig:
    notifier = MemoryNotifier()

    def fail(broken: bool) -> None:
        notifier.broken = Transient("no") if broken else None

    def hang() -> None:
        notifier.gate.clear()
        fail(True)

    def arrived() -> list[str]:
        return [f"{each.title} {each.text}" for each in notifier.sent]

    return Rig(notifier, arrived, fail, hang)


def _over_http(receiver: Receiver, notifier: Notifier) -> Rig:
    def fail(broken: bool) -> None:
        receiver.status = 500 if broken else 204

    def hang() -> None:
        receiver.hangs = True

    def arrived() -> list[str]:
        return [str(got.json).encode().decode("unicode_escape", "ignore") for got in receiver.got]

    return Rig(notifier, arrived, fail, hang)


@pytest.fixture(params=["memory", "webhook", "apprise"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Each notifier, with its other side."""
    if request.param == "memory":
        yield _in_memory()
        return
    with receiving() as receiver:
        path = tmp_path / "secret"
        if request.param == "webhook":
            kept = secret(path, f"whsec_{HIDDEN}")
            notifier: Notifier = Webhook("ops", receiver.url, kept, None)
        else:
            kept = secret(path, f"json://user:{HIDDEN}@127.0.0.1:{receiver.port}/")
            notifier = Apprise("ops", [kept])
        yield _over_http(receiver, notifier)


def test_what_happened_and_what_to_do_arrive(rig: Rig) -> None:
    """An alert without the second half is half an alert."""
    rig.notifier.send(MESSAGE, deadline=soon())
    [text] = rig.arrived()
    for part in (MESSAGE.title, "Undoing the step swap failed", MESSAGE.todo):
        assert part in text


def test_a_failure_is_raised_and_a_later_try_delivers(rig: Rig) -> None:
    """A notifier that swallows its failures is worse than none."""
    rig.fail(True)
    with pytest.raises(Transient):
        rig.notifier.send(MESSAGE, deadline=soon())
    rig.fail(False)
    rig.notifier.send(MESSAGE, deadline=soon())
    assert MESSAGE.title in rig.arrived()[-1]


def test_the_deadline_is_kept(rig: Rig) -> None:
    """The queue has others to deliver."""
    rig.hang()
    began = time.monotonic()
    with pytest.raises(Failure):
        rig.notifier.send(MESSAGE, deadline=soon(1.5))
    assert time.monotonic() - began < 45


def test_no_secret_is_shown(rig: Rig) -> None:
    """Neither by the notifier nor by its failures."""
    rig.fail(True)
    with pytest.raises(Failure) as caught:
        rig.notifier.send(MESSAGE, deadline=soon())
    assert HIDDEN not in f"{caught.value!r} {caught.value} {rig.notifier!r}"
    assert base64.b64decode(HIDDEN).decode() not in str(caught.value)
