"""What an undo may ask of a pod: what it, or those like it, did before the change."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kube.shown import Shown, from_json, shown_by, to_json

UIDS = st.sets(st.sampled_from("abcdef"))


@given(pods=UIDS, showed=UIDS, now=UIDS)
def test_an_undo_asks_no_more_than_was_there(
    pods: set[str], showed: set[str], now: set[str]
) -> None:
    """One that showed it must again, a silent one need not; who came since does as others did."""
    showed &= pods
    before = shown_by(pods, showed)
    for uid in now:
        assert before.must(uid) == (bool(showed) and (uid in showed or uid not in pods))


@given(pods=UIDS, showed=UIDS)
def test_the_journal_keeps_it(pods: set[str], showed: set[str]) -> None:
    """The undo may be that of another process."""
    before = {"deployment/web": shown_by(pods, showed & pods), "deployment/db": Shown()}
    known = json.loads(json.dumps(to_json(before)))
    assert {name: from_json(known, name) for name in before} == before


@pytest.mark.parametrize("known", [{}, {"deployment/web": None}, {"deployment/web": {"a": 1}}])
def test_what_the_journal_does_not_know_is_asked_of_nobody(known: dict[str, object]) -> None:
    """The workload was found only afterwards, say."""
    assert from_json(known, "deployment/web") == Shown()
