"""What ``scripts/bench cluster`` prints and counts is what was measured."""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.cluster.load import Load
from benchmarks.cluster.table import Line, Section, as_json, rendered, within
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.audit import AuditLog, by_verbs, named, of_rotation
from tests.parts.pki import make_leaf, make_root

HOST = "web.bench.test"
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhere\n"


@pytest.mark.parametrize(
    ("line", "failed", "is_met"),
    [
        (Line("a", "1 s", "1 s", "≤ 1 s", met=True), "", True),
        (Line("a", "", "1 s"), "", True),
        (Line("a", "1 s", "2 s", "≤ 1 s", met=False), "", False),
        (None, "no node", False),
    ],
)
def test_a_row_is_met_unless_it_failed_or_exceeds_a_limit(
    line: Line | None, failed: str, is_met: bool
) -> None:
    """It decides on the exit code; a line without a limit does not."""
    section = Section("row", 1.0, [line] if line else [], failed)
    assert section.is_met is is_met
    assert as_json([section])[0]["is_met"] is is_met
    assert ("FAILED: no node" in rendered(section)) is bool(failed)
    assert ("NO" in rendered(section)) is (line is not None and line.met is False)


def test_a_limit_is_not_exceeded_by_what_equals_it() -> None:
    """The words are of the limit."""
    assert within(2.0, 2.0) == ("≤ 2 s", True)
    assert within(2.1, 2.0, " MiB") == ("≤ 2 MiB", False)


def call(user: str, verb: str, resource: str, number: str = "", name: str = "x") -> str:
    """A line of the audit log."""
    about = {"resource": resource, "name": name}
    told = {"auditID": number or token_hex(8), "verb": verb, "user": {"username": user}}
    return json.dumps(told | {"objectRef": about}) + "\n"


def test_calls_of_a_user_are_counted_over_all_files_of_the_log(tmp_path: Path) -> None:
    """The API server begins a new file now and then; those of others do not count."""
    log = tmp_path / "audit.log"
    audit = AuditLog(cast(ControlPlane, SimpleNamespace(audit_log=log)))
    log.write_text(call("me", "get", "secrets"))
    position = audit.position()
    with log.open("a") as end:
        end.write(call("me", "patch", "secrets") + call("you", "get", "secrets"))
        end.write(call("me", "watch", "pods", "1") * 2)  # when it begins, and when it ends
    log.rename(tmp_path / "audit-2026-11-30T01-00-00.000.log")
    log.write_text(call("me", "get", "leases") + call("me", "get", "pods")[:20])
    counted = Counter(map(named, audit.calls("me", position)))
    assert counted == {"patch secrets": 1, "get leases": 1, "watch pods": 1}
    assert by_verbs(Counter(map(named, audit.calls("me")))) == "2 get, 1 patch, 1 watch"


def test_what_a_daemon_asks_in_any_case_is_not_a_rotations() -> None:
    """Nor is what it asks before it has the Lease of the certificate."""
    lock = "a-lock.certificate.web"
    asked = [
        ("get", "secrets", "web"),
        ("update", "leases", lock),
        ("update", "leases", "a-lock.daemon--0123456789"),
        ("watch", "secrets", ""),
        ("watch", "configmaps", ""),
        ("watch", "pods", ""),
        ("get", "secrets", "web"),
        ("update", "leases", lock),
    ]
    calls = [json.loads(call("me", verb, kind, name=name)) for verb, kind, name in asked]
    assert [named(each) for each in of_rotation(calls, "web")] == [
        "update leases",
        "watch pods",
        "get secrets",
        "update leases",
    ]


@contextmanager
def server(directory: Path, answers: list[bytes]) -> Iterator[tuple[tuple[str, int], Path]]:
    """Gives each connection one of the answers, in turn; where it is, and its root."""
    root = make_root()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_leaf(root, HOST).write(directory, "leaf"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(answers[number % len(answers)])
                number += 1

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname(), root.write(directory, "root")[0]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answers", "failed"), [([ANSWER], 0), ([ANSWER, ANSWER[:-3]], 5), ([b""], 10)]
)
def test_requests_without_a_whole_answer_are_failed_ones(
    tmp_path: Path, answers: list[Any], failed: int
) -> None:
    """Those that are answered are not: the first case is the control of the others."""
    with server(tmp_path, answers) as (address, root):
        with Load(address, HOST, root, rate=20.0, most=10) as load:
            load.await_sent(10)
        assert (load.outcome.sent, load.outcome.failed) == (10, failed)


def test_requests_that_nobody_takes_are_failed_ones(tmp_path: Path) -> None:
    """Whatever the reason, it is told."""
    with server(tmp_path, [ANSWER]) as (address, root):
        pass
    with Load(address, HOST, root, rate=20.0, most=3) as load:
        load.await_sent(3)
    assert dict(load.outcome.failures) == {"ConnectionRefusedError": 3}
