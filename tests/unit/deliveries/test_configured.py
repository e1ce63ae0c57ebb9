"""What a delivery is told of its certificate."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certrotd.clock import ManualClock
from certrotd.deliveries.configured import ConfiguredDelivery
from certrotd.kube.connecting import Connections
from certrotd.lifecycle.wing import Premises
from certrotd.pki.generation import CertificateState
from certrotd.pki.revocation import Revocation
from certrotd.state.ports import Lease
from certrotd.stores.configured import Stores
from tests.builders import NOW
from tests.fakes.audit import MemoryAudit
from tests.fakes.state import MemoryState
from tests.unit.config.written import LAB, config

TEXT = (
    f"state_dir: DIR\n{LAB}hosts:\n"
    "  edge: {address: edge.example.com, user: u, known_hosts: /k, agent: /a}\n"
    "certificates:\n"
    "- {name: web, names: [a.b], deliver: [{host: edge, directory: /d}]}\n"
)


def _lock(
    name: str, what: str, wait: float | None, *, shared: bool = False
) -> AbstractContextManager[Lease]:
    raise AssertionError(f"nothing is locked: {name}, {what}, {wait}, {shared}")


def test_it_knows_which_certificates_are_revoked(tmp_path: Path) -> None:
    """By what the certificate's state has; one that is still to be revoked is valid yet."""
    found = config(tmp_path, TEXT.replace("DIR", str(tmp_path)))
    clock, state = ManualClock(NOW), MemoryState()
    stores = Stores(found, Connections(clock, {}).api)
    premises = Premises(state, clock, _lock, lambda _subject: False, MemoryAudit)
    [certificate] = found.certificates
    [entry] = certificate.deliver
    delivery = ConfiguredDelivery(certificate, entry, found, premises, stores)
    open_ = Revocation("superseded", NOW, "ab", NOW + timedelta(days=1))
    (found.store_dir / "web").mkdir(parents=True)
    revoked = {1: open_, 2: replace(open_, fingerprint="cd", done=NOW)}
    stores.of("web").record("web", CertificateState(revoked=revoked))
    told = delivery.world(delivery.session()).revoked
    assert [told(each) for each in ("ab", "cd", "ef")] == [
        *("", "generation 2 is revoked (superseded)", "")
    ]
