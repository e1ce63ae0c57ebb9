"""The negative controls of this tier: what must not be left behind is seen where it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.found import Found
from tests.crash.scenarios import NAME, RENEWAL
from tests.parts import pki
from tests.parts.site import Site


@pytest.fixture(scope="module")
def site(memory: Path) -> Site:
    """Two generations, in order."""
    prepared = Site(memory / "found")
    RENEWAL.prepare(prepared)
    return prepared


@contextmanager
def changed(path: Path, content: bytes, mode: int = 0o600) -> Iterator[None]:
    """Writes a file, and puts things back."""
    before = (path.read_bytes(), path.stat().st_mode) if path.exists() else None
    path.write_bytes(content)
    path.chmod(mode)
    yield
    if before is None:
        path.unlink()
    else:
        path.write_bytes(before[0])
        path.chmod(before[1])


@pytest.fixture(autouse=True)
def in_order(site: Site) -> Iterator[None]:
    """Nothing is wrong before a test, nor after it."""
    assert [*Found(site).whole(RENEWAL), *Found(site).settled()] == []
    yield
    assert [*Found(site).whole(RENEWAL), *Found(site).settled()] == []


def test_a_key_of_another_certificate_is_seen(site: Site) -> None:
    """In the live generation, and in each of its shapes."""
    for name in ("privkey.pem", "combined.pem"):
        path = site.live(NAME) / name
        stray = pki.make_root().key_pem + (site.live(NAME) / "fullchain.pem").read_bytes()
        with changed(path, stray), pytest.raises(AssertionError, match="another certificate's"):
            list(Found(site).whole(RENEWAL))


def test_half_a_copy_is_seen(site: Site) -> None:
    """A file that a reader could have met while it was being written."""
    copy = site.directory / "etc" / "tls.pem"
    with (
        changed(copy, copy.read_bytes()[:100]),
        pytest.raises(AssertionError, match="of no generation"),
    ):
        list(Found(site).whole(RENEWAL))


def test_a_copy_of_another_generation_is_seen(site: Site) -> None:
    """Old beside new: no reload may follow that, and no run may end with it."""
    first = site.store / NAME / "generations" / "000001" / "fullchain.pem"
    with changed(site.directory / "etc" / "tls.pem", first.read_bytes()):
        assert any("copies are of {1, 2}" in each for each in Found(site).settled())


def test_a_pair_that_is_none_in_what_was_told_is_seen(site: Site) -> None:
    """A target that was told to read half-replaced copies."""
    log = site.directory / "told.log"
    stray = pki.make_root().key_pem + (site.live(NAME) / "fullchain.pem").read_bytes()
    with changed(log, stray + b"told\n"), pytest.raises(AssertionError, match="another"):
        list(Found(site).whole(RENEWAL))


@pytest.mark.parametrize(
    "left",
    [
        "state/certificates/web/.live.certrotd-tmp",
        "state/certificates/web/generations/.staging-000003",
        "state/certificates/web/generations/.trash-000001",
        "state/journal/certificate/web.jsonl",
        "etc/.tls.key.certrotd-tmp",
    ],
)
def test_what_is_left_behind_is_seen(site: Site, left: str) -> None:
    """Temporary files, stagings, what waits to be removed, an open journal."""
    with changed(site.directory / left, b""):
        assert list(Found(site).settled()) == [f"left behind: {[left]}"]


def test_a_key_that_others_can_read_is_seen(site: Site) -> None:
    """Wherever it is, and whatever the file is called."""
    with changed(site.directory / "state" / "notes", pki.make_root().key_pem, mode=0o640):
        assert any("readable by others" in each for each in Found(site).settled())


def test_a_generation_that_should_not_be_live_is_seen(site: Site) -> None:
    """The scenario says which may be."""
    elsewhere = replace(RENEWAL, old=7, new=8)
    assert any("generation 2 is live" in each for each in Found(site).whole(elsewhere))
