"""A workload and its pods while they change: told by watches, or asked for again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from certrotd.errors import Transient
from certrotd.kube.api import Api, Denied, Object, Selection, revision_of
from certrotd.kube.pods import PAUSE, name_of, place_of
from certrotd.kube.watch import Following, Topic
from certrotd.kube.workloads import KINDS, PODS, Reference, Workload, workload

QUICK = 0.2
"""So many seconds from one look at what the watches have told to the next."""
LASTS = 30


class Followed:
    """One workload from what it is in ``known`` on; pods.Follower.

    ``get`` reads it anew. An account that may not watch any more gets and lists what it looks at.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        reference: Reference,
        known: Object,
        get: Callable[[], Object],
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._reference = reference
        self._get = get
        of = f"metadata.name={reference.name}"
        place = Selection(KINDS[reference.kind].path(namespace), fields=of)
        self._workload = Following(
            Topic(api, place, name_of, LASTS), {reference.name: known}, revision_of(known)
        )
        self._pods: dict[str, Following] = {}
        self._may_watch = True

    @property
    def pause(self) -> float:
        """Seconds until the next look is worth its while."""
        return QUICK if self._may_watch else PAUSE

    def workload(self) -> Workload:
        """As it is now; raises as ``get``, and as Api.ask()."""
        found = (self._told(self._workload) or {}).get(self._reference.name)
        return workload(self._reference.kind, found or self._get())

    def of(self, found: Workload) -> list[Object]:
        """Whatever the selector of the workload finds; raises as Api.ask()."""
        place = self._place_of_pods(found)
        if found.selector not in self._pods:
            self.close_pods()
            self._pods[found.selector] = Following(Topic(self._api, place, name_of, LASTS))
        told = self._told(self._pods[found.selector])
        return list(self._api.find(place) if told is None else told.values())

    def go_on(self, found: Workload) -> None:
        """Watch its pods from what they were a moment ago, if that is known, instead of a list.

        It is to be called well before anybody asks for them: what has changed since comes at once,
        but is not waited for. What keeps it from watching shows then.
        """
        place = self._place_of_pods(found)
        seen = self._api.recent.take(place_of(place))
        if seen is None:
            return
        items, since = seen
        topic = Topic(self._api, place, name_of, LASTS)
        following = Following(topic, {name_of(each): each for each in items}, since)
        self._pods[found.selector] = following
        with suppress(Transient):
            self._told(following)

    def _place_of_pods(self, found: Workload) -> Selection:
        return Selection(PODS.path(self._namespace), labels=found.selector)

    def close_pods(self) -> None:
        """Let go of the watch of pods; another selector may find others."""
        for each in self._pods.values():
            each.close()
        self._pods.clear()

    def close(self) -> None:
        """Let go of the watches."""
        self._workload.close()
        self.close_pods()

    def _told(self, following: Following) -> Mapping[str, Object] | None:
        """What a watch has told; None where the account may not watch."""
        if self._may_watch:
            try:
                return following.look()
            except Denied:
                self._may_watch = False
                self.close()
        return None
