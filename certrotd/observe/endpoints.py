"""Endpoints as the configuration has them."""

from __future__ import annotations

from collections.abc import Sequence

from certrotd.config.probes import HandshakeEntry
from certrotd.observe.tls import Endpoint
from certrotd.pki.names import instance_of, is_wildcard


def endpoint_of(probe: HandshakeEntry, host: str, port: int, names: Sequence[str]) -> Endpoint:
    """Where a probe of a certificate for these ``names`` looks."""
    plain = next((name for name in names if not is_wildcard(name)), instance_of(names[0]))
    return Endpoint(
        host=host,
        port=port,
        sni=probe.sni or plain,
        starttls=probe.starttls,
        proxy_protocol=probe.proxy_protocol,
        consecutive=probe.consecutive,
        deadline=probe.deadline.total_seconds(),
        roots=None if probe.roots is None else str(probe.roots),
    )
