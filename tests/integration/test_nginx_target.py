"""A real nginx is told of new files, and goes on with the old ones when it cannot use them."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.config.targets import Reload
from certrotd.errors import NeedsOperator, ProofFailed
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.pki.facts import fingerprint
from certrotd.targets.nginx import NginxTarget
from tests.builders import NAME, NEW, OLD
from tests.parts import Nginx
from tests.parts.process import wait_until

StartNginx = Callable[..., Nginx]
OLD_PRINT, NEW_PRINT = fingerprint(OLD.certificate), fingerprint(NEW.certificate)
PROBER = TlsProber(SystemClock())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The directory of web.crt and web.key, which hold the old pair."""
    OLD.write(tmp_path / "files", "web")
    return tmp_path / "files"


@pytest.fixture
def server(nginx: StartNginx, files: Path) -> Nginx:
    """An nginx that serves the old pair."""
    return nginx({NAME: (files / "web.crt", files / "web.key")})


def target_of(server: Nginx, reload: Reload = "signal") -> NginxTarget:
    """The target that is this nginx."""
    return NginxTarget(
        binary=str(server.binary),
        config=str(server.config_path),
        prefix=str(server.directory),
        pid_file=server.pid_file,
        reload=reload,
    )


def endpoint_of(server: Nginx, deadline: float = 12.0) -> Endpoint:
    """Where it serves."""
    return Endpoint("127.0.0.1", server.port, NAME, deadline=deadline)


def test_a_sound_nginx_passes_the_check_and_serves_on(server: Nginx) -> None:
    """And is the same process afterwards."""
    pid = server.pid_file.read_text()
    target_of(server).check()
    assert fingerprint(server.served(NAME)) == OLD_PRINT
    assert server.pid_file.read_text() == pid


def test_a_reload_by_signal_serves_the_new_pair(server: Nginx, files: Path) -> None:
    """Proven by handshakes, since nginx only says that it was asked (certbot #7555)."""
    NEW.write(files, "web")
    with pytest.raises(ProofFailed):
        PROBER.prove(endpoint_of(server, 0.3), NEW_PRINT)
    target_of(server).apply()
    PROBER.prove(endpoint_of(server), NEW_PRINT)


def test_a_reload_by_argv_serves_the_new_pair(server: Nginx, files: Path) -> None:
    """Nginx's own way of asking itself."""
    NEW.write(files, "web")
    argv = (str(server.binary), *server.arguments, "-s", "reload")
    target = target_of(server, argv)
    target.check()
    assert fingerprint(server.served(NAME)) == OLD_PRINT
    target.apply()
    PROBER.prove(endpoint_of(server), NEW_PRINT)


def test_a_broken_configuration_is_refused_in_nginx_words(server: Nginx) -> None:
    """Before an order is spent, with the directive and the line."""
    target = target_of(server)
    server.break_config()
    with pytest.raises(NeedsOperator, match=r'unknown directive "no_such_directive" in .*:\d+'):
        target.check()
    server.mend_config()
    target.check()


def test_a_configuration_broken_since_the_check_leaves_the_old_one_served(
    server: Nginx, files: Path
) -> None:
    """nginx would take no signal amiss, log an error, and serve the old files until it restarts."""
    target = target_of(server)
    target.check()
    NEW.write(files, "web")
    server.break_config()
    with pytest.raises(NeedsOperator, match="no_such_directive"):
        target.apply()
    PROBER.prove(endpoint_of(server), OLD_PRINT)
    server.mend_config()
    target.apply()
    PROBER.prove(endpoint_of(server), NEW_PRINT)


def test_a_key_that_is_not_the_certificates_is_refused(server: Nginx, files: Path) -> None:
    """New key beside old certificate: nginx would not start with it."""
    (files / "web.key").write_bytes(NEW.key_pem)
    with pytest.raises(NeedsOperator, match=r"key values mismatch"):
        target_of(server).apply()
    PROBER.prove(endpoint_of(server), OLD_PRINT)


def test_a_half_written_certificate_is_refused(server: Nginx, files: Path) -> None:
    """A PEM cut off in the middle (ingress-nginx #515)."""
    (files / "web.crt").write_bytes(NEW.fullchain_pem[:300])
    with pytest.raises(NeedsOperator, match=r"cannot load certificate"):
        target_of(server).apply()
    PROBER.prove(endpoint_of(server), OLD_PRINT)


def test_an_nginx_that_is_not_running_is_refused(server: Nginx) -> None:
    """Its own test leaves an empty pid file behind, which is not taken for a process."""
    target = target_of(server)
    pid = server.pid
    stale = server.pid_file.read_text()
    server.stop()
    assert not server.pid_file.exists()
    with pytest.raises(NeedsOperator, match=re.escape(str(server.pid_file))) as refused:
        target.check()
    assert refused.value.hint.startswith("start nginx")
    server.pid_file.write_text(stale)
    with pytest.raises(NeedsOperator, match=f"nginx {pid} of .* is not running"):
        target.check()


def test_a_pid_file_of_another_process_is_refused(server: Nginx, files: Path) -> None:
    """After a reboot the number may be anybody's; a hangup ends most of them."""
    target = target_of(server)
    right = server.pid_file.read_text()
    server.pid_file.write_text(f"{os.getpid()}\n")
    with pytest.raises(NeedsOperator, match=f"process {os.getpid()} of .* is .*, not nginx"):
        target.apply()
    server.pid_file.write_text(right)
    NEW.write(files, "web")
    target.apply()
    PROBER.prove(endpoint_of(server), NEW_PRINT)


def test_a_worker_that_hangs_does_not_hold_the_check(server: Nginx) -> None:
    """The check is a process of its own; the running one may be stopped altogether."""
    server.pause()
    target_of(server).check()
    with pytest.raises(ProofFailed, match="no TLS handshake within"):
        PROBER.prove(endpoint_of(server, 0.5), OLD_PRINT)
    server.resume()
    wait_until(lambda: fingerprint(server.served(NAME)) == OLD_PRINT)


def test_a_reload_that_nginx_refuses_afterwards_is_found_by_the_proof(
    server: Nginx, files: Path
) -> None:
    """The signal was sent and that is all anybody was told (nginx #860)."""
    NEW.write(files, "web")
    (files / "web.key").unlink()
    server.reload()
    with pytest.raises(ProofFailed, match=f"but certificate {OLD_PRINT[:16]}"):
        PROBER.prove(endpoint_of(server, 0.5), NEW_PRINT)


def test_many_reloads_in_a_row_all_end_with_what_is_in_the_files(
    server: Nginx, files: Path
) -> None:
    """Old workers linger, and the next reload comes before they are gone."""
    target = target_of(server)
    for pair, shown in ((NEW, NEW_PRINT), (OLD, OLD_PRINT)) * 5:
        pair.write(files, "web")
        target.apply()
        PROBER.prove(endpoint_of(server), shown)
    assert server.is_running
