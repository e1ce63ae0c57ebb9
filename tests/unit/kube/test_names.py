"""Names of objects: valid for the API, and never the same for two things."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from certrotd.kube.names import MAX_NAME, object_name

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAMES = st.text(alphabet="ab-._/A€0", min_size=1, max_size=12) | st.text(min_size=1, max_size=300)


def test_a_plain_name_stays_readable() -> None:
    """An operator finds the object of a certificate by kubectl get."""
    assert object_name("certrotd-record", "certificate/web") == "certrotd-record.certificate.web"
    assert object_name("certrotd-lock", "clock") == "certrotd-lock.clock"
    assert object_name("c", "key/a.b") == "c.key.a.b"


@given(NAMES)
def test_every_name_is_a_subdomain(name: str) -> None:
    """Underscores, capitals and whatever a configuration allows."""
    called = object_name("certrotd-document", name)
    assert SUBDOMAIN.fullmatch(called), called
    assert len(called) <= MAX_NAME


@given(NAMES, NAMES)
def test_two_names_are_never_called_the_same(one: str, other: str) -> None:
    """Else two documents would be one."""
    assert (one == other) == (object_name("c", one) == object_name("c", other))


def test_what_could_be_taken_for_another_is_told_apart() -> None:
    """Slashes become dots, and dots are dots already."""
    every = ["a/b", "a.b", "a/b/c", "a/b.c", "a.b/c", "a.b.c", "a-b", "a_b", "A-b", "a--b", "_a"]
    assert len({object_name("c", each) for each in every}) == len(every)
