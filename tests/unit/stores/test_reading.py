"""A look tells what is on disk: quickly while nobody touched it, rightly when somebody did."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.facts import facts_of
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing, TargetState
from certrotd.stores import wholeness
from certrotd.stores.digest import digested
from certrotd.stores.local import LocalStore
from certrotd.stores.reading import FILES, LIMIT
from tests.builders import META, NOW, OTHER_PAIR, PAIR, seal
from tests.parts import pki
from tests.unit.stores.unprivileged import plain_user

pytestmark = pytest.mark.usefixtures("unsynced", "one_live")


def good(pair: pki.Pair = PAIR, *, number: int = 1, meta: Meta | None = META) -> Generation:
    """What is known of a pair that can be used."""
    return Generation(number, meta, facts_of(pair.certificate))


def live(store: LocalStore) -> Generation:
    """The live generation as a look tells it."""
    generation = store.look("web").live
    assert generation is not None
    return generation


@pytest.fixture
def unparsed(one_live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test when a file of a generation is read."""

    def refuse(*_: object) -> None:
        raise AssertionError("a look read a file that nobody has touched")

    monkeypatch.setattr(wholeness, "examine", refuse)


@pytest.mark.usefixtures("unparsed")
def test_files_nobody_touched_are_not_parsed_again(store: LocalStore) -> None:
    """Ten thousand certificates are looked at in a second."""
    assert store.look("web") == Standing(good(), good(), CertificateState())
    seal(store, 2, OTHER_PAIR)
    assert store.look("web").newest == good(OTHER_PAIR, number=2)
    assert store.look("web").live == good()


def test_a_look_does_without_the_x509_library() -> None:
    """It takes longer to load than ten thousand looks may."""
    code = (
        "import sys; from pathlib import Path; from certrotd.stores.local import LocalStore\n"
        f"assert LocalStore(Path({str(Path.cwd())!r})).look('nobody').live is None\n"
        "print(*(name for name in sys.modules if name.startswith('cryptography')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Writes a document otherwise, as certrotd would."""
    known = json.loads(path.read_text())
    del known["digest"]
    path.write_bytes(digested(change(known)))


def lost(*, number: int = 1) -> Generation:
    """What is known of a whole pair without its meta.json."""
    facts = facts_of(PAIR.certificate)
    meta = Meta(facts.not_before, "adopted", facts.issuer, "", 0.0)
    return Generation(number, meta, facts, None, "meta.json is not what certrotd wrote")


def test_files_replaced_behind_its_back_are_the_pair_that_is_served(
    store: LocalStore, folder: Path
) -> None:
    """Somebody put another pair there, in an emergency; the rest of its files is put beside it."""
    (folder / "privkey.pem").write_bytes(OTHER_PAIR.key_pem)
    (folder / "fullchain.pem").write_bytes(OTHER_PAIR.fullchain_pem)
    found = live(store)
    assert found.facts == facts_of(OTHER_PAIR.certificate)
    assert found.meta is not None
    assert found.meta.origin == "adopted"
    assert found.damaged is not None
    assert found.damaged.startswith("somebody put another pair there; combined.pem is not of this")


@pytest.mark.parametrize("name", FILES)
def test_a_single_touched_file_is_noticed(store: LocalStore, folder: Path, name: str) -> None:
    """The same bytes under another inode, at another time or of another size are looked into."""
    rewrite(folder / "meta.json", lambda meta: {**meta, "sha256": {}})
    assert live(store) == good()
    copy = folder.parent / "copy"
    shutil.copy2(folder / name, copy)
    os.replace(copy, folder / name)
    assert live(store) != good()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"version": 1}',
        "pipe",
        "link",
        "directory",
    ],
)
def test_without_its_memory_a_generation_is_parsed(
    store: LocalStore, folder: Path, content: bytes | str | None
) -> None:
    """Losing meta.json loses when it was issued and by whom, and never the certificate."""
    path = folder / "meta.json"
    path.unlink()
    match content:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("privkey.pem")
        case "directory":
            path.mkdir()
        case bytes():
            path.write_bytes(content)
    assert live(store) == lost()


@pytest.mark.parametrize(
    "changes",
    [
        {"draw": 1.0},
        {"draw": -0.1},
        {"draw": float("nan")},
        {"draw": "much"},
        {"created": "yesterday"},
        {"created": "2026-06-01T12:00:00"},
        {"created": 5},
        {"asked": 7},
        {"facts": None},
        {"facts": {}},
        {"facts": {"names": []}},
        {"facts": "x"},
    ],
)
def test_a_memory_that_cannot_be_is_none(
    store: LocalStore, folder: Path, changes: dict[str, object]
) -> None:
    """A draw that is no number, or a date without a zone, would fail the decision."""
    rewrite(folder / "meta.json", lambda meta: {**meta, **changes})
    assert live(store) == lost()


def test_a_restored_backup_is_as_good_as_it_was(store: LocalStore, tmp_path: Path) -> None:
    """Other inodes and times, the same certificate (certmate #410)."""
    store.record("web", CertificateState({"web": TargetState(1, "ab", NOW)}))
    shutil.copytree(store.root, tmp_path / "backup", symlinks=True)
    restored = LocalStore(tmp_path / "backup")
    assert restored.look("web") == store.look("web")


def test_a_backup_that_followed_the_link_is_refused_and_not_guessed_at(
    store: LocalStore, tmp_path: Path
) -> None:
    """Then live is a directory of copies, and nobody knows of which generation."""
    shutil.copytree(store.root, tmp_path / "backup", symlinks=False)
    restored = LocalStore(tmp_path / "backup")
    with pytest.raises(NeedsOperator, match="live is not a symbolic link") as refused:
        restored.look("web")
    assert refused.value.hint == "move it away; certrotd creates its own"
    with pytest.raises(NeedsOperator):
        restored.live("web")


@pytest.mark.parametrize(
    "target",
    [
        "/etc/ssl",
        "../mail/generations/000001",
        "generations",
        "generations/1",
        "generations/000001/",
        "generations/0000001",
        "generations/latest",
        "generations/" + "1" * 13,
        "other/000001",
        "/generations/000001",
    ],
)
def test_a_link_that_points_elsewhere_is_refused(store: LocalStore, target: str) -> None:
    """Certrotd makes only one kind of link, and what somebody else's means is unknown."""
    link = store.root / "web" / "live"
    link.unlink()
    link.symlink_to(target)
    with pytest.raises(NeedsOperator, match="not at a generation"):
        store.look("web")


def test_a_link_to_a_generation_that_is_gone_is_a_broken_one(store: LocalStore) -> None:
    """It is renewed under a number of its own, and nothing is taken for live that is not."""
    link = store.root / "web" / "live"
    link.unlink()
    link.symlink_to("generations/000007")
    standing = store.look("web")
    assert standing.newest == good()
    assert standing.live == Generation(
        7,
        None,
        None,
        f"cannot read generation 000007: {store.root}/web/generations/000007: "
        "No such file or directory",
    )
    shutil.rmtree(store.root / "web" / "generations")
    assert store.look("web").newest is None
    assert live(store).broken


def test_without_the_link_nothing_is_live(store: LocalStore) -> None:
    """And the newest is told all the same."""
    (store.root / "web" / "live").unlink()
    assert store.look("web") == Standing(None, good(), CertificateState())


def test_only_numbered_directories_are_generations(store: LocalStore, folder: Path) -> None:
    """A copy somebody made beside them is nobody's newest."""
    for name in ("000002.bak", "3", "0000004", "x00005", "1" * 13, ".staging-000006", "000007\n"):
        shutil.copytree(folder, folder.parent / name)
    assert store.numbers("web") == [1]
    assert store.look("web").newest == good()
    seal(store, 1_000_000)
    assert store.numbers("web") == [1, 1_000_000]
    assert store.look("web").newest == good(number=1_000_000)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_in_place_of_a_generation_is_a_broken_one(
    store: LocalStore, folder: Path, kind: str
) -> None:
    """Its number is taken, so the next one is used; a link is not followed."""
    place = folder.with_name("000002")
    if kind == "file":
        place.write_text("")
    else:
        place.symlink_to("000001")
    newest = store.look("web").newest
    assert newest is not None
    assert newest.number == 2
    assert newest.facts is None
    assert newest.broken is not None
    assert newest.broken.startswith("cannot read generation 000002: ")


TARGET = '{"generation": 1, "fingerprint": "ab", "proven": "2026-06-01T12:00:00+00:00"}'
DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b"\xff",
    b"\0" * 200,
    b'{"targets": {}, "withdrawn": [], "held": "2026-06-01T12:00:00"}',
    b'{"targets": {}, "withdrawn": [{}], "held": null}',
    b'{"targets": {}, "withdrawn": "12", "held": null}',
    b'{"targets": {}, "withdrawn": [Infinity], "held": null}',
    f'{{"targets": {{"web": {TARGET}}}, "withdrawn": [true], "held": null}}'.encode(),
    f'{{"targets": {{"web": {TARGET.replace("1,", "1.5,")}}}, "withdrawn": []}}'.encode(),
    f'{{"targets": {{"web": {TARGET.replace(chr(34) + "ab" + chr(34), "7")}}}}}'.encode(),
    b" " * LIMIT + b'{"targets": {}, "withdrawn": [], "held": null}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_state_that_certrotd_did_not_write_is_reported_and_taken_for_none(
    store: LocalStore, content: bytes
) -> None:
    """It must not stand in the way of a renewal; a look leaves it as it is, and makes nothing."""
    folder = store.root / "web"
    (folder / "state.json").write_bytes(content)
    before = sorted(os.listdir(folder))
    found = store.look("web")
    assert found.state == CertificateState()
    assert found.damaged == f"{folder}/state.json is not a state that certrotd wrote"
    assert (sorted(os.listdir(folder)), (folder / "state.json").read_bytes()) == (before, content)


def test_an_intact_state_is_not_called_damaged(store: LocalStore) -> None:
    """The negative control."""
    store.record("web", CertificateState({"web": TargetState(1, "ab", NOW)}, (3,), NOW))
    assert store.look("web").damaged is None


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["targets", "withdrawn", "held", "generation"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_a_state_it_is_a_state_or_damaged(store: LocalStore, content: bytes) -> None:
    """No file of any content keeps a certificate from being looked at."""
    (store.root / "web" / "state.json").write_bytes(content)
    found = store.look("web")
    assert found.damaged is None or found.state == CertificateState()
    assert CertificateState.from_json(found.state.to_json()) == found.state


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_state_that_cannot_be_read_is_not_damaged(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It may be whole: to begin it anew would forget what was rolled back by hand."""
    store.record("web", CertificateState(withdrawn=(3,)))
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith("state.json"):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DiskTrouble, match=os.strerror(number)):
        store.look("web")


def test_a_state_in_the_place_of_a_link_is_not_followed(store: LocalStore, tmp_path: Path) -> None:
    """Nor is a directory read."""
    path = store.root / "web" / "state.json"
    path.symlink_to(tmp_path)
    with pytest.raises(DiskTrouble, match=r"cannot read .*state\.json"):
        store.look("web")
    path.unlink()
    path.mkdir()
    with pytest.raises(DiskTrouble, match="Is a directory"):
        store.look("web")


def test_a_state_larger_than_one_read_is_read_whole(store: LocalStore) -> None:
    """A certificate may have very many targets."""
    state = CertificateState(
        {f"target-{n:05d}": TargetState(n + 1, "ab" * 32, NOW) for n in range(2000)}
    )
    store.record("web", state)
    assert (store.root / "web" / "state.json").stat().st_size > 4 * 64 * 1024
    assert store.look("web").state == state


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES])
def test_a_machine_without_room_says_nothing_of_the_files(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Taken for a broken pair, it would cost an order for every certificate there is."""
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith(failing):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    failing = "000001"
    with pytest.raises(DiskTrouble, match=os.strerror(number)):
        store.look("web")
    failing = "meta.json"
    with pytest.raises(DiskTrouble, match=os.strerror(number)):
        store.look("web")
    with pytest.raises(DiskTrouble, match=os.strerror(number)):
        store.read("web", 1)
    (folder / "meta.json").unlink()
    failing = "privkey.pem"
    with pytest.raises(DiskTrouble, match=os.strerror(number)):
        store.look("web")


def test_a_disk_that_has_lost_a_file_says_it_of_the_pair(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a new certificate helps then."""
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith(("privkey.pem", "combined.pem")):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *args, **options)

    (folder / "meta.json").unlink()
    monkeypatch.setattr(os, "open", refuse)
    broken = live(store).broken
    assert broken is not None
    assert "Input/output error" in broken


def test_a_plain_user_can_look_but_not_read_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """`certrotd status` needs no root; a look into the files does, and says so."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith("privkey.pem"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **options)

    with plain_user() as directory:
        store = LocalStore(directory / "store")
        seal(store, 1)
        store.switch("web", 1)
        monkeypatch.setattr(os, "open", refuse)
        privkey = store.root / "web" / "generations" / "000001" / "privkey.pem"
        assert live(store) == good()
        os.utime(privkey)
        with pytest.raises(DiskTrouble, match=r"cannot read .*privkey\.pem: Permission denied"):
            store.look("web")
        (store.root / "web").chmod(0o300)
        (store.root / "web" / "generations").chmod(0o300)
        with pytest.raises(DiskTrouble, match=r"cannot read .*generations: Permission denied"):
            store.look("web")
        (store.root / "web").chmod(0)
        with pytest.raises(DiskTrouble, match="Permission denied"):
            store.live("web")
