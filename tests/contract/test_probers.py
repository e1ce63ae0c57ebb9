"""What every prober promises, the one in memory and the one over sockets alike."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from certrotd.certs.ports import Prober
from certrotd.clock import SystemClock
from certrotd.errors import Failure, ProofFailed
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.pki.facts import fingerprint
from tests.builders import NAME, NEW, OLD
from tests.fakes.prober import MemoryProber
from tests.fakes.target import MemoryTarget
from tests.parts import pki
from tests.parts.listener import Listener
from tests.parts.process import free_port
from tests.unit.observe.servers import context_of, tls


@dataclass(frozen=True)
class Bench:
    """A prober, and how to have it see a pair or nobody."""

    prober: Prober
    serve: Callable[[pki.Pair | None], Endpoint]


def in_memory() -> Bench:
    """The fake."""
    target = MemoryTarget("web", lambda: None)

    def serve(pair: pki.Pair | None) -> Endpoint:
        target.serves = fingerprint(pair.certificate) if pair else None
        return Endpoint("web", 443, NAME)

    return Bench(MemoryProber({"web": target}, SystemClock()), serve)


@pytest.fixture(params=["memory", "sockets"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each prober."""
    if request.param == "memory":
        yield in_memory()
        return
    with ExitStack() as stack:

        def serve(pair: pki.Pair | None) -> Endpoint:
            if pair is None:
                return Endpoint("127.0.0.1", free_port(), NAME)
            server = stack.enter_context(Listener(tls(context_of(pair, tmp_path))))
            return Endpoint(server.host, server.port, NAME)

        yield Bench(TlsProber(SystemClock()), serve)


def test_a_look_tells_who_is_served(bench: Bench) -> None:
    """Either of them, by its fingerprint."""
    for pair in (OLD, NEW):
        assert bench.prober.look(bench.serve(pair)).fingerprint == fingerprint(pair.certificate)


def test_what_is_served_is_proven_and_nothing_else(bench: Bench) -> None:
    """The proof that commits a rotation, and the failure that undoes one."""
    endpoint = bench.serve(NEW)
    bench.prober.prove(endpoint, fingerprint(NEW.certificate))
    with pytest.raises(ProofFailed):
        bench.prober.prove(replace(endpoint, deadline=0.5), fingerprint(OLD.certificate))


def test_nobody_there_is_a_failure(bench: Bench) -> None:
    """Serving nothing is not serving the leaf."""
    endpoint = bench.serve(None)
    with pytest.raises(Failure):
        bench.prober.look(endpoint)
    with pytest.raises(ProofFailed):
        bench.prober.prove(replace(endpoint, deadline=0.5), fingerprint(NEW.certificate))
