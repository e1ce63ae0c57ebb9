"""What each row is given: the node, a directory of its own, and how much to measure."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster.installation import Installation
from benchmarks.measure import ProgramFailed
from tests.parts import Parts
from tests.parts.kubernetes.audit import AuditLog
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.site import Run

SECRET = "web"


@dataclass(frozen=True)
class Sizes:
    """How often, how many and how long.

    ``rotations`` of each kind are timed, ``requests`` sent in each restart at ``rate`` a second.
    ``tries`` are with a leader that is killed or frozen. ``frozen`` is in seconds.
    """

    rotations: int = 3
    requests: int = 1500
    rate: float = 50.0
    tries: int = 20
    certificates: int = 1000
    unrelated: int = 500
    frozen: float = 30.0


QUICK = Sizes(rotations=1, requests=400, tries=2, certificates=30, unrelated=30, frozen=10.0)


@dataclass(frozen=True)
class Bench:
    """A node that runs, from within whose network rows are measured."""

    cluster: Cluster
    directory: Path
    sizes: Sizes

    @property
    def audit(self) -> AuditLog:
        """What was asked of its API server."""
        return AuditLog(self.cluster.control_plane)

    @contextmanager
    def installation(self, name: str, *secrets: str, execs: bool = False) -> Iterator[Installation]:
        """A certrotd for these Secrets (one of the name SECRET), whose namespaces go at the end."""
        directory = self.directory / name
        made = Installation(self.cluster, directory, *(secrets or [SECRET]), execs=execs)
        try:
            yield made
        finally:
            made.delete()

    @contextmanager
    def parts(self) -> Iterator[Parts]:
        """Starts servers in the node's network."""
        with ExitStack() as stack:
            yield Parts(self.directory / "parts", stack)


def succeeded(run: Run, expect: int = 0) -> Run:
    """A run that ended with that exit code; raises ProgramFailed for any other."""
    if run.code != expect:
        raise ProgramFailed(f"certrotd ended with {run.code}:\n{run.stdout}{run.stderr}"[-2000:])
    return run
