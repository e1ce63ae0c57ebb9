"""What answers others while the daemon runs: one service of each wing that has any."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certrotd.errors import Failure
from certrotd.lifecycle.wing import Service, Wing
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure


class Services:
    """Those of the configuration in use; what cannot begin is reported, and ends nothing else."""

    def __init__(self, observer: Observer, report: Callable[[str], None]) -> None:
        self._observer = observer
        self._report = report
        self._running: list[Service] = []

    def use(self, wings: Sequence[Wing]) -> None:
        """End those of before, and begin those of another configuration."""
        self.close()
        for wing in wings:
            try:
                service = wing.serve(self._report)
                if service is not None:
                    self._running.append(service)
                    service.start()
            except Exception as error:  # noqa: BLE001  # one wing must not stop the others
                failure = as_failure(error, f"serve {wing.kind}")
                self._observer.trouble(f"the service of {wing.kind}", failure)
                continue
            self._observer.calmed(f"the service of {wing.kind}")

    def close(self) -> None:
        """End all of them."""
        for service in self._running:
            try:
                service.close()
            except (Failure, OSError) as error:
                self._report(str(as_failure(error, f"end {service.name}")))
        self._running = []
