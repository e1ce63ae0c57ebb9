"""What restarts a workload's pods, and puts its former pod template back exactly.

A new value of an annotation of the pod template makes its controller replace the pods. The former
values are noted in an annotation of the workload itself, in the same write. A template that is as
it was has its old pods again: its controller keeps those that are still there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from certrotd.jsontext import parsed
from certrotd.kube.api import Object
from certrotd.kube.workloads import Workload, unfinished

RESTARTED_AT = "certrotd.io/restarted-at"
RESTARTED_FOR = "certrotd.io/restarted-for"
"""Annotations of the pod template: when, and for what, as ``NAME=HASH`` with spaces between.

A certificate has its name and the fingerprint of its leaf, a keyring ``key/NAME`` and the hash of
what its consumers are given.
"""
FORMER = "certrotd.io/former"
"""An annotation of the workload: what those two were before."""


@dataclass(frozen=True)
class Stamp:
    """What the pod template has of both annotations; None where it has none."""

    at: str | None
    about: str | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """That of each certificate and keyring."""
        pairs = (word.partition("=") for word in (self.about or "").split())
        return {name: value for name, _, value in pairs}


def stamp_of(found: Workload) -> Stamp:
    """The stamp of its pod template."""
    annotations = found.template_annotations
    return Stamp(annotations.get(RESTARTED_AT), annotations.get(RESTARTED_FOR))


def is_told(found: Workload, told: Mapping[str, str]) -> bool:
    """Whether its present pod template is of these already."""
    has = stamp_of(found).hashes
    return bool(told) and all(has.get(name) == value for name, value in told.items())


def has_other(found: Workload, told: Mapping[str, str]) -> bool:
    """Whether its present pod template is of another state of any of these."""
    has = stamp_of(found).hashes
    return any(has.get(name, value) != value for name, value in told.items())


def restart(found: Workload, told: Mapping[str, str], at: str) -> Object | None:
    """The merge patch that has its pods replaced; None if that was written already.

    ``told`` has a hash by the name of each that pods read anew, as far as they are known; ``at``
    must differ from any before. What a rollout that never ended has replaced stays the former.
    """
    now = stamp_of(found)
    if is_told(found, told) if told else now.at == at:
        return None
    new = _renewed(now, told, at)
    before = former(found) if unfinished(found) else None
    return _patch(found, new, _noted(before or now, at))


def revert(found: Workload, told: Mapping[str, str], at: str) -> Object | None:
    """The merge patch that puts the former pod template back; None if there is nothing to undo.

    ``told`` has what is live again, and ``at`` is as in restart(): a workload that was never told
    of anything else is left alone. Where the former template is not known, or differs in more than
    that (a restart for others came between), the pods are restarted for what is live again.
    """
    now, before = stamp_of(found), former(found)
    if not told:
        return None if before is None else _patch(found, before, None)
    if not has_other(found, told):
        return None
    if before is not None and _differs_in_these_alone(before, now, told):
        return _patch(found, before, None)
    return _patch(found, _renewed(now, told, at), None)


def former(found: Workload) -> Stamp | None:
    """The stamp before the present one; None if that is not noted, or not of the present one."""
    try:
        noted = parsed(found.annotations[FORMER].encode())
    except (KeyError, ValueError):
        return None
    if not isinstance(noted, dict) or noted.get("of") != stamp_of(found).at:
        return None
    at, about = noted.get("at"), noted.get("about")
    if not all(each is None or isinstance(each, str) for each in (at, about)):
        return None
    return Stamp(at, about)


def _renewed(now: Stamp, told: Mapping[str, str], at: str) -> Stamp:
    pairs = sorted({**now.hashes, **told}.items())
    return Stamp(at, " ".join(f"{name}={value}" for name, value in pairs) or None)


def _differs_in_these_alone(before: Stamp, now: Stamp, told: Mapping[str, str]) -> bool:
    """Whether the former stamp is that of what is live again, and of the same others as now."""
    return {**before.hashes, **told} == {**now.hashes, **told} and all(
        before.hashes.get(name, value) == value for name, value in told.items()
    )


def _noted(before: Stamp, of: str) -> str:
    return json.dumps({"of": of, "at": before.at, "about": before.about})


def _patch(found: Workload, stamp: Stamp, noted: str | None) -> Object:
    """Refused by the API server if the workload has changed since it was read."""
    annotations = {RESTARTED_AT: stamp.at, RESTARTED_FOR: stamp.about}
    return {
        "metadata": {"resourceVersion": found.revision, "annotations": {FORMER: noted}},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    }
