"""Certificates are delivered to another host by a real sshd: whole, proven, or undone there."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import running
from tests.parts import Nginx, Parts, locate
from tests.parts.process import wait_until
from tests.parts.site import Site, matching, probe, serves, snapshot, why_failed
from tests.parts.sshd import Sshd

HOST = "example.test"


@pytest.fixture
def sshd(parts: Parts) -> Sshd:
    """The other host."""
    return parts.start(Sshd)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The directory on the other host."""
    path = tmp_path / "there"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def edge(site: Site, sshd: Sshd, there: Path) -> dict[str, Any]:
    """A certificate that is delivered to that host; the entry of the delivery."""
    site.internal()
    site.config["hosts"] = {"edge": sshd.entry()}
    entry = {"host": "edge", "directory": str(there)}
    site.certificate("web", HOST, deliver=[entry])
    return entry


def delivered(there: Path) -> bytes:
    """The chain that the other host's services read; its key has to belong to it."""
    folder = (there / "live").resolve(strict=True)
    matching(folder / "privkey.pem", folder / "fullchain.pem")
    return (folder / "fullchain.pem").read_bytes()


def is_live(site: Site, there: Path) -> bool:
    """Whether the other host has what is live here."""
    return delivered(there) == (site.live("web") / "fullchain.pem").read_bytes()


def leftovers(there: Path) -> list[str]:
    """Temporary files and folders on the other host."""
    return [name for name in snapshot(there) if ".certrotd-tmp" in name]


def test_a_certificate_is_delivered_whole_and_replaced_by_one_rename(
    site: Site, edge: dict[str, Any], there: Path
) -> None:
    """Private files with their modes, beside the former ones, of which so many are kept."""
    edge |= {"files": ["privkey", "cert", "chain", "fullchain", "combined"], "keep": 1}
    site.rotate("web")
    first = os.readlink(there / "live")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (there / first).iterdir()}
    assert modes == {
        **dict.fromkeys(("privkey.pem", "combined.pem"), 0o640),
        **dict.fromkeys(("cert.pem", "chain.pem", "fullchain.pem"), 0o644),
    }
    for _ in range(2):
        site.rotate("web", "--force")
        assert is_live(site, there)
    kept = {path.name for path in (there / "generations").iterdir()}
    assert len(kept) == 2
    assert Path(first).name not in kept
    assert leftovers(there) == []
    row = site.status("web.edge")
    assert (row["state"], row["generation"], row["host"]) == ("ok", 3, "edge")
    [line] = site.history("delivery/web.edge")[-1:]
    assert line["outcome"] == "finished"


@pytest.mark.parametrize("kind", ["unknown", "changed"])
def test_a_host_key_that_is_not_known_is_refused_in_words(
    site: Site, edge: dict[str, Any], sshd: Sshd, there: Path, kind: str
) -> None:
    """Nothing is sent, nothing is added; the certificate itself is in order."""
    if kind == "unknown":
        sshd.known_hosts.write_text("# none\n")
    else:
        sshd.new_host_key()
        sshd.restart()
    known = sshd.known_hosts.read_bytes()
    run = site.rotate("web", expect=1)
    words = {"unknown": "has no host key of it", "changed": "shows another host key than"}
    assert words[kind] in why_failed(run, "web.edge")
    assert not run.row("web")["failed"]
    assert snapshot(there) == {}
    assert sshd.known_hosts.read_bytes() == known
    assert "Accepted" not in sshd.tail()
    sshd.know()
    site.rotate("web")
    assert is_live(site, there)


def test_a_host_that_is_away_holds_up_nobody_and_costs_no_order(
    parts: Parts, site: Site, edge: dict[str, Any], sshd: Sshd, there: Path, tmp_path: Path
) -> None:
    """The other one has the files; what is said tells which host has not, which gets them later."""
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    second = parts.start(Sshd)
    site.config["hosts"]["second"] = second.entry()
    site.config["certificates"][0]["deliver"].append({"host": "second", "directory": str(other)})
    site.rotate("web")
    sshd.stop()
    run = site.rotate("web", "--force", expect=1)
    assert not run.row("web")["failed"]
    assert "edge (127.0.0.1" in why_failed(run, "web.edge")
    assert is_live(site, other)
    assert not is_live(site, there)
    row = site.status("web.edge")
    assert (row["state"], row["failures"], row["generation"]) == ("postponed", 1, 1)
    assert "is not reached" in row["reason"]
    [plan] = site.run("plan", "--json", "delivery/web.edge").json
    assert plan["decision"] == "postponed"
    sshd.start()
    site.rotate("web")
    assert is_live(site, there)
    assert site.generations("web") == [1, 2]


def test_a_command_runs_there_and_its_failure_is_undone_there_alone(
    site: Site, edge: dict[str, Any], there: Path, tmp_path: Path
) -> None:
    """Each word arrives as it is; the former files are back before it runs again."""
    told, broken = tmp_path / "told by $(id) 'quoted'", tmp_path / "broken"
    script = 'readlink "$1/live" >> "$2"; echo "it says" no; test ! -e "$3"'
    edge["command"] = ["sh", "-c", script, "sh", str(there), str(told), str(broken)]
    site.rotate("web")
    first = os.readlink(there / "live")
    assert told.read_text() == f"{first}\n"
    [line] = site.history("delivery/web.edge")
    assert line["facts"]["command"] == {"code": 0, "output": "it says no\n"}
    told.unlink()
    # it fails for the new files alone
    edge["command"][2] = f'{script} || test "$(tail -n 1 "$2")" = {first}'
    broken.touch()
    run = site.rotate("web", "--force", expect=1)
    assert "exited with 1: it says no" in why_failed(run, "web.edge")
    assert os.readlink(there / "live") == first
    assert told.read_text().splitlines()[1:] == [first]
    assert site.generation("web") == 2
    broken.unlink()
    site.rotate("web")
    assert is_live(site, there)
    assert leftovers(there) == []


def test_nginx_there_is_proven_and_a_broken_one_keeps_the_former_certificate(
    parts: Parts, site: Site, edge: dict[str, Any], there: Path
) -> None:
    """By handshakes over TCP, as on this host."""
    site.rotate("web")
    live = there / "live"
    nginx = parts.start(Nginx, {HOST: (live / "fullchain.pem", live / "privkey.pem")})
    edge["command"] = [str(nginx.binary), *nginx.arguments, "-s", "reload"]
    edge["probe"] = [probe(nginx, HOST)]
    site.rotate("web", "--force")
    served = site.leaf("web")
    assert serves(nginx, HOST, served)
    nginx.break_config()
    run = site.rotate("web", "--force", expect=1)
    assert "no_such_directive" in why_failed(run, "web.edge")
    assert serves(nginx, HOST, served)
    assert not is_live(site, there)
    nginx.mend_config()
    site.rotate("web")
    assert serves(nginx, HOST, site.leaf("web"))


def test_what_somebody_changed_there_is_found_and_delivered_again(
    site: Site, edge: dict[str, Any], there: Path
) -> None:
    """By the daemon's regular look; one connection asks for all of a host."""
    site.config["watch_every"] = "1s"
    site.rotate("web")
    key = (there / "live" / "privkey.pem").resolve()
    with running(site) as daemon:
        key.chmod(0o600)
        daemon.wait_for("web.edge: done")
        assert is_live(site, there)
        assert (there / "live").resolve() != key.parent
        (there / "live").unlink()
        daemon.wait_for("web.edge: done")
        assert is_live(site, there)
    (there / "live" / "fullchain.pem").resolve().write_text("nothing")
    run = site.run("watch", "--json")
    [finding] = [row for row in run.json if row["name"] == "web.edge"]
    assert "fullchain.pem has another content" in finding["findings"][0]["words"]
    site.rotate("web")
    assert is_live(site, there)


def test_the_daemon_delivers_once_the_certificate_is_rotated(
    site: Site, edge: dict[str, Any], there: Path
) -> None:
    """Nobody waits for an hour's look: what follows is looked at at once."""
    with running(site) as daemon:
        daemon.wait_for("web.edge: done")
        wait_until(lambda: (there / "live").exists() and is_live(site, there))
        subprocess.run(site.command_line("rotate", "web", "--force"), check=False)
        wait_until(lambda: is_live(site, there))


def test_a_directory_that_others_may_write_in_is_refused(
    site: Site, edge: dict[str, Any], there: Path
) -> None:
    """A link put there would lead the key to where others read it."""
    there.chmod(0o777)
    assert "others may write in" in why_failed(site.rotate("web", expect=1), "web.edge")
    there.chmod(0o755)
    (there / "generations").symlink_to(there.parent)
    words = "is a symbolic link (use the directory itself"
    assert words in why_failed(site.rotate("web", expect=1), "web.edge")
    (there / "generations").unlink()
    (there / "live").mkdir()
    assert "is no symbolic link" in why_failed(site.rotate("web", expect=1), "web.edge")
    (there / "live").rmdir()
    site.rotate("web")
    assert is_live(site, there)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of the other host with room for next to nothing."""
    locate.require_root()
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """Takes all the room that there is."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_a_full_and_a_read_only_disk_there_leave_the_former_files(
    site: Site, edge: dict[str, Any], small_disk: Path
) -> None:
    """Told in words; nothing half written stays, and room is all that it needs."""
    edge["directory"] = str(small_disk)
    site.rotate("web")
    before = os.readlink(small_disk / "live")
    filler = small_disk / "filler"
    fill(filler)
    run = site.rotate("web", "--force", expect=1)
    assert "its disk is full" in why_failed(run, "web.edge")
    assert os.readlink(small_disk / "live") == before
    assert delivered(small_disk)
    assert leftovers(small_disk) == []
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    run = site.rotate("web", expect=1)
    assert "its file system is read-only" in why_failed(run, "web.edge")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    site.rotate("web")
    assert is_live(site, small_disk)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every account of the other host reaches, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="certrotd-there-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


def test_an_ordinary_account_delivers_what_it_may(
    parts: Parts, site: Site, edge: dict[str, Any], public: Path
) -> None:
    """Root is not needed there; a directory of a third account's is refused."""
    locate.require_root()
    keys = public / "authorized_keys"
    sshd = parts.start(Sshd, lines=f"AuthorizedKeysFile {keys}")
    shutil.copyfile(sshd.directory / "authorized_keys", keys)
    there = public / "tls"
    there.mkdir(mode=0o755)
    shutil.chown(there, "nobody")
    edge["directory"] = str(there)
    site.config["hosts"]["edge"] = sshd.entry("nobody")
    site.rotate("web")
    assert is_live(site, there)
    assert (there / "live" / "privkey.pem").owner() == "nobody"
    edge["owner"] = 0
    assert "permission denied" in why_failed(site.rotate("web", expect=1), "web.edge")
    del edge["owner"]
    shutil.chown(there, "daemon")
    run = site.rotate("web", "--force", expect=1)
    assert "belongs to another account" in why_failed(run, "web.edge")
    shutil.chown(there, "nobody")
    site.rotate("web")
    assert is_live(site, there)
    assert leftovers(there) == []


def test_a_key_that_may_do_these_two_things_alone_suffices(
    site: Site, edge: dict[str, Any], sshd: Sshd, there: Path, tmp_path: Path
) -> None:
    """The program of the page, as authorized_keys names it."""
    page = Path(__file__).parents[2] / "docs" / "remote-hosts.md"
    [script] = [part for part in page.read_text().split("```") if "certrotd-door" in part][1:2]
    told = tmp_path / "told"
    door = tmp_path / "door"
    body = script.removeprefix("sh\n").replace("sudo systemctl reload nginx", f"touch {told}")
    server = "/usr/lib/openssh/sftp-server"
    locate.require(server)
    door.write_text(body)
    door.chmod(0o755)
    keys = sshd.directory / "authorized_keys"
    keys.write_text(f'restrict,command="{door}" {keys.read_text()}')
    edge["command"] = ["touch", str(told)]
    door.chmod(0o644)
    run = site.rotate("web", expect=1)
    assert " in, but no SFTP server begins" in why_failed(run, "web.edge")
    door.chmod(0o755)
    site.rotate("web")
    assert is_live(site, there)
    assert told.exists()
    edge["command"] = ["touch", str(tmp_path / "other")]
    assert "exited with 1" in why_failed(site.rotate("web", "--force", expect=1), "web.edge")
    assert not (tmp_path / "other").exists()


def test_a_server_that_allows_one_session_is_told_from_one_that_is_broken(
    parts: Parts, site: Site, edge: dict[str, Any], there: Path
) -> None:
    """SFTP has it, so that there is none for the command."""
    sshd = parts.start(Sshd, lines="MaxSessions 1")
    site.config["hosts"]["edge"] = sshd.entry()
    edge["command"] = ["true"]
    run = site.rotate("web", expect=1)
    assert "let sshd have MaxSessions of 2 or more" in why_failed(run, "web.edge")
    del edge["command"]
    site.rotate("web")
    assert is_live(site, there)


def test_a_key_with_a_passphrase_and_one_in_an_agent_log_in(
    site: Site, edge: dict[str, Any], sshd: Sshd, there: Path, tmp_path: Path
) -> None:
    """And nothing of the account's own: without either nobody is let in."""
    locate.require("ssh-agent")
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    change: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-p",
        "-P",
        "",
        "-N",
        "correct horse",
        "-f",
        sshd.identity,
    ]
    subprocess.run(change, check=True, capture_output=True)
    host = site.config["hosts"]["edge"]
    assert "no private key that can be read" in why_failed(site.rotate("web", expect=1), "web.edge")
    host["passphrase"] = {"file": str(secret)}
    site.rotate("web")
    assert is_live(site, there)
    back: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-p",
        "-P",
        "correct horse",
        "-N",
        "",
        "-f",
        sshd.identity,
    ]
    subprocess.run(back, check=True, capture_output=True)
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists)
        site.config["hosts"]["edge"] = host = sshd.entry(agent=str(socket))
        del host["identity"]
        run = site.rotate("web", "--force", expect=1)
        assert "does not let" in why_failed(run, "web.edge")
        variables = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        argv: list[str | Path] = ["ssh-add", "-q", sshd.identity]
        subprocess.run(argv, check=True, env=variables)
        site.rotate("web")
        assert is_live(site, there)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait()
