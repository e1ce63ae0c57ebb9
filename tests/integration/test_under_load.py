"""An nginx is rotated while clients ask it: the benchmark that counts failed requests, in short."""

import gc
import json
import ssl
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.under_load import Clients, measure, show
from tests.parts import Nginx, Parts, locate
from tests.parts.pki import make_leaf, make_root


def test_no_request_fails_while_a_certificate_is_rotated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each rotation is seen on the wire; what is printed is what was counted."""
    locate.require("nginx")
    found = measure(tmp_path, rotations=3)
    assert (found.rotations, found.failed, found.why) == (3, 0, {})
    assert found.handshakes >= 40
    assert found.requests >= 160
    assert found.on_wire_worst > 0
    json.dumps(asdict(found))
    show(found)
    assert f"{found.requests:,}" in capsys.readouterr().out


# asyncio leaves some connections whose handshake fails to the garbage collector (Python 3.11)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_certificate_that_clients_refuse_is_counted_as_failed(
    parts: Parts, tmp_path: Path
) -> None:
    """The control: clients verify what they are shown."""
    locate.require("nginx")
    root, other = make_root(), make_root("another")
    files = make_leaf(root, "www.bench.test").write(tmp_path, "leaf")
    nginx = parts.start(Nginx, {"www.bench.test": files})
    roots = tmp_path / "roots.pem"
    roots.write_bytes(other.fullchain_pem)
    with Clients(nginx.port, roots) as clients:
        clients.await_requests(20)
    gc.collect()  # here, and not in a test that comes later
    assert clients.counts.failures.total() == clients.counts.requests > 0
    assert all(ssl.SSLCertVerificationError.__name__ in why for why in clients.counts.failures)
