"""What restarts a workload's pods, and puts its former pod template back exactly.

A new value of an annotation of the pod template makes its controller replace the pods. The former
values are noted in an annotation of the workload itself, in the same write. A template that is as
it was has its old pods again: its controller keeps those that are still there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from certrotd.jsontext import parsed
from certrotd.kube.api import Object
from certrotd.kube.mounts import renamed
from certrotd.kube.workloads import Workload, unfinished

RESTARTED_AT = "certrotd.io/restarted-at"
RESTARTED_FOR = "certrotd.io/restarted-for"
"""Annotations of the pod template: when, and for what, as ``NAME=HASH`` with spaces between.

A certificate has its name and the fingerprint of its leaf, a keyring ``key/NAME`` and the hash of
what its consumers are given.
"""
SECRETS = "certrotd.io/secrets"
"""Another one: which Secrets the template has instead of others, as ``OTHER=NAME``."""
FORMER = "certrotd.io/former"
"""An annotation of the workload: what those were before."""

NO_VERSIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Stamp:
    """What the pod template has of these annotations; None where it has none."""

    at: str | None
    about: str | None = None
    secrets: str | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """That of each certificate and keyring."""
        return _pairs(self.about)

    @property
    def names(self) -> dict[str, str]:
        """The name of the Secret that the template has, by that of the one it had at first."""
        return _pairs(self.secrets)


def stamp_of(found: Workload) -> Stamp:
    """The stamp of its pod template."""
    annotations = found.template_annotations
    return Stamp(*(annotations.get(each) for each in (RESTARTED_AT, RESTARTED_FOR, SECRETS)))


def name_in(found: Workload, secret: str) -> str:
    """What a Secret is called in its pod template: as it is, or as certrotd has renamed it."""
    return stamp_of(found).names.get(secret, secret)


def is_told(found: Workload, told: Mapping[str, str]) -> bool:
    """Whether its present pod template is of these already."""
    has = stamp_of(found).hashes
    return bool(told) and all(has.get(name) == value for name, value in told.items())


def has_other(found: Workload, told: Mapping[str, str]) -> bool:
    """Whether its present pod template is of another state of any of these."""
    has = stamp_of(found).hashes
    return any(has.get(name, value) != value for name, value in told.items())


def restart(
    found: Workload, told: Mapping[str, str], at: str, versions: Mapping[str, str] = NO_VERSIONS
) -> Object | None:
    """The merge patch that has its pods replaced; None if that was written already.

    ``told`` has a hash by the name of each that pods read anew, as far as they are known; ``at``
    must differ from any before. What a rollout that never ended has replaced stays the former.
    ``versions`` has the Secret that the template is to name instead of another, or that other one
    again.
    """
    now = stamp_of(found)
    if is_told(found, told) if told else now.at == at:
        return None
    new = _renewed(now, told, at, versions)
    before = former(found) if unfinished(found) else None
    return _patch(found, new, _noted(before or now, at))


def revert(
    found: Workload, told: Mapping[str, str], at: str, versions: Mapping[str, str] = NO_VERSIONS
) -> Object | None:
    """The merge patch that puts the former pod template back; None if there is nothing to undo.

    ``told`` has what is live again, ``at`` and ``versions`` are as in restart(): a workload that
    was never told of anything else is left alone. Where the former template is not known, or
    differs in more than that (a restart for others came between), the pods are restarted for what
    is live again.
    """
    now, before = stamp_of(found), former(found)
    if not told:
        return None if before is None else _patch(found, before, None)
    if not has_other(found, told):
        return None
    if before is not None and _differs_in_these_alone(before, now, told):
        return _patch(found, before, None)
    return _patch(found, _renewed(now, told, at, versions), None)


def former(found: Workload) -> Stamp | None:
    """The stamp before the present one; None if that is not noted, or not of the present one."""
    try:
        noted = parsed(found.annotations[FORMER].encode())
    except (KeyError, ValueError):
        return None
    if not isinstance(noted, dict) or noted.get("of") != stamp_of(found).at:
        return None
    at, about, secrets = (noted.get(each) for each in ("at", "about", "secrets"))
    if not all(each is None or isinstance(each, str) for each in (at, about, secrets)):
        return None
    return Stamp(at, about, secrets)


def _renewed(now: Stamp, told: Mapping[str, str], at: str, versions: Mapping[str, str]) -> Stamp:
    names = {name: new for name, new in {**now.names, **versions}.items() if new != name}
    return Stamp(at, _text({**now.hashes, **told}), _text(names))


def _differs_in_these_alone(before: Stamp, now: Stamp, told: Mapping[str, str]) -> bool:
    """Whether the former stamp is that of what is live again, and of the same others as now."""
    return {**before.hashes, **told} == {**now.hashes, **told} and all(
        before.hashes.get(name, value) == value for name, value in told.items()
    )


def _noted(before: Stamp, of: str) -> str:
    return json.dumps({"of": of, **asdict(before)})


def _pairs(text: str | None) -> dict[str, str]:
    words = (word.partition("=") for word in (text or "").split())
    return {name: value for name, _, value in words}


def _text(pairs: Mapping[str, str]) -> str | None:
    return " ".join(f"{name}={value}" for name, value in sorted(pairs.items())) or None


def _patch(found: Workload, stamp: Stamp, noted: str | None) -> Object:
    """Refused by the API server if the workload has changed since it was read."""
    annotations = {RESTARTED_AT: stamp.at, RESTARTED_FOR: stamp.about, SECRETS: stamp.secrets}
    now, then = stamp_of(found).names, stamp.names
    both = {name: (now.get(name, name), then.get(name, name)) for name in {*now, *then}}
    changes = {name: new for name, (_, new) in both.items()} | dict(both.values())
    template: Object = {"metadata": {"annotations": annotations}}
    # lists are replaced whole, and the resourceVersion tells that they are as they were read
    if spec := renamed(found.pod, changes):
        template["spec"] = spec
    return {
        "metadata": {"resourceVersion": found.revision, "annotations": {FORMER: noted}},
        "spec": {"template": template},
    }
