"""What ``certrotd revoke`` says of what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from certrotd.certs.policy import id_of
from certrotd.cli.revoke import _show
from certrotd.lifecycle.report import Report
from certrotd.pki.revocation import KeyNotCompared, Revocation
from certrotd.rotation.outcome import Finished, Parked
from tests.builders import DAY, NOW

OPEN = Revocation("keyCompromise", NOW, "ab", NOW + DAY, why="the CA is away")
DONE, REFUSED = replace(OPEN, done=NOW), replace(OPEN, refused=True)


@dataclass
class Subject:
    """Revocable, as far as it is asked here."""

    known: Mapping[int, Revocation]

    def revocations(self) -> Mapping[int, Revocation]:
        return self.known

    def foresee_revocation(self, *_asked: Any, **_how: Any) -> Any: ...

    def revoke(self, *_asked: Any) -> Any: ...


@pytest.mark.parametrize(
    ("known", "code", "words"),
    [
        ({7: DONE}, 0, ["generation 7 is revoked"]),
        ({}, 1, ["generation 7 is NOT revoked"]),
        ({7: OPEN}, 1, ["still to be revoked: generation 7", "tries again"]),
        ({7: REFUSED}, 1, ["the CA refuses to revoke generation 7"]),
        ({6: OPEN, 7: DONE}, 1, ["still to be revoked: generation 6", "tries again"]),
        ({6: REFUSED, 7: DONE}, 0, ["the CA refuses to revoke generation 6", "7 is revoked"]),
        ({6: replace(OPEN, not_after=NOW), 7: DONE}, 0, ["generation 7 is revoked"]),
    ],
    ids=["done", "none", "open", "refused", "another open", "another refused", "another expired"],
)
def test_it_failed_while_anything_is_still_to_be_revoked(
    known: Mapping[int, Revocation], code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Generations with the same key are revoked together: whoever named one hears of all."""
    report = Report(id_of("web"), outcome=Finished({}))
    assert _show([report], Subject(known), 7, as_json=False, now=NOW) == code
    said = capsys.readouterr().err
    assert all(each in said for each in words)
    assert ("generation 6" in said) == (6 in known and known[6].not_after > NOW)


def test_it_failed_where_another_generation_may_have_the_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also if the rotations that follow, as deliveries do, went well."""
    unread = KeyNotCompared("whether generation 6 has the same key is not known: no answer")
    reports = [
        Report(id_of("web"), outcome=Finished({}), failure=unread),
        Report(id_of("web"), outcome=Finished({})),
    ]
    assert _show(reports, Subject({7: DONE}), 7, as_json=False, now=NOW) == 1
    assert "whether generation 6 has the same key is not known" in capsys.readouterr().out


@pytest.mark.parametrize("ours", [True, False])
def test_what_is_not_revoked_yet_is_revoked_by_itself_only_if_that_is_under_way(
    ours: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rotation that was begun for something else revokes nothing."""
    parked = Parked(NOW, "the DNS")
    outcome, recovered = (parked, None) if ours else (None, parked)
    report = Report(id_of("web"), outcome=outcome, recovered=recovered)
    assert _show([report], Subject({}), 7, as_json=False, now=NOW) == 1
    then = "it is revoked once" if ours else "nothing does that later, so run this again"
    assert f"generation 7 is NOT revoked: {then}" in capsys.readouterr().err
