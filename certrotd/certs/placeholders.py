"""Placeholders come before any rotation.

``nginx -t`` reads the files of all virtual hosts, and one whose files are missing would keep the
others' certificates away.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from certrotd.certs.managed import Managed
from certrotd.id import Id

if TYPE_CHECKING:
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner


class Placeholders:
    """Those that the certificates ask for. Safe to use from several threads at once."""

    def __init__(self, certificates: Sequence[Managed]) -> None:
        self._wanting = [each for each in certificates if each.policy.bootstraps]
        self._lock = threading.Lock()
        self._placed: set[Id] = set()

    def put(self, runner: Runner) -> list[Report]:
        """Put every one in place that is not there; who comes second waits for the first.

        A certificate of which none is wanted is not asked again: its own rotation looks.
        """
        reports: list[Report] = []
        if all(each.policy.id in self._placed for each in self._wanting):
            return reports
        from certrotd.certs.rotate import CertificateRotation

        with self._lock:
            for each in self._wanting:
                if each.policy.id in self._placed or runner.stopping():
                    continue
                report = CertificateRotation(each).bootstrap(runner)
                if report is None:
                    self._placed.add(each.policy.id)
                else:
                    reports.append(report)
        return reports
