"""The state in a namespace of a cluster: Secrets, Leases, and one ConfigMap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator
from certrotd.kube.api import CONFIG_MAPS, LEASES, SECRETS, Api, Kind, revision_of
from certrotd.kube.changes import SecretChanges
from certrotd.kube.documents import SecretDocument
from certrotd.kube.folders import SecretFolder
from certrotd.kube.found_lease import DURATION
from certrotd.kube.leases import Hold, Leases
from certrotd.kube.objects import Objects
from certrotd.kube.records import SecretJournal, in_flight, is_in_flight
from certrotd.kube.rights import Right, missing
from certrotd.kube.wakes import Wakes
from certrotd.kube.watch import Watched
from certrotd.state.directory import DAEMON_LOCK
from certrotd.state.ports import ABSENT, Conflict, everybody

FORMAT = 1
"""Of everything that is kept there; a document of that name says which it is."""
NEEDED = {
    SECRETS: ("get", "list", "watch", "create", "update", "delete"),
    CONFIG_MAPS: ("get", "list", "watch", "create", "update", "patch"),
    LEASES: ("get", "create", "update"),
}
"""The verbs that the state needs in its namespace, and no others."""


class ClusterState:
    """The State of ``instance`` in a namespace.

    ``words`` says in its locks whose they are: the pod, and what it does. ``every`` is how many
    seconds after a failure a watch is tried again, ``duration`` how many a lock outlives its
    holder, ``patience`` how many an API server that is away is waited for.

    Once somebody asks for changes, watches tell which records there are.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        instance: str,
        *,
        words: str,
        every: float = 5.0,
        duration: int = DURATION,
        patience: float = 60.0,
    ) -> None:
        def objects(kind: Kind, part: str) -> Objects:
            return Objects(api, kind, namespace, instance, part, patience)

        self._api = api
        self._namespace = namespace
        self._every = every
        self._documents = objects(SECRETS, "document")
        self._folders = objects(SECRETS, "folder")
        self._records = objects(SECRETS, "record")
        self._wakes = Wakes(objects(CONFIG_MAPS, "wake"))
        self._known = False
        self._watched: tuple[Watched, Watched] | None = None
        self._leases = Leases(objects(LEASES, "lock"), lambda: words, duration=duration)

    def document(self, name: str) -> SecretDocument:
        return SecretDocument(self._documents, name)

    def folder(self, name: str) -> SecretFolder:
        return SecretFolder(self._folders, name, self._leases)

    def journal(self, subject: str) -> SecretJournal:
        return SecretJournal(self._records, subject)

    def in_flight(self) -> frozenset[str]:
        if self._watched is None:
            return in_flight(self._records)
        found = self._watched[0].look()
        return frozenset(name for name, each in found.items() if is_in_flight(each))

    def flying(self, subject: str) -> bool:
        if self._watched is None:
            return is_in_flight(self._records.read(subject, metadata=True))
        return is_in_flight(self._watched[0].look().get(subject))

    def changes(self, kind: str, mine: Callable[[str], bool] = everybody) -> SecretChanges:
        if self._watched is None:
            every = self._every
            self._watched = Watched(self._records, every), Watched(self._wakes.objects, every)
        return SecretChanges(*self._watched, self._wakes, kind, mine)

    def wake(self, subject: str) -> None:
        self._wakes.tell(subject)

    @contextmanager
    def lock(
        self, name: str, what: str, *, wait: Deadline | None = None, shared: bool = False
    ) -> Iterator[Hold]:
        """As State.lock(); while a subject's own is held, its records are read once.

        If this process had it before, and nobody else since, they are as they were then. Raises
        NeedsOperator for a state of another format.
        """
        self._require_format()
        daemons = name == DAEMON_LOCK or name.startswith(f"{DAEMON_LOCK}/")
        session = daemons and not shared
        held = self._leases.hold(name, what, wait=wait, shared=shared, session=session)
        with held as hold:
            if shared:
                yield hold
                return
            again = hold.again and not self._changed(name)
            with self._records.alone(name, again=again, keeps=True):
                yield hold

    def _changed(self, subject: str) -> bool:
        """Whether the watch has told of another record than what is known: by hand, perhaps."""
        if self._watched is None:
            return False
        known = self._records.memory.kept(subject)
        told = self._watched[0].told(subject)
        return known is None or told is None or revision_of(known) != revision_of(told)

    def _require_format(self) -> None:
        """Raise NeedsOperator for a state that a newer certrotd has written; once for a process."""
        if self._known:
            return
        document, own = self.document("format"), str(FORMAT).encode()
        found = document.read()
        if found is None:
            with suppress(Conflict):  # somebody else has just written it
                document.write(own, expected=ABSENT)
            found = document.read()
        if found is None or found.data != own:
            said = "none" if found is None else repr(found.data[:20].decode(errors="replace"))
            raise NeedsOperator(
                f"{document.place} says that the state has the format {said}, and this certrotd "
                f"knows {FORMAT}",
                hint="install the version of certrotd that wrote it",
            )
        self._known = True

    def holder(self, name: str) -> str | None:
        return self._leases.holder(name)

    def problems(self, kinds: Iterable[str]) -> Iterator[Failure]:
        """Every verb that the account lacks in the namespace (SelfSubjectAccessReview)."""
        del kinds
        needed = [
            Right(kind, verb, self._namespace) for kind, verbs in NEEDED.items() for verb in verbs
        ]
        try:
            yield from missing(self._api, needed)
        except Failure as failure:
            yield failure
