"""What HAProxy answers is judged by its words, and nothing it answers holds certrotd up."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives import hashes
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.services import HaproxyEntry
from certrotd.dial import Timeout, connect_path
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki.generation import LiveCertificate
from certrotd.targets.haproxy import MAX_ANSWER, HaproxyTarget, build, names_of
from tests.builders import NEW, soon
from tests.unit.config.written import not_root

SHOWN = NEW.certificate.fingerprint(hashes.SHA1()).hex().upper()
GOOD = {
    "show cli level": "admin\n",
    "show ssl cert": "# filename\nPEM\n",
    "show ssl cert PEM": f"Filename: PEM\nStatus: Used\nSHA1 FingerPrint: {SHOWN}\n",
    "set ssl cert PEM <<": "Transaction created for certificate PEM!\n",
    "commit ssl cert PEM": "Committing PEM.\nSuccess!\n",
    "abort ssl cert PEM": "Transaction aborted for certificate 'PEM'!\n",
}


def certificate(*combined: Path | str) -> LiveCertificate:
    """One that is installed there."""
    return LiveCertificate("web", ("a.test",), "/live", combined=tuple(map(str, combined)))


class Answers:
    """A socket that gives the answer to each command, and keeps the commands."""

    def __init__(self, listener: socket.socket, answer: Callable[[str], Iterator[bytes]]) -> None:
        self._listener, self._answer = listener, answer
        self.commands: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                command = connection.recv(2**20).decode().splitlines()[0]
                self.commands.append(command)
                try:
                    for part in self._answer(command):
                        connection.sendall(part)
                except OSError:
                    pass  # it has heard enough


@contextmanager
def answering(answer: Callable[[str], Iterator[bytes]]) -> Iterator[tuple[Path, Answers]]:
    """Somebody who answers like that at a path."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "admin.sock"
        listener.bind(str(path))
        listener.listen()
        answers = Answers(listener, answer)
        thread = threading.Thread(target=answers.serve)
        thread.start()
        try:
            yield path, answers
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A combined file."""
    path = tmp_path / "web.pem"
    path.write_bytes(NEW.key_pem + b"\n \n" + NEW.fullchain_pem)
    return path


def scripted(pem: Path, **other: str) -> Callable[[str], Iterator[bytes]]:
    """An HAProxy that takes everything, but for the commands that begin with those words."""

    def answer(command: str) -> Iterator[bytes]:
        for word, said in other.items():
            if command.startswith(word):
                yield said.replace("PEM", str(pem)).encode()
                return
        yield GOOD[command.replace(str(pem), "PEM")].replace("PEM", str(pem)).encode()

    return answer


def test_a_file_is_set_committed_and_looked_at(pem: Path) -> None:
    """In this order, each over a connection of its own; the control of what follows."""
    with answering(scripted(pem)) as (path, answers):
        target = HaproxyTarget(path)
        target.checked_for([certificate(pem)])
        assert answers.commands == ["show cli level", "show ssl cert"]
        answers.commands.clear()
        target.apply_for([certificate(pem)])
        acts = [each.split()[0] for each in answers.commands]
        assert acts == ["show", "set", "commit", "show"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"set": "unable to load the certificate\n"}, "does not take .*unable to load"),
        ({"set": "Permission denied\n"}, "does not take .*Permission denied"),
        ({"set": "\n"}, r"does not take .*nothing \([0-9]{3,4} octets may be more than .*bufsize"),
        ({"commit": "Committing PEM\nFailed!\n"}, "does not put .* in use: .*Failed!"),
        ({"commit": "Committing PEM"}, "does not put .* in use"),
    ],
)
def test_what_is_not_taken_is_taken_back(pem: Path, other: dict[str, str], words: str) -> None:
    """HAProxy would refuse any other change while one is half made."""
    with (
        answering(scripted(pem, **other)) as (path, answers),
        pytest.raises(NeedsOperator, match=words),
    ):
        HaproxyTarget(path).apply_for([certificate(pem)])
    assert answers.commands[-1] == f"abort ssl cert {pem}"


def test_another_certificate_than_was_given_is_noticed(pem: Path) -> None:
    """Success is what it says; what it has is what counts."""
    other = GOOD["show ssl cert PEM"].replace(SHOWN, "00" * 20)

    def answer(command: str) -> Iterator[bytes]:
        yield from [other.encode()] if command == f"show ssl cert {pem}" else whole(command)

    whole = scripted(pem)
    with answering(answer) as (path, _), pytest.raises(NeedsOperator, match="another certificate"):
        HaproxyTarget(path).apply_for([certificate(pem)])


def test_who_lost_the_lock_replaces_nothing(pem: Path) -> None:
    """Another process may be at work on the same."""

    def lost() -> None:
        raise Transient("lost")

    with answering(scripted(pem)) as (path, answers):
        with pytest.raises(Transient, match="lost"):
            HaproxyTarget(path).fenced(lost).apply_for([certificate(pem)])
        assert answers.commands == ["show ssl cert"]


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [
        ({"show cli": "operator\n"}, NeedsOperator, "level admin"),
        ({"show cli": "\x1b[2J" + "x" * 5000}, NeedsOperator, "it says x{300}"),
        ({"show ssl": "Unknown command\n"}, NeedsOperator, "shows no certificates"),
        ({"show ssl": "# filename\n/other\n"}, NeedsOperator, "it has read /other"),
        ({"show ssl": ""}, NeedsOperator, "it has read no certificate"),
        ({"show ssl": "# transaction\n*/b\n# filename\n/b\nPEM\n"}, Transient, "/b is being"),
    ],
)
def test_an_haproxy_that_could_not_be_told_is_refused(
    pem: Path, other: dict[str, str], kind: type[Failure], words: str
) -> None:
    """Before an order, with what to do."""
    with (
        answering(scripted(pem, **other)) as (path, _),
        pytest.raises(kind, match=words),
    ):
        HaproxyTarget(path).checked_for([certificate(pem)])


def test_an_answer_without_an_end_is_given_up() -> None:
    """Too large, or too slow: each ends."""

    def endless(_command: str) -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    with (
        answering(endless) as (path, _),
        pytest.raises(NeedsOperator, match=f"more than {MAX_ANSWER} octets"),
    ):
        HaproxyTarget(path).check()
    silent = threading.Event()

    def slow(_command: str) -> Iterator[bytes]:
        yield b"admin"
        silent.wait(60)

    with answering(slow) as (path, _):
        with pytest.raises(Transient, match=r"did not answer at .* in time"):
            HaproxyTarget(path, timeout=0.2).check()
        silent.set()


def test_a_socket_where_nobody_is_is_refused() -> None:
    """Each with its cure."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "admin.sock"
        with pytest.raises(NeedsOperator, match=r"No such file.*start HAProxy, or correct socket"):
            HaproxyTarget(path).check()
        listener.bind(str(path))
        with pytest.raises(NeedsOperator, match=r"refused \(start HAProxy\)"):
            HaproxyTarget(path).check()
        listener.listen(0)
        connected = connect_path(path, timeout=Timeout(soon()))  # as many as it takes
        with connected, pytest.raises(Transient, match="unavailable"):
            HaproxyTarget(path).check()
        with not_root(), pytest.raises(NeedsOperator, match=r"denied.*let certrotd's user"):
            HaproxyTarget(path).check()


def test_the_files_of_a_certificate_are_known_by_what_they_lead_to() -> None:
    """By links; a name that is no path, or an alias of a crt-store, is nobody's file."""
    links = {"/etc/haproxy/live.pem": "/store/web/7.pem", "/store/web/live.pem": "/store/web/7.pem"}
    web = certificate("/store/web/live.pem", "/etc/haproxy/web.pem")

    def resolved(path: str) -> str:
        return links.get(path, path)

    known = ["/a.pem", "/etc/haproxy/live.pem", "/etc/haproxy/web.pem", "web.pem", "@web/live"]
    assert names_of(web, known, resolved=resolved) == known[1:3]
    with pytest.raises(NeedsOperator, match=r"no file of web: it has read web.pem, @web/live"):
        names_of(web, known[3:], resolved=resolved)
    with pytest.raises(NeedsOperator, match="or have HAProxy read such a file"):
        names_of(certificate(), known, resolved=resolved)


def test_a_path_is_one_word_of_a_command(tmp_path: Path) -> None:
    """As HAProxy's command line splits words, and commands."""
    pem = tmp_path / "my; \\web.pem"
    pem.write_bytes(NEW.key_pem + NEW.fullchain_pem)
    said = {"show ssl": f"# filename\n{pem}\nSHA1 FingerPrint: {SHOWN}\n"}
    said |= {"set": GOOD["set ssl cert PEM <<"], "commit": GOOD["commit ssl cert PEM"]}
    with answering(scripted(pem, **said)) as (path, answers):
        HaproxyTarget(path).apply_for([certificate(pem)])
        assert answers.commands[2] == f"commit ssl cert {tmp_path}/my\\;\\ \\\\web.pem"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, HaproxyTarget(Path("/run/haproxy/admin.sock"), 30.0)),
        ({"socket": "/run/h.sock", "timeout": "5s"}, HaproxyTarget(Path("/run/h.sock"), 5.0)),
    ],
)
def test_an_entry_of_the_configuration_becomes_the_target(
    written: dict[str, object], meant: HaproxyTarget
) -> None:
    """Every key of it, and the same defaults."""
    entry = TypeAdapter(HaproxyEntry).validate_python({"type": "haproxy", **written})
    built = build(entry, Context("x", Path("/var/lib"), SystemClock()))
    assert built == replace(meant, clock=built.clock, fence=built.fence)
    assert not entry.programs
