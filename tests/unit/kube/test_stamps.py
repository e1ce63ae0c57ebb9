"""A restart is written once, and its undo puts back exactly what was there."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kube.api import Object
from certrotd.kube.stamps import (
    FORMER,
    RESTARTED_AT,
    RESTARTED_FOR,
    SECRETS,
    Stamp,
    former,
    name_in,
    stamp_of,
)
from certrotd.kube.stamps import restart as planned_restart
from certrotd.kube.stamps import revert as planned_revert
from certrotd.kube.workloads import workload
from tests.unit.kube.memory_api import _merge, workload_object

OLD, NEW, NEXT = {"web": "aa"}, {"web": "bb"}, {"web": "cc"}


def written(found: Object, change: Object | None) -> Object:
    """An object after a merge patch that is needed; its controller has finished by then."""
    assert change is not None
    after = copy.deepcopy(found)
    assert change["metadata"].pop("resourceVersion") == "7"
    _merge(after, change)
    return after


def restart(found: Object, told: dict[str, str], at: str) -> Object | None:
    """As stamps.restart()."""
    return planned_restart(workload("deployment", found), told, at)


def revert(found: Object, told: dict[str, str], at: str = "t8") -> Object | None:
    """As stamps.revert()."""
    return planned_revert(workload("deployment", found), told, at)


def mounting(secret: str) -> Object:
    """A workload whose pods mount a Secret, and one that is none of ours."""
    found = workload_object()
    found["spec"]["template"]["spec"] = {
        "containers": [{"name": "main", "envFrom": [{"secretRef": {"name": "theirs"}}]}],
        "volumes": [{"name": "tls", "secret": {"secretName": secret}}],
    }
    return found


def mounted(found: Object) -> str:
    """The Secret that the pods of a workload mount."""
    name: str = found["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"]
    return name


def versioned(found: Object, told: dict[str, str], at: str, name: str) -> Object | None:
    """A restart that has pods mount another Secret than web-tls."""
    return planned_restart(workload("deployment", found), told, at, {"web-tls": name})


def stamp(found: Object) -> Stamp:
    """That of its template."""
    return stamp_of(workload("deployment", found))


def test_a_restart_changes_annotations_of_the_template_and_notes_the_former() -> None:
    """All in one write, which is refused if the workload has changed meanwhile."""
    assert restart(workload_object(), NEW, "t1") == {
        "metadata": {
            "resourceVersion": "7",
            "annotations": {FORMER: '{"of": "t1", "at": null, "about": null, "secrets": null}'},
        },
        "spec": {
            "template": {
                "metadata": {
                    "annotations": {RESTARTED_AT: "t1", RESTARTED_FOR: "web=bb", SECRETS: None}
                }
            }
        },
    }


def test_a_restart_for_the_same_certificate_is_not_written_twice() -> None:
    """A process that resumes, and another that takes over, find that it was done."""
    after = written(workload_object(), restart(workload_object(), NEW, "t1"))
    assert restart(after, NEW, "t2") is None
    assert restart(after, NEXT, "t2") is not None


def test_a_restart_without_a_certificate_is_told_by_its_time() -> None:
    """The negative control: at another time, it is another one."""
    after = written(workload_object(), restart(workload_object(), {}, "t1"))
    assert stamp(after) == Stamp("t1", None)
    assert restart(after, {}, "t1") is None
    assert restart(after, {}, "t2") is not None


def test_the_other_certificates_of_a_workload_stay_known() -> None:
    """Else one would be restarted for each of two in turn."""
    after = written(workload_object(), restart(workload_object(), {"web": "aa", "b": "1"}, "t1"))
    after = written(after, restart(after, {"b": "2"}, "t2"))
    assert stamp(after) == Stamp("t2", "b=2 web=aa")
    assert restart(after, OLD, "t3") is None


@given(
    annotations=st.dictionaries(
        st.sampled_from([RESTARTED_AT, RESTARTED_FOR, "other"]), st.text("abc=", min_size=1)
    ),
    own=st.dictionaries(st.sampled_from(["a", "b"]), st.text("ab"), max_size=2),
)
def test_an_undo_puts_back_the_very_template(
    annotations: dict[str, str], own: dict[str, str]
) -> None:
    """Byte for byte: only then the controller takes its former ReplicaSet up again."""
    found = workload_object()
    if annotations:
        found["spec"]["template"]["metadata"]["annotations"] = annotations
    if own:
        found["metadata"]["annotations"] = own
    after = written(found, restart(found, {"new": "x"}, "t1"))
    assert after["spec"] != found["spec"]
    assert written(after, revert(after, {"new": "y"})) == found


def test_an_undo_is_written_once() -> None:
    """After it nothing is noted that could be put back."""
    after = written(workload_object(), restart(workload_object(), NEW, "t1"))
    back = written(after, revert(after, OLD))
    assert revert(back, OLD) is None
    assert revert(back, {}) is None


def test_a_workload_that_was_never_told_of_another_is_left_alone() -> None:
    """It was not reached: what its note says is of the rotation before."""
    found = written(workload_object(), restart(workload_object(), OLD, "t1"))
    assert revert(found, OLD) is None
    assert revert(found, {"other": "zz"}) is None
    assert revert(found, NEW) is not None  # the negative control: it has another one


def test_an_undo_without_a_certificate_goes_by_the_note_alone() -> None:
    """Where no fingerprint is known."""
    found = written(workload_object(), restart(workload_object(), {}, "t1"))
    assert written(found, revert(found, {})) == workload_object()


def test_what_never_became_whole_is_not_gone_back_to() -> None:
    """A second restart in mid-rollout keeps the note of the last template that worked."""
    first = written(workload_object(), restart(workload_object(), OLD, "t0"))
    second = written(first, restart(first, NEW, "t1"))
    second["status"]["updatedReplicas"] = 1
    third = written(second, restart(second, NEXT, "t2"))
    back = written(third, revert(third, OLD))
    assert stamp(back) == stamp(first) == Stamp("t0", "web=aa")


def test_what_became_whole_is() -> None:
    """The negative control."""
    first = written(workload_object(), restart(workload_object(), NEW, "t1"))
    second = written(first, restart(first, NEXT, "t2"))
    assert stamp(written(second, revert(second, NEW))) == Stamp("t1", "web=bb")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "no JSON",
        "[]",
        json.dumps({"of": "t9", "at": "t0", "about": None}),
        json.dumps({"of": "t1", "at": 5, "about": None}),
        json.dumps({"of": "t1", "at": None, "about": ["a"]}),
        "[" * 10000,
    ],
)
def test_a_note_that_is_odd_or_of_another_restart_is_none(note: Any) -> None:
    """Anybody who may change the workload may have written it."""
    found = written(workload_object(), restart(workload_object(), NEW, "t1"))
    assert former(workload("deployment", found)) == Stamp(None, None)
    found["metadata"]["annotations"][FORMER] = note
    assert former(workload("deployment", found)) is None
    assert revert(found, {}) is None
    assert stamp(written(found, revert(found, OLD))) == Stamp("t8", "web=aa")


def test_an_undo_does_not_take_back_what_others_were_restarted_for() -> None:
    """A keyring's consumers had its new keys meanwhile, and confirmed them."""
    first = written(workload_object(), restart(workload_object(), {"key/a": "1", **OLD}, "t0"))
    bad = written(first, restart(first, NEW, "t1"))
    keys = written(bad, restart(bad, {"key/a": "2"}, "t2"))
    back = written(keys, revert(keys, OLD, "t3"))
    assert stamp(back) == Stamp("t3", "key/a=2 web=aa")
    assert FORMER not in back["metadata"].get("annotations", {})
    assert revert(back, OLD) is None


def test_a_former_template_of_something_else_is_not_put_back() -> None:
    """Its pods would have neither what is live nor what was undone."""
    first = written(workload_object(), restart(workload_object(), NEW, "t1"))
    second = written(first, restart(first, NEXT, "t2"))
    assert stamp(written(second, revert(second, OLD, "t3"))) == Stamp("t3", "web=aa")


class TestVersions:
    """Pods mount the Secret of a generation, whose name is in the template."""

    def test_the_name_is_written_with_the_annotations_and_undone_with_them(self) -> None:
        """So that the former template is whole, and its pods are kept."""
        first = written(mounting("web-tls"), versioned(mounting("web-tls"), OLD, "t1", "gen-1"))
        assert (mounted(first), stamp(first)) == ("gen-1", Stamp("t1", "web=aa", "web-tls=gen-1"))
        first["metadata"]["resourceVersion"] = "7"
        change = versioned(first, NEW, "t2", "gen-2")
        assert change is not None
        assert set(change["spec"]["template"]["spec"]) == {"volumes"}  # nothing else is rewritten
        second = written(first, change)
        assert (mounted(second), stamp(second).names) == ("gen-2", {"web-tls": "gen-2"})
        back = written(second, revert(second, OLD))
        assert back["spec"]["template"] == first["spec"]["template"]

    def test_an_undo_that_restarts_once_more_names_the_former_secret(self) -> None:
        """A keyring had the pods restarted in between."""
        first = written(mounting("web-tls"), versioned(mounting("web-tls"), OLD, "t1", "gen-1"))
        bad = written(first, versioned(first, NEW, "t2", "gen-2"))
        keys = written(bad, restart(bad, {"key/a": "2"}, "t3"))
        change = planned_revert(workload("deployment", keys), OLD, "t4", {"web-tls": "gen-1"})
        back = written(keys, change)
        assert mounted(back) == "gen-1"
        assert stamp(back) == Stamp("t4", "key/a=2 web=aa", "web-tls=gen-1")

    def test_the_first_one_goes_back_to_the_live_secret(self) -> None:
        """Which the template has named from the beginning."""
        before = mounting("web-tls")
        first = written(before, versioned(before, NEW, "t1", "gen-1"))
        back = written(first, revert(first, OLD))
        assert mounted(back) == "web-tls"
        assert stamp(back) == Stamp(None, None, None)

    def test_a_template_that_was_reset_is_renamed_again(self) -> None:
        """By a GitOps tool, which knows the first name alone."""
        first = written(mounting("web-tls"), versioned(mounting("web-tls"), OLD, "t1", "gen-1"))
        first["spec"]["template"]["spec"] = mounting("web-tls")["spec"]["template"]["spec"]
        assert mounted(written(first, versioned(first, NEW, "t2", "gen-2"))) == "gen-2"

    def test_other_reasons_for_a_restart_leave_the_names_alone(self) -> None:
        """A keyring, or the certificate of another Secret."""
        first = written(mounting("web-tls"), versioned(mounting("web-tls"), OLD, "t1", "gen-1"))
        second = written(first, restart(first, {"key/a": "1"}, "t2"))
        assert (mounted(second), stamp(second).names) == ("gen-1", {"web-tls": "gen-1"})

    def test_the_live_secret_can_be_named_again(self) -> None:
        """Once somebody has changed the configuration."""
        first = written(mounting("web-tls"), versioned(mounting("web-tls"), OLD, "t1", "gen-1"))
        second = written(first, versioned(first, NEW, "t2", "web-tls"))
        assert (mounted(second), stamp(second).secrets) == ("web-tls", None)
        assert name_in(workload("deployment", first), "web-tls") == "gen-1"
        assert name_in(workload("deployment", second), "web-tls") == "web-tls"
