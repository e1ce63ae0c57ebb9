"""Alerts through Apprise, against web servers of the test."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import Deadline
from certrotd.config.secrets import EnvironmentSecret
from certrotd.errors import NeedsOperator, Transient
from certrotd.notify import apprise_child
from certrotd.notify.apprise import CHILD, Apprise
from tests.builders import soon
from tests.fakes.clock import Until
from tests.parts.process import free_port, wait_until
from tests.parts.receiver import Receiver, receiving
from tests.unit.notify.made import RAISED, RESOLVED, secret


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver without TLS."""
    with receiving() as started:
        yield started


def address(receiver: Receiver, user: str = "") -> str:
    """Its URL for Apprise's JSON service."""
    return f"json://{user}127.0.0.1:{receiver.port}/hook"


def service(tmp_path: Path, *urls: str, proxy: bool = False) -> Apprise:
    """A notifier to these URLs."""
    secrets = [secret(tmp_path / f"{n}.url", url) for n, url in enumerate(urls)]
    return Apprise("ops", secrets, proxy=proxy)


def test_a_proxy_of_the_environment_is_used_only_if_asked_for(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets the environment would else see what is sent."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    service(tmp_path, address(receiver)).send(RAISED, deadline=soon())
    with pytest.raises(Transient):
        service(tmp_path, address(receiver), proxy=True).send(RAISED, deadline=soon())


def test_people_get_what_happened_and_what_to_do(tmp_path: Path, receiver: Receiver) -> None:
    """Under a heading that tells the machine."""
    service(tmp_path, address(receiver)).send(RAISED, deadline=soon())
    body = receiver.got[0].json
    assert body["title"] == "certrotd on web1: certificate/web: the rotation failed"
    assert body["message"] == RAISED.text
    assert body["type"] == "warning"


def test_a_resolved_alert_is_a_success_message(tmp_path: Path, receiver: Receiver) -> None:
    """In the colour of such, where there are colours."""
    service(tmp_path, address(receiver)).send(RESOLVED, deadline=soon())
    body = receiver.got[0].json
    assert body["title"] == "certrotd on web1: resolved: certificate/web: a rotation succeeded"
    assert body["type"] == "success"


def test_the_url_that_failed_is_reported_and_alone_retried(tmp_path: Path) -> None:
    """Those who have got the message are not sent it twice."""
    with receiving() as good, receiving() as bad:
        bad.status = 500
        notifier = service(tmp_path, address(good), address(bad, "user:hunter2hunter2@"))
        with pytest.raises(Transient, match="notification ops: URL 2: json: not sent") as caught:
            notifier.send(RAISED, deadline=soon())
        assert "hunter2" not in str(caught.value)
        bad.status = 200
        notifier.send(RAISED, deadline=soon())
        assert (len(good.got), len(bad.got)) == (1, 2)
        notifier.send(RESOLVED, deadline=soon())  # the control: another message goes to both
        assert (len(good.got), len(bad.got)) == (2, 3)


def test_a_redirect_is_not_followed(tmp_path: Path, receiver: Receiver) -> None:
    """Whoever answers does not say where secrets go."""
    with receiving() as elsewhere:
        receiver.status, receiver.headers["Location"] = 307, elsewhere.url
        with pytest.raises(Transient, match="not sent"):
            service(tmp_path, address(receiver)).send(RAISED, deadline=soon())
        assert elsewhere.got == []


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_service_that_hangs_is_ended(tmp_path: Path, receiver: Receiver, how: str) -> None:
    """At the deadline, with all of its threads."""
    receiver.hangs, receiver.drips = how == "hangs", 0.2 if how == "drips" else None
    notifier = service(tmp_path, f"{address(receiver)}?rto=60")
    with pytest.raises(Transient):
        notifier.send(RAISED, deadline=soon(3))
    assert not receiver.released.is_set()


def test_a_service_that_hangs_does_not_keep_those_after_it(tmp_path: Path) -> None:
    """The time is divided among them: of a minute that twenty have, it takes three seconds."""
    with receiving() as slow, receiving() as good:
        slow.hangs = True
        notifier = service(tmp_path, f"{address(slow)}?rto=60", *[address(good)] * 19)
        with pytest.raises(Transient, match="URL 1: json: not sent") as caught:
            notifier.send(RAISED, deadline=soon())
        assert "URL 2" not in str(caught.value)
        assert len(good.got) == 19


def test_an_unreachable_service_is_retried(tmp_path: Path) -> None:
    """It may be restarting."""
    with pytest.raises(Transient, match="URL 1: json: not sent"):
        service(tmp_path, f"json://127.0.0.1:{free_port()}").send(RAISED, deadline=soon())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuch://tokentoken", "Apprise does not take the URL"),
        ("dbus://", "stays on this machine"),
        ("syslog://", "stays on this machine"),
        ("windows://", "stays on this machine"),
    ],
)
def test_a_service_on_this_machine_is_refused(tmp_path: Path, url: str, words: str) -> None:
    """A desktop the daemon does not have, or programs it would start."""
    with pytest.raises(Transient, match=words) as caught:
        service(tmp_path, url).send(RAISED, deadline=soon())
    assert "tokentoken" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["hunter2", "two words://x", "json://\x07", "json://" + "x" * 8192]
)
def test_a_secret_that_is_no_url_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    """A file of the wrong name, say."""
    with pytest.raises(NeedsOperator, match="not a single Apprise URL") as caught:
        service(tmp_path, text).send(RAISED, deadline=soon())
    assert text not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A key in a binary format, say."""
    reference = secret(tmp_path / "0.url", "")
    (tmp_path / "0.url").write_bytes(b"\xff\xfe://")
    with pytest.raises(NeedsOperator, match="not a single Apprise URL"):
        Apprise("ops", [reference]).send(RAISED, deadline=soon())


def test_a_secret_that_is_missing_is_reported(tmp_path: Path) -> None:
    """By the name it should have."""
    with pytest.raises(NeedsOperator, match="CERTROTD_NO_SUCH_URL is not set"):
        Apprise("ops", [EnvironmentSecret(env="CERTROTD_NO_SUCH_URL")]).send(
            RAISED, deadline=soon()
        )


def test_a_child_that_says_nothing_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed for its memory, say."""
    silent = tmp_path / "silent.py"
    silent.write_text("import os; os.abort()")
    monkeypatch.setattr("certrotd.notify.apprise.CHILD", silent)
    with pytest.raises(Transient, match="killed by signal 6 without reporting the result"):
        service(tmp_path, "json://127.0.0.1:1").send(RAISED, deadline=soon())
    silent.write_text("print('not JSON')")
    with pytest.raises(Transient, match="printed an unknown result"):
        service(tmp_path, "json://127.0.0.1:1").send(RAISED, deadline=soon())
    said = tmp_path / "said"
    silent.write_text(
        "import pathlib, time\n"
        "print('null', flush=True)\n"
        f"pathlib.Path({str(said)!r}).touch()\n"
        "time.sleep(600)\n"
    )
    two = service(tmp_path, "json://127.0.0.1:1", "json://127.0.0.1:2")
    with pytest.raises(Transient) as caught:
        two.send(RAISED, deadline=Deadline(Until(said.exists), 60))
    words = "URL 2: Apprise did not end in time and was killed without reporting the result"
    assert f"notification ops: {words}" in str(caught.value)


def test_no_secret_is_in_the_arguments(tmp_path: Path, receiver: Receiver) -> None:
    """Anybody may read the arguments of a process."""
    receiver.hangs = True
    notifier = service(tmp_path, f"{address(receiver, 'user:hunter2hunter2@')}?rto=60")
    assert "hunter2" not in repr(notifier)
    thread = threading.Thread(target=_failing, args=(notifier,))
    thread.start()
    wait_until(lambda: bool(receiver.got))
    lines = [line for line in _arguments() if str(CHILD).encode() in line]
    receiver.released.set()
    thread.join(60)
    assert lines
    assert not [line for line in lines if b"hunter2" in line]


def _failing(notifier: Apprise) -> None:
    with contextlib.suppress(Transient):
        notifier.send(RAISED, deadline=soon())


def _arguments() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def child(url: str) -> str | None:
    """What the child says of one URL, run here."""
    message = {"title": "t", "body": "b", "type": "warning", "urls": 1}
    return apprise_child._send(url, message, 5.0)


def test_the_child_without_apprise_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert child("json://127.0.0.1") == (
        "Apprise is not installed: in certrotd's source directory: "
        f"{sys.executable} -m pip install '.[notify]'"
    )


def test_a_plugin_that_breaks_is_a_reason_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URLs after it are tried all the same; what it says is scrubbed."""
    import apprise

    def broken(url: str, asset: object) -> None:
        raise ZeroDivisionError(f"of {url}")

    monkeypatch.setattr(apprise.Apprise, "instantiate", staticmethod(broken))
    before = list(logging.getLogger("apprise").handlers)
    said = child("json://user:hunter2hunter2@host")
    assert said is not None
    assert said.startswith("json: ZeroDivisionError: of ")
    assert "hunter2" not in said
    assert logging.getLogger("apprise").handlers == before


def test_the_child_is_gone_at_its_time_whoever_waits() -> None:
    """A daemon that was killed leaves nobody behind."""
    message = {"title": "t", "body": "b", "type": "warning", "urls": 1}
    # the alarm is after one second, and the service has 0.9 of 1.4
    environment = {
        "CERTROTD_MESSAGE": json.dumps({**message, "seconds": 1.4}),
        "PATH": os.environ["PATH"],
    }
    with receiving() as receiver:
        receiver.hangs = True
        environment["CERTROTD_URL_0"] = f"{address(receiver)}?rto=60"
        run = subprocess.run(
            [sys.executable, "-P", str(CHILD)], env=environment, check=False, timeout=60
        )
    assert run.returncode == -14


TOKENS = st.text(st.characters(whitelist_categories=("L", "N")), min_size=4, max_size=20)


@given(st.lists(TOKENS, min_size=1, max_size=4), st.text(max_size=30))
def test_no_part_of_a_url_is_left_in_a_message(tokens: list[str], around: str) -> None:
    """The URL is the secret, and services put parts of it into their words."""
    url = "slack://" + "/".join(tokens)
    said = apprise_child.scrubbed(f"{around} {' '.join(tokens)} {url}", url)
    rest = said.replace("***", " ").replace(around, " ")
    assert not [token for token in tokens if token.lower() != "slack" and token in rest]


def test_a_message_without_secrets_is_left_alone() -> None:
    """The control."""
    assert apprise_child.scrubbed("error 401", "slack://AAAA/BBBB") == "error 401"
    assert apprise_child.schema_of("no url") == ""
