"""Copies where applications read them: owner and mode, what they replace, and the way back."""

import json
import os
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from certrotd.errors import Failure, InvalidInput, NeedsOperator, raise_first
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.writing import temporary_of
from certrotd.pki.keys import load, signing_request
from certrotd.pki.request import read_request, to_pem
from certrotd.stores.install import Copies, FileInstaller
from tests.builders import NEW, OLD
from tests.parts import pki
from tests.unit.stores.crashing import crash
from tests.unit.stores.unprivileged import plain_user

ROOT_ONLY = pytest.mark.usefixtures("as_root")
pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A directory of an application's."""
    directory = tmp_path / "etc"
    directory.mkdir()
    return directory


def installer(etc: Path, *entries: Copies) -> FileInstaller:
    """An installer with its backups beside."""
    return FileInstaller("web", entries, etc.parent / "displaced")


def pair_at(etc: Path, **options: object) -> Copies:
    """Key and chain as web.key and web.crt."""
    return Copies({"privkey": etc / "web.key", "fullchain": etc / "web.crt"}, **options)  # type: ignore[arg-type]


def install(target: FileInstaller, pair: pki.Pair = NEW, backup: str = "r1") -> None:
    """The pair's copies installed."""
    target.install(pair.key_pem, pair.fullchain_pem, backup)


def mode(path: Path) -> int:
    """A file's permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_every_shape_is_written_with_the_mode_for_what_is_in_it(etc: Path) -> None:
    """The key's for what holds a key, and the other for the rest."""
    shapes = ("privkey", "cert", "chain", "fullchain", "combined", "pkcs12")
    paths = {shape: etc / shape for shape in shapes}
    target = installer(etc, Copies(paths, mode=0o640, cert_mode=0o664))
    install(target)
    assert {shape: mode(path) for shape, path in paths.items()} == {
        "privkey": 0o640,
        "cert": 0o664,
        "chain": 0o664,
        "fullchain": 0o664,
        "combined": 0o640,
        "pkcs12": 0o640,
    }
    assert (etc / "combined").read_bytes() == NEW.key_pem + NEW.fullchain_pem
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)
    assert sorted(os.listdir(etc)) == sorted(shapes)


@pytest.mark.parametrize("shape", ["privkey", "combined", "pkcs12"])
def test_there_is_no_copy_of_a_key_that_is_elsewhere(etc: Path, shape: str) -> None:
    """As after a rollback to a generation of a csr that is not configured any more."""
    request = to_pem(read_request(signing_request(load(NEW.key_pem), ["a.test"]), what="csr"))
    target = installer(etc, Copies({shape: etc / "copy", "fullchain": etc / "web.crt"}))
    install(target, OLD)
    before = (etc / "copy").read_bytes()
    assert target.different(request, NEW.fullchain_pem) == f"{etc}/copy is of another pair"
    with pytest.raises(NeedsOperator, match="copy: the key is elsewhere"):
        target.install(request, NEW.fullchain_pem, "r2")
    assert (etc / "copy").read_bytes() == before


@ROOT_ONLY
@pytest.mark.parametrize("in_place", [False, True])
def test_owner_and_group_are_set_by_name_or_number(etc: Path, in_place: bool) -> None:
    """Wrong after every renewal where a tool forgets it (certbot #8070)."""
    (etc / "web.key").write_bytes(b"old")
    named = pair_at(etc, owner="daemon", group="mail", in_place=in_place)
    other = Copies({"cert": etc / "cert"}, owner="65533", in_place=in_place)
    group = Copies({"chain": etc / "chain"}, group="65532", in_place=in_place)
    target = installer(etc, named, other, group)
    raise_first(target.problems())
    install(target)
    who = {path.name: (path.owner(), path.group()) for path in (etc / "web.key", etc / "web.crt")}
    assert who == {"web.key": ("daemon", "mail"), "web.crt": ("daemon", "mail")}
    assert ((etc / "cert").stat().st_uid, (etc / "cert").stat().st_gid) == (65533, 0)
    assert ((etc / "chain").stat().st_uid, (etc / "chain").stat().st_gid) == (0, 65532)


@ROOT_ONLY
@pytest.mark.parametrize("in_place", [False, True])
def test_restoring_gives_back_content_mode_and_owner(etc: Path, in_place: bool) -> None:
    """Rollback restores, it never merely deletes."""
    key = etc / "web.key"
    key.write_bytes(b"not even a key")
    key.chmod(0o604)
    os.chown(key, 1, 8)
    target = installer(etc, pair_at(etc, owner="65533", mode=0o400, in_place=in_place))
    install(target)
    assert (mode(key), key.stat().st_uid) == (0o400, 65533)
    for _ in range(2):
        target.restore("r1")
        assert key.read_bytes() == b"not even a key"
        assert (mode(key), key.stat().st_uid, key.stat().st_gid) == (0o604, 1, 8)
        assert not (etc / "web.crt").exists()


def test_an_in_place_copy_keeps_the_inode_and_others_do_not(etc: Path) -> None:
    """A rename is invisible through a single-file bind mount (moby #22627)."""
    for in_place in (True, False):
        (etc / "web.key").write_bytes(b"x" * 10_000)
        before = (etc / "web.key").stat().st_ino
        os.link(etc / "web.key", etc.parent / f"{in_place}")  # or the number may be used again
        target = installer(etc, pair_at(etc, in_place=in_place))
        install(target, backup=f"r{in_place}")
        assert (etc / "web.key").read_bytes() == NEW.key_pem
        assert ((etc / "web.key").stat().st_ino == before) is in_place
        target.restore(f"r{in_place}")
        assert (etc / "web.key").read_bytes() == b"x" * 10_000
        assert ((etc / "web.key").stat().st_ino == before) is in_place


def test_a_planted_link_is_replaced_and_what_it_leads_to_is_not_touched(
    etc: Path, tmp_path: Path
) -> None:
    """In a directory an application owns, it leads to /etc/shadow (CVE-2016-1247)."""
    precious = tmp_path / "precious"
    precious.write_text("do not touch")
    (etc / "web.key").symlink_to(precious)
    (etc / "web.crt").symlink_to("nowhere")
    target = installer(etc, pair_at(etc))
    raise_first(target.problems())
    install(target)
    assert not (etc / "web.key").is_symlink()
    assert not (etc / "web.crt").is_symlink()
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)
    for _ in range(2):
        target.restore("r1")
        assert os.readlink(etc / "web.key") == str(precious)
        assert os.readlink(etc / "web.crt") == "nowhere"
    assert precious.read_text() == "do not touch"
    assert mode(precious) == 0o644


def test_a_link_to_the_right_content_is_not_an_installed_copy(etc: Path, tmp_path: Path) -> None:
    """Whoever may change what it leads to would choose the key."""
    target = installer(etc, pair_at(etc))
    install(target)
    (etc / "web.key").rename(tmp_path / "moved")
    (etc / "web.key").symlink_to(tmp_path / "moved")
    assert not target.installed(NEW.key_pem, NEW.fullchain_pem)


def test_a_different_copy_is_reported_with_what_it_is(etc: Path) -> None:
    """Gone, a link, or another pair's: three different things to do about it."""
    target = installer(etc, pair_at(etc))
    install(target)
    assert target.different(NEW.key_pem, NEW.fullchain_pem) is None
    assert target.different(OLD.key_pem, OLD.fullchain_pem) == f"{etc}/web.key is of another pair"
    (etc / "web.key").unlink()
    assert target.different(NEW.key_pem, NEW.fullchain_pem) == f"{etc}/web.key is gone"
    (etc / "web.key").symlink_to("elsewhere")
    assert target.different(NEW.key_pem, NEW.fullchain_pem) == f"{etc}/web.key is a symbolic link"


def test_a_copy_that_cannot_be_read_is_not_called_different() -> None:
    """Nobody knows what it is; what is to be mended is a right, not a certificate."""
    with plain_user() as home:
        (etc := home / "etc").mkdir()
        target = installer(etc, pair_at(etc))
        install(target)
        (etc / "web.key").chmod(0)
        with pytest.raises(DiskTrouble, match=rf"cannot read {etc}/web\.key: Permission denied"):
            target.different(NEW.key_pem, NEW.fullchain_pem)
        assert not target.installed(NEW.key_pem, NEW.fullchain_pem)


def test_temporary_files_of_a_crash_go_with_the_backup(etc: Path) -> None:
    """The copy itself may be right already, so that nothing is written again; this holds a key."""
    target = installer(etc, pair_at(etc))
    install(target)
    left = temporary_of(etc / "web.key")
    left.write_bytes(NEW.key_pem[:100])
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)
    target.forget("r1")
    assert not left.exists()
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)


def test_in_place_refuses_a_link_before_an_order(etc: Path) -> None:
    """To write through it would be to follow it."""
    (etc / "web.key").symlink_to("elsewhere")
    target = installer(etc, pair_at(etc, in_place=True))
    with pytest.raises(NeedsOperator, match=r"web\.key is a symbolic link"):
        raise_first(target.problems())
    with pytest.raises(DiskTrouble, match="Too many levels of symbolic links"):
        install(target)
    target.restore("r1")
    assert os.readlink(etc / "web.key") == "elsewhere"
    assert not (etc / "elsewhere").exists()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_moment_of_installing_can_be_undone_and_done_again(
    tmp_path: Path, in_place: bool, after: bool
) -> None:
    """Half of the old pair and half of the new one is an outage."""
    for moment in range(100):
        etc = tmp_path / str(moment) / "etc"
        etc.mkdir(parents=True)
        OLD.write(etc, "web")
        (etc / "web.crt").write_bytes(OLD.fullchain_pem)
        target = installer(etc, pair_at(etc, in_place=in_place))
        crashed = crash(partial(install, target), moment, after=after)
        target.restore("r1")
        assert target.installed(OLD.key_pem, OLD.fullchain_pem)
        assert sorted(os.listdir(etc)) == ["web.crt", "web.key"]
        crash(partial(install, target), moment, after=after)
        install(target)
        assert target.installed(NEW.key_pem, NEW.fullchain_pem)
        target.restore("r1")
        assert target.installed(OLD.key_pem, OLD.fullchain_pem)
        if not crashed:
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_moment_of_restoring_is_made_good_by_the_next(
    tmp_path: Path, after: bool
) -> None:
    """An undo may be cut off like anything else."""
    for moment in range(100):
        etc = tmp_path / str(moment) / "etc"
        etc.mkdir(parents=True)
        (etc / "web.key").write_bytes(OLD.key_pem)
        (etc / "combined").symlink_to("web.key")
        target = installer(etc, pair_at(etc), Copies({"combined": etc / "combined"}))
        install(target)
        crashed = crash(partial(target.restore, "r1"), moment, after=after)
        target.restore("r1")
        assert (etc / "web.key").read_bytes() == OLD.key_pem
        assert os.readlink(etc / "combined") == "web.key"
        assert not (etc / "web.crt").exists()
        if not crashed:
            return
    raise AssertionError("it never came to an end")


def test_a_copy_that_cannot_be_installed_is_found_before_the_first_copy(etc: Path) -> None:
    """A key that is replaced and a certificate that is not would be a mixed pair."""
    OLD.write(etc, "web")

    def locked() -> bytes:
        raise NeedsOperator("the vault is sealed")

    p12 = Copies({"pkcs12": etc / "web.p12"}, password=locked)
    for broken in (p12, Copies({"cert": etc / "cert"}, owner="no-such-user")):
        target = installer(etc, pair_at(etc), broken)
        with pytest.raises(NeedsOperator):
            raise_first(target.problems())  # before an order
        with pytest.raises(NeedsOperator):
            install(target)
        assert (etc / "web.key").read_bytes() == OLD.key_pem
        assert (etc / "web.crt").read_bytes() == OLD.fullchain_pem
        assert not (etc.parent / "displaced").exists()


@pytest.mark.parametrize("there", ["directory", "pipe", "huge"])
def test_a_foreign_file_at_a_path_is_neither_backed_up_nor_replaced(etc: Path, there: str) -> None:
    """It is not a copy of a certificate, and could not be put back."""
    path = etc / "web.crt"
    match there:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    target = installer(etc, pair_at(etc))
    with pytest.raises(InvalidInput):
        install(target)
    assert not target.installed(NEW.key_pem, NEW.fullchain_pem)
    assert not (etc / "web.key").exists()
    assert path.lstat()


def test_more_than_can_be_restored_is_not_replaced(etc: Path) -> None:
    """A backup that is too large to be read again would be none."""
    paths = {shape: etc / shape for shape in ("privkey", "cert", "chain", "fullchain")}
    for path in paths.values():
        path.write_bytes(b"x" * (4 * 1024 * 1024))
    target = installer(etc, Copies(paths))
    with pytest.raises(NeedsOperator, match="more than 16777216 bytes together"):
        install(target)
    assert (etc / "privkey").stat().st_size == 4 * 1024 * 1024
    (etc / "privkey").write_bytes(b"")
    (etc / "cert").write_bytes(b"")
    install(target)
    target.restore("r1")
    assert (etc / "chain").read_bytes() == b"x" * (4 * 1024 * 1024)


def test_a_backup_is_for_one_reader_alone(etc: Path) -> None:
    """It holds the old keys."""
    OLD.write(etc, "web")
    install(installer(etc, pair_at(etc)))
    folder = etc.parent / "displaced" / "r1"
    assert (mode(folder.parent), mode(folder)) == (0o700, 0o700)
    assert [(path.name, mode(path)) for path in folder.iterdir()] == [("manifest.json", 0o600)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"3",
        b"{}",
        b"[3]",
        b"[[]]",
        b'[{"path": "/x"}]',
        b'[{"path": 3, "content": null}]',
        b'[{"path": "/x", "link": null}]',
        b'[{"path": "/x", "content": "?", "mode": 384, "uid": 0, "gid": 0, "acl": null}]',
        b'[{"path": "/x", "content": "", "mode": "384", "uid": 0, "gid": 0, "acl": null}]',
        b'[{"path": "/x", "content": "", "mode": 384, "uid": 0, "gid": 0, "acl": 3}]',
    ],
)
def test_a_backup_that_cannot_be_read_is_the_operators_to_mend(etc: Path, content: bytes) -> None:
    """Nothing is put back by guessing."""
    target = installer(etc, pair_at(etc))
    install(target)
    (etc.parent / "displaced" / "r1" / "manifest.json").write_bytes(content)
    with pytest.raises(NeedsOperator, match=r"manifest\.json is not what certrotd wrote"):
        target.restore("r1")
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)


def test_a_backup_survives_a_changed_configuration(etc: Path) -> None:
    """What was replaced is put back, though it is no longer configured."""
    (etc / "web.key").write_bytes(b"old")
    install(installer(etc, pair_at(etc)))
    installer(etc, Copies({"cert": etc / "other"})).restore("r1")
    assert (etc / "web.key").read_bytes() == b"old"
    kept = json.loads((etc.parent / "displaced" / "r1" / "manifest.json").read_text())
    assert {entry["path"] for entry in kept} == {str(etc / "web.key"), str(etc / "web.crt")}


@pytest.mark.parametrize("password", [b"", b"secret"])
def test_pkcs12_is_installed_restored_and_known_again(etc: Path, password: bytes) -> None:
    """Its bytes differ at every writing."""
    path = etc / "web.p12"
    target = installer(etc, Copies({"pkcs12": path}, password=lambda: password))
    install(target)
    key, leaf, above = pkcs12.load_key_and_certificates(path.read_bytes(), password)
    assert key is not None
    assert leaf == NEW.certificate
    assert above == [*NEW.intermediates]
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)
    assert not target.installed(OLD.key_pem, OLD.fullchain_pem)
    first = path.read_bytes()
    install(target, OLD, backup="r2")
    assert target.installed(OLD.key_pem, OLD.fullchain_pem)
    target.restore("r2")
    assert path.read_bytes() == first
    run = subprocess.run(
        ["openssl", "pkcs12", "-in", str(path), "-noout", "-passin", "stdin"],
        input=password + b"\n",
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_certificate_without_copies_is_always_installed(etc: Path) -> None:
    """A certificate without copies."""
    target = installer(etc)
    raise_first(target.problems())
    install(target)
    assert target.installed(NEW.key_pem, NEW.fullchain_pem)
    target.restore("r1")
    target.forget("r1")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"paths": {"cert": "missing/web.crt"}}, "missing is not a directory"),
        ({"paths": {"cert": "file/web.crt"}}, "file is not a directory"),
        ({"paths": {"cert": "folder"}}, "folder is a directory"),
        ({"paths": {"cert": "folder"}, "in_place": True}, "folder is a directory"),
        (
            {"paths": {"cert": "web.crt"}, "owner": "no-such-user"},
            "user 'no-such-user' is not known",
        ),
        ({"paths": {"cert": "web.crt"}, "group": "no-such-group"}, "group 'no-such-group' is not"),
        ({"paths": {"cert": "web.crt"}, "owner": "²"}, "user '²' is not known"),
    ],
)
def test_the_check_says_what_would_fail(etc: Path, entry: dict[str, object], why: str) -> None:
    """Before an order is spent, with what would be right."""
    (etc / "file").write_text("")
    (etc / "folder").mkdir()
    written = entry.pop("paths")
    assert isinstance(written, dict)
    paths = {shape: etc / name for shape, name in written.items()}
    with pytest.raises(Failure, match=why) as refused:
        raise_first(installer(etc, pair_at(etc), Copies(paths, **entry)).problems())  # type: ignore[arg-type]
    assert refused.value.hint
    raise_first(installer(etc, pair_at(etc)).problems())


def test_the_check_knows_what_a_plain_user_may_not() -> None:
    """Files that are written in place need a right of their own, and their directory none."""
    with plain_user() as home:
        etc = home / "etc"
        etc.mkdir()
        (etc / "web.key").write_bytes(b"")
        (etc / "web.crt").write_bytes(b"")
        usual, in_place = installer(etc, pair_at(etc)), installer(etc, pair_at(etc, in_place=True))
        raise_first(usual.problems())
        raise_first(in_place.problems())
        etc.chmod(0o500)
        raise_first(in_place.problems())
        with pytest.raises(NeedsOperator, match=r"etc is not writable for user"):
            raise_first(usual.problems())
        with pytest.raises(DiskTrouble, match="Permission denied"):
            install(usual)
        install(in_place, backup="r2")
        (etc / "web.crt").chmod(0o400)
        with pytest.raises(NeedsOperator, match=r"web\.crt is not writable for user"):
            raise_first(in_place.problems())
        etc.chmod(0)
        with pytest.raises(Failure):
            raise_first(usual.problems())
        with pytest.raises(DiskTrouble, match="Permission denied"):
            install(usual, backup="r3")


def test_a_user_without_a_name_is_shown_by_number(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, the number may be all there is."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    with pytest.raises(NeedsOperator, match="is not writable for user 4000000000"):
        raise_first(installer(etc, pair_at(etc)).problems())
