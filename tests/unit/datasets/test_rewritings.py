"""What rewriting objects of a cluster proves of the keys they are under."""

from __future__ import annotations

import pytest

from certrotd.datasets.rewritings import (
    Counted,
    Known,
    Listed,
    Rewriting,
    begun,
    counted,
    ended,
    parse,
    render,
    tried,
)

ALL = "secrets"


def census(
    known: Known, *revisions: int, versions: tuple[int, ...] = (1, 2), at: int = 99
) -> Counted:
    """Of objects with these revisions, under the last of the versions."""
    seen = [Listed(f"ns/{number}", each) for number, each in enumerate(revisions)]
    return counted(seen, known.get(ALL, {}), versions, versions[-1], at)


def test_before_any_pass_objects_count_for_the_key_before() -> None:
    """Of two; of one key there is no other, and of three nobody knows which."""
    assert census({}, 5, 6) == Counted({1: 2}, 0)
    assert census({}, 5, 6, versions=(1,)) == Counted({1: 2}, 0)
    assert census({}, 5, 6, versions=(1, 2, 3)) == Counted({}, 2)


def test_a_pass_that_goes_on_proves_what_was_written_since_it_began() -> None:
    """And nothing else: an acknowledgement of an object that was not written has no revision."""
    known = begun({}, ALL, 2, 10)
    assert census(known, 9, 10, 11) == Counted({1: 2, 2: 1}, 0)


def test_a_pass_at_its_end_proves_all_but_what_failed_and_was_not_written_since() -> None:
    """An object that failed, and has another revision now, was written after the pass began."""
    known = tried(begun({}, ALL, 2, 10), ALL, 2, {"ns/1": 8, "ns/2": 9, "ns/0": None})
    known = ended(known, ALL, 2, 20)
    assert census(known, 5, 8, 15, 30) == Counted({1: 1, 2: 3}, 0)
    again = ended(tried(known, ALL, 2, {"ns/1": None}), ALL, 2, 40)
    assert census(again, 5, 8) == Counted({2: 2}, 0)


def test_a_pass_comes_again_without_taking_away_what_was_proven() -> None:
    """Also one that was killed: it goes on from its first beginning."""
    once = ended(begun({}, ALL, 2, 10), ALL, 2, 20)
    assert begun(once, ALL, 2, 30) is once
    unfinished = begun({}, ALL, 2, 10)
    assert begun(unfinished, ALL, 2, 30) is unfinished


def test_an_etcd_that_was_restored_proves_nothing_until_a_pass_came_again() -> None:
    """Its revision is less than what was seen already."""
    known = ended(begun({}, ALL, 2, 10), ALL, 2, 50)
    assert census(known, 5, at=40) == Counted({1: 1}, 0)
    anew = begun(known, ALL, 2, 40)
    assert census(anew, 5, at=45) == Counted({1: 1}, 0)
    assert census(ended(anew, ALL, 2, 46), 5, at=47) == Counted({2: 1}, 0)


def test_objects_of_a_pass_before_count_for_that_version_and_none_earlier() -> None:
    """So the oldest of three keys can go while the second still has some."""
    known = ended(begun({}, ALL, 2, 10), ALL, 2, 20)
    assert census(known, 5, 15, versions=(1, 2, 3)) == Counted({2: 2}, 0)
    known = begun(known, ALL, 3, 30)
    assert census(known, 5, 31, versions=(1, 2, 3)) == Counted({2: 1, 3: 1}, 0)


def test_what_is_kept_reads_back_and_garbage_is_refused() -> None:
    """A damaged document is begun anew by whoever reads it."""
    known = tried(begun({}, ALL, 2, 10), ALL, 2, {"ns/1": 8})
    assert parse(render(known)) == known
    assert parse(render(known))[ALL][2] == Rewriting(10, 0, {"ns/1": 8})
    for data in (b"[]", b'{"a": {"x": [1, 2, {}]}}', b'{"a": {"1": [1, 2]}}',
                 b'{"a": {"1": [1, 2, {"b": "c"}]}}', b'{"a": []}', b"{"):  # fmt: skip
        with pytest.raises(ValueError):  # noqa: PT011
            parse(data)
