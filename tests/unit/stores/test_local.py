"""Generations are written whole or not at all."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import CertificateState
from certrotd.stores.local import LocalStore
from tests.builders import META, PAIR, seal, stage
from tests.unit.stores.conftest import generations
from tests.unit.stores.crashing import crash
from tests.unit.stores.unprivileged import plain_user

FILES = {
    "privkey.pem": 0o600,
    "combined.pem": 0o600,
    "cert.pem": 0o644,
    "chain.pem": 0o644,
    "fullchain.pem": 0o644,
    "meta.json": 0o644,
}
pytestmark = pytest.mark.usefixtures("unsynced")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """The process's umask, for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o077, 0o000, 0o777])
def test_the_modes_of_all_files_are_as_they_should_be_whatever_the_umask(
    store: LocalStore, mask: int
) -> None:
    """Keys for one reader alone, certificates for everybody (certbot #1473)."""
    with umask(mask):
        seal(store, 1)
        store.switch("web", 1)
        store.record("web", CertificateState())
        stage(store, 2)
    folder = store.root / "web" / "generations" / "000001"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == FILES
    assert stat.S_IMODE((store.root / "web" / "state.json").stat().st_mode) == 0o644
    staged = folder.with_name(".staging-000002") / "privkey.pem"
    assert stat.S_IMODE(staged.stat().st_mode) == 0o600
    for each in (store.root, store.root / "web", folder.parent, folder):
        assert stat.S_IMODE(each.stat().st_mode) == 0o755


def test_a_generation_has_the_shapes_servers_read(store: LocalStore) -> None:
    """Under the names certbot made common, and HAProxy's key before the chain."""
    seal(store, 1)
    store.switch("web", 1)
    live = store.root / "web" / "live"
    assert os.readlink(live) == "generations/000001"
    leaf, *above = PAIR.fullchain_pem.split(b"-----BEGIN", 2)[1:]
    assert (live / "privkey.pem").read_bytes() == PAIR.key_pem
    assert (live / "fullchain.pem").read_bytes() == PAIR.fullchain_pem
    assert (live / "cert.pem").read_bytes() == b"-----BEGIN" + leaf
    assert (live / "chain.pem").read_bytes() == b"".join(b"-----BEGIN" + each for each in above)
    assert (live / "combined.pem").read_bytes() == PAIR.key_pem + PAIR.fullchain_pem


def test_the_metadata_of_a_generation_is_readable_by_everybody(store: LocalStore) -> None:
    """And holds no secret: everybody may read it."""
    seal(store, 1)
    text = (store.root / "web" / "generations" / "000001" / "meta.json").read_text()
    known = json.loads(text)
    assert known["generation"] == 1
    assert known["facts"]["names"] == ["a.example.test"]
    assert set(known["sha256"]) == set(FILES) - {"meta.json"}
    assert not any(line in text for line in PAIR.key_pem.decode().splitlines()[1:-1])


def test_a_key_in_der_and_a_chain_with_words_between_are_kept_as_servers_read_them(
    store: LocalStore,
) -> None:
    """An adopted pair is as somebody else's tool left it."""
    der = PAIR.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store.stage_key("web", 1, der)
    store.stage_chain("web", 1, b"subject=a\r\n" + PAIR.fullchain_pem.replace(b"\n", b"\r\n"))
    store.seal("web", 1, META)
    assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
    privkey = store.root / "web" / "generations" / "000001" / "privkey.pem"
    assert stat.S_IMODE(privkey.stat().st_mode) == 0o600


def test_a_chain_that_is_none_is_not_sealed_and_stays_staged(store: LocalStore) -> None:
    """The caller has verified it; this is the last gate all the same."""
    store.stage_key("web", 1, PAIR.key_pem)
    store.stage_chain("web", 1, b"<html>")
    with pytest.raises(InvalidInput, match="the staged chain has no certificate"):
        store.seal("web", 1, META)
    assert generations(store) == [".staging-000001"]


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_moment_of_sealing_leaves_it_sealed_or_as_it_was_staged(
    tmp_path: Path, after: bool
) -> None:
    """An issued certificate is never lost: whatever is left, sealing again succeeds."""
    for moment in range(200):
        store = LocalStore(tmp_path / str(moment))
        stage(store, 1)
        crashed = crash(partial(store.seal, "web", 1, META), moment, after=after)
        found = LocalStore(store.root)
        if not found.sealed("web", 1):
            assert found.look("web").newest is None
            assert found.staged_key("web", 1) == PAIR.key_pem
            assert found.staged_chain("web", 1) == PAIR.fullchain_pem
            found.seal("web", 1, META)
        assert generations(found) == ["000001"]
        assert found.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
        newest = found.look("web").newest
        assert newest is not None
        assert newest.facts is not None
        assert newest.meta == META
        folder = store.root / "web" / "generations" / "000001"
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == FILES
        if not crashed:
            assert moment > 20
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_staging_in_other_bytes_loses_nothing_either(
    tmp_path: Path, after: bool
) -> None:
    """Where the files have to be rewritten, they are replaced whole."""
    chain = PAIR.fullchain_pem.replace(b"\n", b"\r\n")
    for moment in range(200):
        store = LocalStore(tmp_path / str(moment))
        store.stage_key("web", 1, PAIR.key_pem.rstrip())
        store.stage_chain("web", 1, chain)
        crashed = crash(partial(store.seal, "web", 1, META), moment, after=after)
        found = LocalStore(store.root)
        if not found.sealed("web", 1):
            assert found.staged_key("web", 1) in (PAIR.key_pem, PAIR.key_pem.rstrip())
            assert found.staged_chain("web", 1) in (PAIR.fullchain_pem, chain)
            found.seal("web", 1, META)
        assert found.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
        if not crashed:
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_moment_of_switching_leaves_the_old_or_the_new(
    tmp_path: Path, after: bool
) -> None:
    """There is no moment without a live pair."""
    for moment in range(50):
        store = LocalStore(tmp_path / str(moment))
        seal(store, 1)
        seal(store, 2)
        store.switch("web", 1)
        crashed = crash(partial(store.switch, "web", 2), moment, after=after)
        assert store.live("web") in (1, 2)
        store.sweep("web")
        store.switch("web", 2)
        assert sorted(os.listdir(store.root / "web")) == ["generations", "live"]
        if not crashed:
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_moment_of_pruning_leaves_no_half_generation(
    tmp_path: Path, after: bool
) -> None:
    """One that is half gone would be shown as broken, or rolled back to."""
    for moment in range(100):
        store = LocalStore(tmp_path / str(moment))
        for number in (1, 2, 3):
            seal(store, number)
        store.switch("web", 3)
        crashed = crash(partial(store.prune, "web", 0, ()), moment, after=after)
        for number in store.numbers("web"):
            assert store.generation("web", number).broken is None
        store.sweep("web")
        store.prune("web", 0, ())
        assert generations(store) == ["000003"]
        if not crashed:
            return
    raise AssertionError("it never came to an end")


def test_what_others_keep_beside_a_certificate_is_not_removed_with_it(store: LocalStore) -> None:
    """Only what certrotd made is known to be of no use to anybody."""
    seal(store, 1)
    store.switch("web", 1)
    store.record("web", CertificateState())
    base = store.root / "web"
    (base / ".state.json.certrotd-tmp").touch()
    (base / "displaced" / "rotation").mkdir(parents=True)  # with old keys
    (base / "displaced" / "rotation" / "manifest.json").touch()
    (base / "dhparam.pem").touch()
    (base / "notes").mkdir()
    (base / "notes" / "todo").touch()
    store.remove("web")
    assert sorted(each.name for each in base.iterdir()) == ["dhparam.pem", "notes"]
    assert (base / "notes" / "todo").exists()
    assert store.names() == []


def test_every_file_is_synced_before_it_counts(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure keeps only what was synced: each file, then its directory, then the name."""
    events: list[str] = []
    rename = os.rename

    def note_sync(handle: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)

    def note_rename(source: Any, target: Any, **options: Any) -> None:
        events.append(f"{Path(source).name} -> {Path(target).name}")
        rename(source, target, **options)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    store.stage_key("web", 1, PAIR.key_pem)
    assert events[-2:] == ["privkey.pem", ".staging-000001"]
    assert "generations" in events
    store.stage_chain("web", 1, PAIR.fullchain_pem)
    assert events[-2:] == ["fullchain.pem", ".staging-000001"]
    del events[:]
    store.seal("web", 1, META)
    assert events == [
        "cert.pem",
        "chain.pem",
        "combined.pem",
        "meta.json",
        ".staging-000001",
        ".staging-000001 -> 000001",
        "generations",
    ]
    del events[:]
    store.switch("web", 1)
    assert events == [".live.certrotd-tmp -> live", "web"]


def test_a_check_leaves_nothing_behind(store: LocalStore) -> None:
    """Nor is it confused by what a killed one left."""
    store.check("web")
    assert generations(store) == []
    (store.root / "web" / "generations" / ".staging-check").write_bytes(b"x")
    store.check("web")
    assert generations(store) == []


def test_a_check_refuses_what_stands_where_the_link_belongs(store: LocalStore) -> None:
    """Else it is found at the swap, when an order has been spent."""
    (store.root / "web" / "live").mkdir(parents=True)
    with pytest.raises(NeedsOperator, match="live is not a symbolic link"):
        store.check("web")


def test_a_directory_that_cannot_be_written_is_reported_by_the_check() -> None:
    """Before an order is spent, with what would be right."""
    with plain_user() as directory:
        store = LocalStore(directory / "store")
        store.check("web")
        (directory / "store" / "web" / "generations").chmod(0o500)
        with pytest.raises(DiskTrouble, match="Permission denied") as refused:
            store.check("web")
        assert refused.value.hint == "give the user certrotd runs as the right to do so"
        with pytest.raises(DiskTrouble, match="Permission denied"):
            stage(store, 1)
        directory.chmod(0o500)
        with pytest.raises(DiskTrouble, match="Permission denied"):
            LocalStore(directory / "other").check("web")


def test_a_file_in_the_place_of_a_directory_is_reported(store: LocalStore) -> None:
    """Whatever made it."""
    store.root.mkdir()
    (store.root / "web").write_text("")
    for act in (
        lambda: store.check("web"),
        lambda: store.look("web"),
        lambda: store.numbers("web"),
        lambda: store.sweep("web"),
        lambda: stage(store, 1),
    ):
        with pytest.raises(DiskTrouble, match="Not a directory"):
            act()


def test_files_that_are_gone_are_reported(store: LocalStore) -> None:
    """A generation somebody cleaned up by hand is nothing to deploy."""
    seal(store, 1)
    for name in ("fullchain.pem", "combined.pem", "chain.pem"):
        (store.root / "web" / "generations" / "000001" / name).unlink()
    why = r"000001 cannot be used: fullchain\.pem is missing, combined\.pem is missing"
    for act in (store.read, store.rebuild, store.switch):
        with pytest.raises(NeedsOperator, match=why):
            act("web", 1)


class TestExposed:
    """Who else may use the key, and the command that ends that."""

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
    @pytest.mark.parametrize("file", ["privkey.pem", "combined.pem"])
    def test_any_right_of_others_is_reported(self, store: LocalStore, file: str, mode: int) -> None:
        """Each of both files holds the key."""
        seal(store, 1)
        path = store.root / "web" / "generations" / "000001" / file
        path.chmod(mode)
        words = f"others than its owner may use {path} (chmod 600 {path})"
        assert store.exposed("web", 1) == [words]
        path.chmod(0o400)
        assert store.exposed("web", 1) == []

    def test_the_certificates_are_for_everybody(self, store: LocalStore) -> None:
        """They are sent to every client."""
        seal(store, 1)
        for file in ("fullchain.pem", "cert.pem", "chain.pem"):
            (store.root / "web" / "generations" / "000001" / file).chmod(0o666)
        assert store.exposed("web", 1) == []

    @pytest.mark.parametrize("kind", ["link", "directory"])
    def test_a_key_that_is_no_file_any_more_is_never_to_be_chmodded(
        self, store: LocalStore, tmp_path: Path, kind: str
    ) -> None:
        """chmod follows a link: here it would be another file's mode that changes."""
        seal(store, 1)
        path = store.root / "web" / "generations" / "000001" / "privkey.pem"
        path.unlink()
        if kind == "link":
            path.symlink_to(tmp_path)
        else:
            path.mkdir()
        assert not any("chmod 600" in words for words in store.exposed("web", 1))
        damaged = store.generation("web", 1).damaged
        assert damaged is not None
        assert damaged.startswith("privkey.pem is a ")

    def test_a_directory_that_others_may_write_is_reported(self, store: LocalStore) -> None:
        """They could put another key there."""
        seal(store, 1)
        folder = store.root / "web" / "generations" / "000001"
        folder.chmod(0o775)
        [words] = store.exposed("web", 1)
        assert (
            words == f"others than its owner may replace what is in {folder} (chmod go-w {folder})"
        )

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    @pytest.mark.parametrize("file", ["privkey.pem", "combined.pem", "."])
    def test_a_changed_owner_is_reported_with_the_command_that_corrects_it(
        self, store: LocalStore, file: str
    ) -> None:
        """Somebody's chown -R: whoever owns a file may give himself every right to it."""
        seal(store, 1)
        path = store.root / "web" / "generations" / "000001" / file
        os.chown(path, 12345, -1)
        [words] = store.exposed("web", 1)
        base = store.root / "web"
        assert words == f"{path} belongs to 12345, {base} to root (chown root {path})"
        os.chown(path, 0, 12345)
        assert store.exposed("web", 1) == []

    def test_a_file_that_cannot_be_checked_is_reported(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not taken for safe."""
        seal(store, 1)

        def refuse(_path: Path) -> os.stat_result:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "lstat", refuse)
        with pytest.raises(DiskTrouble, match="Permission denied"):
            store.exposed("web", 1)
