"""Whether a container serves a certificate, seen from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certrotd.containers.chosen import Task
from certrotd.containers.container import Container, address
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.generation import LiveCertificate


@dataclass(frozen=True)
class ContainerProbe:
    """What is done at one port of each container, on the engine's machine ``host``.

    ``prove`` returns once it serves a certificate, and raises ProofFailed; ``look`` gives the
    fingerprint that one handshake shows, and raises Transient.
    """

    port: int
    host: str
    published: bool
    prove: Callable[[str, int, LiveCertificate], None]
    look: Callable[[str, int, LiveCertificate], str]

    def proven(self, task: Task) -> None:
        """Return once it serves all of its certificates; raises ProofFailed, NeedsOperator."""
        host, port = self._address(task.container)
        for each in task.certificates:
            if each.fingerprint:
                self.prove(host, port, each)

    def other(self, task: Task) -> str | None:
        """What it serves instead of the live leaf, in words; None if it serves that.

        Raises Transient where nothing can be seen, NeedsOperator where there is no such port.
        """
        host, port = self._address(task.container)
        for each in task.certificates:
            if each.fingerprint:
                try:
                    seen = self.look(host, port, each)
                except Transient as failure:
                    raise Transient(
                        f"the container {task.name} cannot be looked at: {failure.message}",
                        hint="correct the port of container_probe",
                    ) from None
                if seen != each.fingerprint:
                    return f"serves certificate {seen[:16]} at {host}:{port}"
        return None

    def _address(self, found: Container) -> tuple[str, int]:
        where = address(found, self.port, self.host, published=self.published)
        if where is None:
            what = f"publishes no port {self.port}" if self.published else "has no address"
            raise NeedsOperator(
                f"the container {found.name} {what}: it cannot be looked at",
                hint="publish the port, or correct via of container_probe",
            )
        return where
