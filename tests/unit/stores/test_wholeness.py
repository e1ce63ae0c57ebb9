"""Files of a generation that are lost or damaged: found, told, and put back without an order."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest

from certrotd.errors import NeedsOperator
from certrotd.pki import request
from certrotd.pki.facts import facts_of
from certrotd.pki.generation import PLACEHOLDER, Generation
from certrotd.pki.keys import KeyType, generate, load, signing_request, to_pem
from certrotd.pki.placeholder import self_signed
from certrotd.stores.local import LocalStore
from certrotd.stores.reading import FILES, KEYLESS
from tests.builders import META, NOW, OTHER_PAIR, PAIR, seal
from tests.unit.stores.crashing import crash

pytestmark = pytest.mark.usefixtures("unsynced", "one_live")


def live(store: LocalStore, *, thorough: bool = False) -> Generation:
    """The live generation as a look tells it."""
    generation = store.look("web", thorough=thorough).live
    assert generation is not None
    return generation


def contents(folder: Path) -> dict[str, bytes]:
    """What is in the files of a generation, but for meta.json."""
    return {name: (folder / name).read_bytes() for name in FILES}


def flip(path: Path, at: int = 200) -> None:
    """One bit of a file, with size and time of the last writing kept."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def plant(what: str) -> Callable[[Path], None]:
    """Something else in the place of a file."""

    def act(path: Path) -> None:
        path.unlink()
        match what:
            case "link":
                (path.parent.parent / "elsewhere").write_bytes(b"precious")
                path.symlink_to("../elsewhere")
            case "pipe":
                os.mkfifo(path)
            case "empty":
                path.touch()
            case "huge":
                path.write_bytes(b"x" * (4 * 1024 * 1024 + 1))

    return act


HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "gone": (Path.unlink, "is missing"),
    "a flipped bit": (flip, "differs from what was sealed"),
    "emptied": (plant("empty"), "differs from what was sealed"),
    "a link": (plant("link"), "is a symbolic link"),
    "a pipe": (plant("pipe"), "is not a regular file"),
    "huge": (plant("huge"), "is far too large"),
}


@pytest.mark.parametrize(("harm", "what"), HARMS.values(), ids=HARMS)
@pytest.mark.parametrize("name", FILES)
def test_every_damaged_file_is_reported_and_restored(
    store: LocalStore, folder: Path, name: str, harm: Callable[[Path], None], what: str
) -> None:
    """The look of every listing sees it, and no order is needed; what a link leads to stays."""
    before = contents(folder)
    harm(folder / name)
    found = live(store)
    assert found.facts == facts_of(PAIR.certificate)
    assert found.meta == META
    assert found.damaged == f"{name} {what}"
    assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
    store.rebuild("web", 1)
    assert contents(folder) == before
    assert live(store) == Generation(1, META, facts_of(PAIR.certificate))
    for each in FILES:
        wanted = 0o600 if each in ("privkey.pem", "combined.pem") else 0o644
        assert stat.S_IMODE((folder / each).lstat().st_mode) == wanted
    if what == "is a symbolic link":
        assert (folder.parent / "elsewhere").read_bytes() == b"precious"


@pytest.mark.parametrize("name", FILES)
def test_a_bit_that_the_disk_lost_is_found_by_a_thorough_look(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No stamp of the file changes then: only its content tells."""
    flip(folder / name)
    told = json.loads((folder / "meta.json").read_text())
    monkeypatch.setattr("certrotd.stores.reading._stamps", lambda *_: told["files"])
    assert live(store).damaged is None
    assert live(store, thorough=True).damaged == f"{name} differs from what was sealed"
    assert store.generation("web", 1).damaged == f"{name} differs from what was sealed"


ENOUGH = (
    {"privkey.pem", "fullchain.pem"},
    {"combined.pem"},
    {"privkey.pem", "cert.pem", "chain.pem"},
)


@pytest.mark.parametrize("count", range(1, len(FILES) + 1))
def test_the_remaining_files_suffice_if_they_hold_the_key_and_the_chain(
    store: LocalStore, folder: Path, count: int
) -> None:
    """Whichever files are lost; with too few of them it is broken, and says what is missing."""
    before = contents(folder)
    for gone in combinations(FILES, count):
        for name in gone:
            (folder / name).unlink()
        found, words = live(store), ", ".join(f"{name} is missing" for name in gone)
        if any(enough.isdisjoint(gone) for enough in ENOUGH):
            assert found.damaged == words
            store.rebuild("web", 1)
            assert contents(folder) == before
        else:
            assert (found.facts, found.broken, found.damaged) == (None, words, None)
            assert found.meta == META
            with pytest.raises(NeedsOperator, match="cannot be used"):
                store.rebuild("web", 1)
            for name in gone:
                (folder / name).write_bytes(before[name])
            (folder / "privkey.pem").chmod(0o600)


@pytest.mark.parametrize("name", ["privkey.pem", "fullchain.pem"])
def test_a_part_of_another_pair_is_not_believed(store: LocalStore, folder: Path, name: str) -> None:
    """A key beside somebody else's certificate is no pair; the sealed one is put back."""
    other = OTHER_PAIR.key_pem if name == "privkey.pem" else OTHER_PAIR.fullchain_pem
    (folder / name).write_bytes(other)
    assert live(store).damaged == f"{name} differs from what was sealed"
    for each in ("combined.pem", "cert.pem"):
        (folder / each).unlink()
    broken = live(store).broken
    assert broken is not None
    assert f"{name} differs from what was sealed" in broken


def test_two_parts_that_do_not_belong_together_are_no_pair(store: LocalStore, folder: Path) -> None:
    """Whoever put them there."""
    for name in ("combined.pem", "cert.pem"):
        (folder / name).unlink()
    (folder / "privkey.pem").write_bytes(OTHER_PAIR.key_pem)
    (folder / "fullchain.pem").write_bytes(PAIR.fullchain_pem + b"\n")
    found = live(store)
    assert found.facts is None
    assert found.meta == META
    assert found.broken is not None


def test_a_pair_that_somebody_put_there_is_completed(store: LocalStore, folder: Path) -> None:
    """Readers of the other files get the same one; who issued it is not pretended to be known."""
    (folder / "privkey.pem").write_bytes(OTHER_PAIR.key_pem)
    (folder / "fullchain.pem").write_bytes(OTHER_PAIR.fullchain_pem)
    store.rebuild("web", 1)
    assert (folder / "combined.pem").read_bytes() == OTHER_PAIR.key_pem + OTHER_PAIR.fullchain_pem
    found = live(store)
    assert (found.facts, found.damaged) == (facts_of(OTHER_PAIR.certificate), None)
    assert found.meta is not None
    assert (found.meta.origin, found.meta.authority) == ("adopted", "")


@pytest.mark.parametrize("at", [20, 300, -30])
def test_a_flipped_bit_in_what_is_remembered_is_found(
    store: LocalStore, folder: Path, at: int
) -> None:
    """In the year of its end, it would not be renewed for a thousand years."""
    path = folder / "meta.json"
    flip(path, at % path.stat().st_size)
    found = live(store)
    assert found.facts == facts_of(PAIR.certificate)
    assert found.damaged == "meta.json is not what certrotd wrote"
    store.rebuild("web", 1)
    found = live(store)
    assert found.damaged is None
    assert found.meta is not None
    assert found.meta.origin == "adopted"


def test_without_what_is_remembered_the_other_files_are_compared_with_the_pair(
    store: LocalStore, folder: Path
) -> None:
    """A backup that left meta.json out may have left out more."""
    (folder / "meta.json").unlink()
    (folder / "privkey.pem").unlink()
    flip(folder / "chain.pem")
    assert live(store).damaged == (
        "meta.json is not what certrotd wrote, privkey.pem is missing, "
        "chain.pem is not of this pair"
    )
    (folder / "combined.pem").unlink()
    assert live(store).broken == "privkey.pem is missing, combined.pem is missing"


def test_a_placeholder_stays_one_without_what_is_remembered(store: LocalStore) -> None:
    """Ten years of a certificate that nobody trusts are not to be waited for."""
    key = generate(KeyType.ECDSA_P256)
    store.stage_key("web", 2, to_pem(key))
    store.stage_chain("web", 2, self_signed(key, ["a.example.test"], now=NOW))
    store.seal("web", 2, replace(META, origin=PLACEHOLDER))
    store.switch("web", 2)
    (store.root / "web" / "live" / "meta.json").unlink()
    assert live(store).placeholder
    store.rebuild("web", 2)
    assert live(store).placeholder


def test_a_generation_that_becomes_live_is_intact(store: LocalStore, folder: Path) -> None:
    """Also one that is gone back to, by hand or by an undo."""
    seal(store, 2)
    store.switch("web", 2)
    (folder / "combined.pem").unlink()
    store.switch("web", 1)
    assert live(store, thorough=True) == Generation(1, META, facts_of(PAIR.certificate))


def test_a_directory_in_the_place_of_a_file_is_the_operators_to_move(
    store: LocalStore, folder: Path
) -> None:
    """It may hold something; the other files are put back by the next run."""
    (folder / "cert.pem").unlink()
    (folder / "cert.pem").mkdir()
    assert live(store).damaged == "cert.pem is a directory"
    with pytest.raises(NeedsOperator, match=r"cert\.pem is a directory") as refused:
        store.rebuild("web", 1)
    assert refused.value.hint == "move it away"


def test_files_of_a_restored_backup_are_read_until_they_are_known_again(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other inodes and times: a rotation takes note of them, and looks are quick again."""
    shutil.copytree(store.root, tmp_path / "backup", symlinks=True)
    restored = LocalStore(tmp_path / "backup")
    assert live(restored) == live(store)
    restored.rebuild("web", 1)
    monkeypatch.setattr("certrotd.stores.wholeness.examine", None)
    assert live(restored) == live(store)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_during_a_repair_leaves_each_file_damaged_or_restored(
    store: LocalStore, folder: Path, after: bool
) -> None:
    """A reader never meets something new, and the next run goes on."""
    whole = contents(folder)
    for moment in range(200):
        flip(folder / "privkey.pem")
        hurt = (folder / "privkey.pem").read_bytes()
        flip(folder / "cert.pem")
        crashed = crash(partial(store.rebuild, "web", 1), moment, after=after)
        assert (folder / "privkey.pem").read_bytes() in (hurt, whole["privkey.pem"])
        store.rebuild("web", 1)
        assert contents(folder) == whole
        assert live(store) == Generation(1, META, facts_of(PAIR.certificate))
        if not crashed:
            assert moment > 10
            return
    raise AssertionError("it never came to an end")


def test_each_file_of_a_request_can_be_lost(tmp_path: Path) -> None:
    """No service reads the request, so its loss must not cost an order."""
    made = signing_request(load(PAIR.key_pem), ["a.test"])
    csr = request.to_pem(request.read_request(made, what="csr"))
    for lost in (*KEYLESS, "meta.json"):
        store = LocalStore(tmp_path / lost)
        store.stage_key("web", 1, csr)
        store.stage_chain("web", 1, PAIR.fullchain_pem)
        store.seal("web", 1, replace(META, request="digest"))
        store.switch("web", 1)
        folder = tmp_path / lost / "web" / "generations" / "000001"
        assert {each.name for each in folder.iterdir()} == {*KEYLESS, "meta.json"}
        (folder / lost).unlink()
        assert lost in str(live(store).damaged)
        store.rebuild("web", 1)
        again = live(store, thorough=True)
        assert again.damaged is None
        assert again.meta is not None
        assert again.meta.request == (request.digest(csr) if lost == "meta.json" else "digest")
        assert store.read("web", 1) == (csr, PAIR.fullchain_pem)
