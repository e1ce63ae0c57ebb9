"""What a rollout looks at is told by watches, and asked for where nobody may watch."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import cast

import pytest

from certrotd.errors import Transient
from certrotd.https.stream import Stream
from certrotd.kube.api import Api, Denied, Missing, Object, Selection
from certrotd.kube.followed import QUICK, Followed
from certrotd.kube.pods import PAUSE, name_of
from certrotd.kube.rollout import Rollouts
from certrotd.kube.workloads import Reference, workload
from tests.unit.kube.memory_api import NAMESPACE, MemoryApi, replica, workload_object

WEB = Reference("deployment", "web")


class Events:
    """The answer to a watch: what was told since the last look; an error where that is told."""

    def __init__(self, selection: Selection, since: str) -> None:
        self.selection = selection
        self.since = since
        self.told: list[bytes | OSError] = []
        self.over = False

    def tell(self, what: str, found: Object) -> None:
        """An event."""
        self.told.append(json.dumps({"type": what, "object": found}).encode() + b"\n")

    def read(self) -> bytes:
        told, self.told = self.told, []
        for each in told:
            if isinstance(each, OSError):
                raise each
        return b"".join(each for each in told if isinstance(each, bytes))

    def close(self) -> None:
        self.over = True


class Watching(MemoryApi):
    """An API server that may be watched."""

    def __init__(self) -> None:
        super().__init__(("deployment", workload_object()))
        self.watches: list[Events] = []
        self.may_watch = True
        self.pods = [replica("a", ready=True)]

    def watch(self, selection: Selection, *, since: str, seconds: int) -> Stream:
        if not self.may_watch:
            return super().watch(selection, since=since, seconds=seconds)
        self.watches.append(Events(selection, since))
        return cast("Stream", self.watches[-1])

    def list_of(self, selection: Selection) -> tuple[list[Object], str]:
        return list(self.find(selection)), "40"

    def newest(self, plural: str) -> Events:
        """The watch of those that began last."""
        return next(each for each in reversed(self.watches) if each.selection.path.endswith(plural))


@pytest.fixture
def api() -> Watching:
    """Of one Deployment and one pod."""
    return Watching()


@pytest.fixture
def seen(api: Watching) -> Followed:
    """That Deployment, as it was read a moment ago."""
    path = "/apis/apps/v1/namespaces/shop/deployments/web"
    known = api.get(path)
    api.log.clear()
    return Followed(cast("Api", api), NAMESPACE, WEB, known, lambda: api.get(path))


def names(seen: Followed) -> list[str]:
    """Those of its pods."""
    return sorted(map(name_of, seen.of(seen.workload())))


def test_it_goes_on_from_what_is_known(api: Watching, seen: Followed) -> None:
    """Nothing is asked for that was read already; of pods there is one list."""
    assert seen.workload().generation == 2
    assert names(seen) == ["a"]
    assert (api.newest("deployments").since, api.newest("pods").since) == ("7", "40")
    assert api.newest("deployments").selection.fields == "metadata.name=web"
    assert api.log == ["list pods?app=web"]
    changed = workload_object()
    changed["metadata"] |= {"generation": 3, "resourceVersion": "9"}
    api.newest("deployments").tell("MODIFIED", changed)
    api.newest("pods").tell("ADDED", replica("b"))
    assert seen.workload().generation == 3
    assert names(seen) == ["a", "b"]
    api.newest("pods").tell("DELETED", replica("a"))
    assert names(seen) == ["b"]
    assert api.log == ["list pods?app=web"]
    assert seen.pause == QUICK


def test_pods_that_were_listed_a_moment_ago_are_watched_from_there(
    api: Watching, seen: Followed
) -> None:
    """By a look before the change; longer ago than a minute they are listed anew."""
    rollouts, found = Rollouts(cast("Api", api), NAMESPACE, 30.0), seen.workload()
    for seconds, listed in ((59, 1), (61, 2)):
        api.watches, api.log = [], []
        rollouts.pods.seen(found)
        api.clock.advance(timedelta(seconds=seconds))
        begun = Followed(cast("Api", api), NAMESPACE, WEB, workload_object(), workload_object)
        begun.go_on(found)
        assert len(api.watches) == (1 if listed == 1 else 0)
        assert names(begun) == ["a"]
        assert (api.newest("pods").since, api.log) == ("40", ["list pods?app=web"] * listed)


def test_who_may_not_watch_pods_any_more_lists_them(api: Watching, seen: Followed) -> None:
    """Although they were listed a moment ago."""
    found = seen.workload()
    Rollouts(cast("Api", api), NAMESPACE, 30.0).pods.seen(found)
    api.may_watch, api.pods = False, []
    seen.go_on(found)
    assert not seen.of(found)


def test_another_selector_finds_other_pods(api: Watching, seen: Followed) -> None:
    """Somebody has applied another version of the workload."""
    assert names(seen) == ["a"]
    changed = workload_object()
    changed["spec"]["selector"]["matchLabels"] = {"app": "web", "tier": "edge"}
    api.pods = []
    assert not seen.of(workload("deployment", changed))
    assert len([each for each in api.watches if each.over]) == 1


def test_one_that_was_deleted_is_read_once_more(api: Watching, seen: Followed) -> None:
    """Whoever reads it says what that means."""
    seen.workload()
    found = copy.deepcopy(workload_object())
    api.newest("deployments").tell("DELETED", found)
    api.objects.clear()
    with pytest.raises(Missing):
        seen.workload()


def test_a_watch_that_breaks_goes_on_where_it_ended(api: Watching, seen: Followed) -> None:
    """And says so: the next look begins anew."""
    seen.workload()
    changed = workload_object()
    changed["metadata"]["resourceVersion"] = "9"
    api.newest("deployments").tell("MODIFIED", changed)
    seen.workload()
    api.newest("deployments").told.append(ConnectionResetError("reset by peer"))
    with pytest.raises(Transient, match="deployments ended: reset by peer"):
        seen.workload()
    assert seen.workload().revision == "9"
    assert [each.since for each in api.watches] == ["7", "9"]


def test_who_may_not_watch_any_more_asks(api: Watching, seen: Followed) -> None:
    """A Role may be changed in the middle: each look is a request then, and they are fewer."""
    assert names(seen) == ["a"]
    for each in api.watches:
        each.over = True
    api.may_watch = False
    assert names(seen) == names(seen) == ["a"]
    assert seen.pause == PAUSE
    assert all(each.over for each in api.watches)
    with pytest.raises(Denied):
        MemoryApi.watch(api, Selection(""), since="", seconds=1)


def test_letting_go_ends_the_watches(api: Watching, seen: Followed) -> None:
    """Of both."""
    names(seen)
    seen.close()
    assert [each.over for each in api.watches] == [True, True]
