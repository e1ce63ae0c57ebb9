"""What somebody put where something of ours belongs is removed or told, never followed."""

import os
import stat
from pathlib import Path

import pytest

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.stores.local import LocalStore
from tests.builders import META, PAIR, seal, stage
from tests.unit.stores.conftest import generations

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory of somebody else's, with a pair and a file in it."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "privkey.pem").write_bytes(PAIR.key_pem)
    (directory / "fullchain.pem").write_bytes(PAIR.fullchain_pem)
    (directory / "precious").write_text("do not touch")
    return directory


def untouched(elsewhere: Path) -> bool:
    """Whether it is as it was."""
    return (
        sorted(os.listdir(elsewhere)) == ["fullchain.pem", "precious", "privkey.pem"]
        and (elsewhere / "privkey.pem").read_bytes() == PAIR.key_pem
        and stat.S_IMODE(elsewhere.stat().st_mode) == 0o755
    )


def plant(store: LocalStore, name: str, elsewhere: Path) -> Path:
    """A link out of the store under that name."""
    link = store.root / "web" / "generations" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    return link


def test_a_link_in_the_place_of_the_staging_is_removed_and_not_followed(
    store: LocalStore, elsewhere: Path
) -> None:
    """Followed, it would hand out the new key, or bring in somebody else's (CVE-2016-1247)."""
    link = plant(store, ".staging-000001", elsewhere)
    assert store.staged_key("web", 1) is None
    assert store.staged_chain("web", 1) is None
    with pytest.raises(NeedsOperator, match="is gone, and the key in it"):
        store.stage_chain("web", 1, b"x")
    with pytest.raises(NeedsOperator, match="is incomplete"):
        store.seal("web", 1, META)
    assert untouched(elsewhere)
    seal(store, 1)
    assert not link.is_symlink()
    assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
    assert untouched(elsewhere)


@pytest.mark.parametrize("clean", ["sweep", "discard", "prune"])
def test_cleaning_up_removes_a_link_and_not_what_it_leads_to(
    store: LocalStore, elsewhere: Path, clean: str
) -> None:
    """Followed, it would delete the files of somebody else."""
    name = {"sweep": ".trash-000009", "discard": ".staging-000001", "prune": "000001"}[clean]
    link = plant(store, name, elsewhere)
    seal(store, 5)
    store.switch("web", 5)
    match clean:
        case "sweep":
            store.sweep("web")
        case "discard":
            store.discard("web", 1)
        case _:
            plant(store, ".trash-000001", elsewhere)
            store.prune("web", 0, ())
    assert not link.is_symlink()
    assert generations(store) == ["000005"]
    assert untouched(elsewhere)


def test_a_link_in_the_place_of_a_generation_is_not_one(store: LocalStore, elsewhere: Path) -> None:
    """Neither sealed, nor read, nor made live, nor replaced; the next number is used."""
    seal(store, 1)
    plant(store, "000002", elsewhere)
    assert not store.sealed("web", 2)
    with pytest.raises(NeedsOperator, match="is not a generation's directory"):
        store.read("web", 2)
    with pytest.raises(NeedsOperator, match="does not exist"):
        store.switch("web", 2)
    newest = store.look("web").newest
    assert newest is not None
    assert newest.number == 2
    assert newest.facts is None
    stage(store, 2)
    with pytest.raises(DiskTrouble, match="cannot rename"):
        store.seal("web", 2, META)
    assert untouched(elsewhere)
    seal(store, 3)
    assert store.sealed("web", 3)


def test_a_link_in_the_place_of_a_staged_file_is_replaced(
    store: LocalStore, elsewhere: Path
) -> None:
    """The key must not be written where it leads."""
    stage(store, 1)
    staging = store.root / "web" / "generations" / ".staging-000001"
    (staging / "cert.pem").symlink_to(elsewhere / "precious")
    (staging / "meta.json").symlink_to(elsewhere / "precious")
    store.seal("web", 1, META)
    assert untouched(elsewhere)
    assert (elsewhere / "precious").read_text() == "do not touch"


def test_an_old_generation_that_cannot_be_removed_does_not_keep_the_others(
    store: LocalStore,
) -> None:
    """Somebody put a directory of their own into an old generation; the keys go all the same."""
    for number in range(1, 5):
        seal(store, number)
    store.switch("web", 4)
    generations_of = store.root / "web" / "generations"
    (generations_of / "000001" / "a").mkdir()
    (generations_of / "000001" / "z").mkdir()
    (generations_of / "000001" / "a" / "precious").write_text("do not touch")
    with pytest.raises(DiskTrouble, match="cannot remove"):
        store.prune("web", 1, ())
    assert generations(store) == [".trash-000001", "000003", "000004"]
    assert sorted(os.listdir(generations_of / ".trash-000001")) == ["a", "z"]
    (generations_of / ".trash-000009").mkdir()
    with pytest.raises(DiskTrouble, match="trash-000001"):
        store.sweep("web")
    assert generations(store) == [".trash-000001", "000003", "000004"]
    assert (generations_of / ".trash-000001" / "a" / "precious").exists()


def test_a_rest_that_is_no_directory_is_removed(store: LocalStore) -> None:
    """It must not stop every rotation from now on."""
    seal(store, 1)
    (store.root / "web" / "generations" / ".staging-000002").write_text("")
    (store.root / "web" / ".state.json.certrotd-tmp").write_text("")
    store.sweep("web")
    assert generations(store) == ["000001"]
    assert sorted(os.listdir(store.root / "web")) == ["generations"]
