"""The real servers do what tests rely on them for, and refuse what they must refuse."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.error import URLError

import dns.rcode
import dns.tsig
import pytest
from acme import client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from tests.parts import Bind, Nginx, Parts, Pebble, Resolver, StepCA, locate, pki
from tests.parts.bind import TsigKey
from tests.parts.client import https, served_leaf
from tests.parts.process import ServerFailed, free_port, wait_until

StartPebble = Callable[..., Pebble]
StartStepCA = Callable[..., StepCA]
StartBind = Callable[..., Bind]
StartResolver = Callable[..., Resolver]
StartNginx = Callable[..., Nginx]

HOST = "example.test"
CHALLENGE = "_acme-challenge.example.test"
DELEGATED = "_acme-challenge.alias.example.test"


def issue(
    ca: Pebble | StepCA, *, publish: Callable[[str, str], object], patience: int = 30
) -> x509.Certificate:
    """Orders a certificate for HOST, with `publish` given each TXT name and value."""
    key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    # requests takes a path here, whatever acme's annotation says.
    net = client.ClientNetwork(key, alg=ES256, verify_ssl=str(ca.ca_file))  # type: ignore[arg-type]
    acme = client.ClientV2(client.ClientV2.get_directory(ca.directory_url, net), net)
    acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
    order = acme.new_order(crypto_util.make_csr(pki.make_root().key_pem, [HOST]))
    for authorization in order.authorizations:
        for body in authorization.body.challenges:
            if body.chall.typ == "dns-01":  # certrotd adds kinds of it
                publish(CHALLENGE, body.chall.validation(key))
                acme.answer_challenge(body, body.chall.response(key))
    deadline = datetime.now() + timedelta(seconds=patience)  # noqa: DTZ005 (acme's are naive)
    finished = acme.poll_and_finalize(order, deadline)
    return x509.load_pem_x509_certificate(finished.fullchain_pem.encode())


@pytest.fixture(params=["pebble", "stepca"])
def ca(request: pytest.FixtureRequest, bind: StartBind) -> tuple[Pebble | StepCA, Bind]:
    """Each CA, asking the same kind of DNS server.

    No nonces are rejected: acme's own client tries again once only, which is certrotd's to mend.
    """
    authoritative = bind()
    if request.param == "pebble":
        pebble: StartPebble = request.getfixturevalue("pebble")
        return pebble(dns=authoritative.server, nonce_reject=0), authoritative
    stepca: StartStepCA = request.getfixturevalue("stepca")
    return stepca(resolver=authoritative.server), authoritative


def test_a_ca_issues_after_the_txt_record_is_there(ca: tuple[Pebble | StepCA, Bind]) -> None:
    """Validation is real: the CA reads the value that a signed update put into BIND."""
    server, dns_server = ca
    certificate = issue(server, publish=dns_server.add_txt)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]


def test_a_ca_refuses_without_the_txt_record(ca: tuple[Pebble | StepCA, Bind]) -> None:
    """Without it every green issuance above would prove nothing."""
    # step-ca leaves a failed authorization pending, to be tried again.
    with pytest.raises((errors.ValidationError, errors.TimeoutError)):
        issue(ca[0], publish=lambda name, value: None, patience=3)


def test_a_ca_directory_answers_over_its_own_ca_alone(ca: tuple[Pebble | StepCA, Bind]) -> None:
    """Clients must be given `ca_file`, and a client that ignores it is caught."""
    directory = json.loads(https(ca[0].directory_url, ca_file=ca[0].ca_file))
    assert "newOrder" in directory
    with pytest.raises(URLError) as refused:
        https(ca[0].directory_url, ca_file=None)
    assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)


def test_pebble_forgets_everything_at_a_restart(pebble: StartPebble) -> None:
    """A restart is how tests make a CA that has lost an account."""
    server = pebble(dns="127.0.0.1:1", alternate_roots=1, chain_length=2)
    before = server.roots()
    assert len(before) == len(server.intermediates()) == 2
    assert server.roots() == before
    assert not set(server.restart().roots()) & set(before)


def test_pebble_options_reach_its_directory(pebble: StartPebble) -> None:
    """Account bindings and profiles are announced only where a test asked for them."""
    eab = {"kid": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")}
    asked = pebble(dns="127.0.0.1:1", eab=eab, profiles={"tiny": 60})
    plain = pebble(dns="127.0.0.1:1")
    meta = json.loads(https(asked.directory_url, ca_file=asked.ca_file))["meta"]
    assert (meta["externalAccountRequired"], list(meta["profiles"])) == (True, ["tiny"])
    meta = json.loads(https(plain.directory_url, ca_file=plain.ca_file))["meta"]
    assert (meta["externalAccountRequired"], len(meta["profiles"])) == (False, 2)


def test_pebble_serves_the_renewal_info_it_was_given(pebble: StartPebble, bind: StartBind) -> None:
    """Renewal windows can be moved, even to nonsense, and a certificate's status asked for."""
    authoritative = bind()
    server = pebble(dns=authoritative.server, nonce_reject=0)
    certificate = issue(server, publish=authoritative.add_txt)
    aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    parts = [
        base64.urlsafe_b64encode(one).decode().rstrip("=")
        for one in (aki.key_identifier or b"", octets)
    ]
    directory = json.loads(https(server.directory_url, ca_file=server.ca_file))
    url = f"{directory['renewalInfo'].rstrip('/')}/{'.'.join(parts)}"

    assert "suggestedWindow" in json.loads(https(url, ca_file=server.ca_file))
    server.set_renewal_info(certificate, "not JSON")
    assert https(url, ca_file=server.ca_file) == b"not JSON"
    assert server.certificate_status(certificate.serial_number) == "Valid"


def test_stepca_keeps_its_root_and_demands_a_binding_when_told(
    stepca: StartStepCA, bind: StartBind
) -> None:
    """Its lifetimes are as short as asked for, and its accounts can be refused."""
    authoritative = bind()
    server = stepca(resolver=authoritative.server, duration="10m")
    certificate = issue(server.restart(), publish=authoritative.add_txt)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime.total_seconds() == pytest.approx(600, abs=61)  # one minute of back-dating

    strict = stepca(resolver=authoritative.server, require_eab=True)
    with pytest.raises(messages.Error, match="external"):
        issue(strict, publish=authoritative.add_txt)


def test_bind_takes_a_signed_update_and_refuses_another_key(bind: StartBind) -> None:
    """An update is the key holder's alone."""
    server = bind()
    assert server.add_txt(CHALLENGE, "one") == dns.rcode.NOERROR
    assert server.add_txt(CHALLENGE, "two") == dns.rcode.NOERROR
    with pytest.raises(dns.tsig.PeerBadSignature):
        server.add_txt(CHALLENGE, "three", key=TsigKey())
    with pytest.raises(dns.tsig.PeerBadKey):
        server.add_txt(CHALLENGE, "four", key=TsigKey(name="unknown"))
    assert server.txt(CHALLENGE) == {"one", "two"}


def test_bind_grants_challenge_names_alone_in_the_restricted_zone(bind: StartBind) -> None:
    """Least privilege on the DNS side is something a provider can be tested against."""
    server = bind()
    assert server.add_txt("_acme-challenge.www.restricted.test", "x") == dns.rcode.NOERROR
    assert server.add_txt("www.restricted.test", "x") == dns.rcode.REFUSED
    assert server.txt("www.restricted.test") == set()


@pytest.mark.parametrize("lagging", [True, False])
def test_a_second_server_knows_an_update_only_after_it_caught_up(
    parts: Parts, lagging: bool
) -> None:
    """A late and an independent second server are what propagation checks are for."""
    locate.require("named")
    first, second = parts.bind_pair(lagging=lagging)
    assert (first.port, first.address, second.address) == (
        second.port,
        "127.0.0.1",
        "127.0.0.2",
    )
    first.add_txt(CHALLENGE, "new")
    assert second.txt(CHALLENGE) == set()
    if lagging:
        second.catch_up()
        assert second.txt(CHALLENGE) == {"new"}
    else:
        with pytest.raises(ValueError, match="secondary"):
            second.catch_up()
    nameservers = {str(one) for rrset in second.query(HOST, "NS").answer for one in rrset}
    assert nameservers == {"ns1.example.test.", "ns2.example.test."}


def test_only_a_resolver_follows_a_delegation_to_another_zone(
    bind: StartBind, resolver: StartResolver
) -> None:
    """An authoritative server leaves a CNAME into another zone, even its own, to the asker."""
    authoritative = bind()
    recursive = resolver(authoritative=[authoritative])
    authoritative.add_txt("alias.challenges.test", "delegated")

    def values(server: Bind | Resolver) -> str:
        return "\n".join(str(rrset) for rrset in server.query(DELEGATED, "TXT").answer)

    assert "delegated" in values(recursive)
    assert "delegated" not in values(authoritative)
    assert recursive.query("example.org", "SOA").rcode() == dns.rcode.SERVFAIL


def test_nginx_serves_what_it_was_given_and_refuses_a_broken_configuration(
    nginx: StartNginx, tmp_path: Path
) -> None:
    """A reload that fails goes on serving the old certificate and says nothing."""
    root = pki.make_root()
    old, new, other = (pki.make_leaf(root, name) for name in ("a.test", "a.test", "b.test"))
    server = nginx({"a.test": old.write(tmp_path, "a"), "b.test": other.write(tmp_path, "b")})
    assert server.served("a.test") == old.certificate
    assert server.served("b.test") == other.certificate
    assert server.check().returncode == 0

    new.write(tmp_path, "a")
    server.break_config()
    assert server.check().returncode != 0
    server.reload()
    wait_until(lambda: "no_such_directive" in server.tail(5), what="the reload is refused")
    assert server.served("a.test") == old.certificate

    server.mend_config()
    server.reload()
    wait_until(lambda: server.served("a.test") == new.certificate, what="the new leaf is served")


def test_a_server_that_cannot_start_says_why(nginx: StartNginx, tmp_path: Path) -> None:
    """The log's end is in the error, so that a red run needs no second one."""
    with pytest.raises(ServerFailed, match="cannot load certificate"):
        nginx({"a.test": (tmp_path / "missing.crt", tmp_path / "missing.key")})


def test_a_server_that_hangs_is_not_one_that_is_gone(nginx: StartNginx, tmp_path: Path) -> None:
    """A paused server accepts connections, a killed one refuses them, and both come back."""
    leaf = pki.make_leaf(pki.make_root(), "a.test")
    server = nginx({"a.test": leaf.write(tmp_path, "a")})
    server.pause()
    with pytest.raises(TimeoutError):
        served_leaf("127.0.0.1", server.port, "a.test", timeout=0.3)
    server.resume()
    assert server.served("a.test") == leaf.certificate
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        server.served("a.test")
    assert server.start().served("a.test") == leaf.certificate


def test_a_killed_run_leaves_no_server_behind(tmp_path: Path) -> None:
    """Servers are told to end when the process that started them is gone."""
    locate.require("nginx")
    certificate, key = pki.make_leaf(pki.make_root(), "a.test").write(tmp_path, "a")
    script = """
import sys
from pathlib import Path
from tests.parts import Nginx
directory, *pair = map(Path, sys.argv[1:])
print(Nginx(directory, {"a.test": tuple(pair)}).start().pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, certificate, key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as run:
        assert run.stdout is not None
        server = Path("/proc", run.stdout.readline().decode().strip())
        assert server.is_dir()
        run.kill()
    # where the first process reaps nobody, it stays as a zombie
    wait_until(lambda: state_of(server) in "ZX", what="nginx ended")


def state_of(process: Path) -> str:
    """The state of a process, as in proc_pid_stat(5); X where it has gone meanwhile."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def test_a_reserved_port_is_never_drawn_twice() -> None:
    """Parallel runs share the machine's ports."""
    drawn = [free_port("both", "127.0.0.1", "127.0.0.2") for _ in range(50)]
    assert len(set(drawn)) == len(drawn)


def test_a_missing_part_skips_unless_it_is_demanded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A full run that lacks a component must not be green."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CERTROTD_DEMAND", raising=False)
    with pytest.raises(pytest.skip.Exception):
        locate.require("pebble")
    monkeypatch.setenv("CERTROTD_DEMAND", "all")
    with pytest.raises(pytest.fail.Exception):
        locate.require("pebble")
    monkeypatch.setenv("CERTROTD_DEMAND", "none")
    with pytest.raises(pytest.skip.Exception):
        locate.require("pebble")


def test_strace_kills_at_the_call_it_is_told(strace: Path, tmp_path: Path) -> None:
    """The crash tier counts on a kill before a call, and on no kill elsewhere."""
    target = tmp_path / "made"

    def run(point: int) -> int:
        inject = f"inject=mkdir,mkdirat:signal=KILL:when={point}"
        options = ["-f", "-qq", "-o", os.devnull, "-e", "trace=mkdir,mkdirat", "-e", inject]
        return subprocess.run([strace, *options, "mkdir", target], check=False).returncode

    assert run(1) in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert not target.exists()
    assert run(2) == 0
    assert target.exists()


def test_faketime_moves_the_clock_of_a_whole_process(faketime: Path) -> None:
    """Expiry is tested by moving the clock, not by waiting."""
    code = "import time; print(int(time.time()))"
    now = int(subprocess.check_output([sys.executable, "-c", code]))
    moved = int(subprocess.check_output([faketime, "-f", "+365d", sys.executable, "-c", code]))
    assert 364 * 86_400 < moved - now < 366 * 86_400
