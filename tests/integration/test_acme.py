"""Certificates from Pebble and step-ca, which share no code, through one issuer."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from certrotd.acme.issuer import AcmeIssuer
from certrotd.clock import SystemClock
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import BindingEntry
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki import keys
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.order import Challenge, OrderGone, ValidationFailed
from certrotd.pki.verify import verify
from tests.builders import soon, state_folder
from tests.contract.test_issuers import IssuerContract, Subject
from tests.parts import Bind, Parts, Pebble, StepCA, locate, pki
from tests.parts.postgresql import PostgreSQL
from tests.unit.acme.scripted import acme_entry

StartPebble = Callable[..., Pebble]
StartStepCA = Callable[..., StepCA]
NAMES = ["www.example.test"]
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def dns(module_parts: Parts) -> Bind:
    """The name server both CAs look at."""
    locate.require("named")
    return module_parts.start(Bind)


@pytest.fixture(scope="module")
def shared_pebble(module_parts: Parts, dns: Bind) -> Pebble:
    """A Pebble that rejects a nonce now and then and sends Retry-After, as by default."""
    locate.require("pebble")
    return module_parts.start(Pebble, dns=dns.server, retry_after=0)


@pytest.fixture(scope="module")
def shared_stepca(module_parts: Parts, dns: Bind) -> StepCA:
    """A step-ca."""
    locate.require("step-ca")
    return module_parts.start(StepCA, resolver=dns.server)


@pytest.fixture(params=["pebble", "step-ca"])
def ca(request: pytest.FixtureRequest) -> Pebble | StepCA:
    """Each of the two CAs."""
    name = "shared_pebble" if request.param == "pebble" else "shared_stepca"
    found: Pebble | StepCA = request.getfixturevalue(name)
    return found


def issuer_of(ca: Pebble | StepCA, state_dir: Path, **changes: Any) -> AcmeIssuer:
    """Only directory and bundle differ from CA to CA."""
    usual = {"directory": ca.directory_url, "ca_bundle": ca.ca_file, "agree_to_terms": True}
    entry = acme_entry(**{**usual, "contact": ("admin@example.test",), **changes})
    return AcmeIssuer(
        entry,
        IssuerContext(
            "test", state_dir, CLOCK, folder=state_folder(state_dir, "accounts/test", CLOCK.now)
        ),
    )


def publish(dns: Bind, challenges: Sequence[Challenge]) -> None:
    for each in challenges:
        assert dns.add_txt(each.name, each.value) == 0


def obtain(issuer: AcmeIssuer, dns: Bind, names: Sequence[str] = NAMES) -> bytes:
    """The whole way; verified as the rotation does."""
    key = keys.generate(keys.KeyType.ECDSA_P256)
    order = issuer.order(names, deadline=soon())
    publish(dns, order.challenges())
    order.validate()
    pem = order.finalize(keys.signing_request(key, names))
    verify(key, parse_certificates(pem), names, now=CLOCK.now())
    return pem


class TestPebble(IssuerContract):
    """The issuer contract with Let's Encrypt's test CA."""

    @pytest.fixture
    def subject(self, shared_pebble: Pebble, dns: Bind, tmp_path: Path) -> Subject:
        issuer = issuer_of(shared_pebble, tmp_path)
        return Subject(issuer, publish=lambda challenges: publish(dns, challenges))


class TestStepCA(IssuerContract):
    """The same with smallstep's CA."""

    @pytest.fixture
    def subject(self, shared_stepca: StepCA, dns: Bind, tmp_path: Path) -> Subject:
        issuer = issuer_of(shared_stepca, tmp_path)
        return Subject(issuer, publish=lambda challenges: publish(dns, challenges))


@pytest.mark.parametrize(
    "key_type", [keys.KeyType.ECDSA_P256, keys.KeyType.ECDSA_P384, keys.KeyType.RSA_2048]
)
def test_every_kind_of_account_key_works(
    ca: Pebble | StepCA, dns: Bind, tmp_path: Path, key_type: keys.KeyType
) -> None:
    """The signature algorithm has to follow the key, which the library does not see to."""
    obtain(issuer_of(ca, tmp_path, account_key=key_type), dns)
    found = keys.load((tmp_path / "accounts/test/account.key").read_bytes())
    assert keys.key_type_of(found.public_key()) == key_type


@pytest.mark.parametrize(("percent", "count"), [(5, 40), (30, 30), (50, 30)])
def test_rejected_nonces_do_not_show(
    pebble: StartPebble, dns: Bind, tmp_path: Path, percent: int, count: int
) -> None:
    """Busy CAs reject nonces of their other front ends; half of all is the worst Pebble offers."""
    server = pebble(dns=dns.server, nonce_reject=percent, retry_after=0)
    issuer = issuer_of(server, tmp_path)

    def one(number: int) -> bytes:
        return obtain(issuer, dns, [f"n{percent}-{number}.example.test"])

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(one, range(count)))) == count


def test_orders_that_meet_at_step_ca_do_not_show(
    shared_stepca: StepCA, dns: Bind, tmp_path: Path
) -> None:
    """Its database refuses one of two orders of an account at a time, and says to retry."""
    issuer = issuer_of(shared_stepca, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        names = [[f"meet{number}.example.test"] for number in range(60)]
        assert len(set(pool.map(lambda each: obtain(issuer, dns, each), names))) == 60


def test_pebble_s_retry_after_is_waited_for(pebble: StartPebble, dns: Bind, tmp_path: Path) -> None:
    """Half of them are dates; asking before the time counts against rate limits."""
    server = pebble(dns=dns.server, retry_after=2, nonce_reject=0)
    started = CLOCK.monotonic()
    obtain(issuer_of(server, tmp_path), dns)
    # two seconds after the finalization, or a date that is between one and two seconds away
    assert 0.9 < CLOCK.monotonic() - started < 15.0


def test_an_account_is_reused_over_runs_and_found_by_its_key(
    ca: Pebble | StepCA, dns: Bind, tmp_path: Path
) -> None:
    """A new account at every run hits a rate limit and loses valid authorizations."""
    obtain(issuer_of(ca, tmp_path), dns)
    record = tmp_path / "accounts/test/account.json"
    first = json.loads(record.read_text())["url"]
    obtain(issuer_of(ca, tmp_path), dns)
    assert json.loads(record.read_text())["url"] == first
    record.unlink()
    obtain(issuer_of(ca, tmp_path), dns)
    assert json.loads(record.read_text())["url"] == first


def test_a_ca_that_forgot_everything_gets_the_account_again(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """Pebble restarted: same key, new account; the orders of before are gone."""
    server = pebble(dns=dns.server, retry_after=0)
    issuer = issuer_of(server, tmp_path)
    before = issuer.order(NAMES, deadline=soon())
    obtain(issuer, dns)
    key = (tmp_path / "accounts/test/account.key").read_bytes()
    server.restart()
    with pytest.raises(OrderGone):
        before.challenges()
    with pytest.raises(OrderGone):
        issuer.resume(before.url, deadline=soon())
    obtain(issuer, dns)
    obtain(issuer_of(server, tmp_path), dns)
    assert (tmp_path / "accounts/test/account.key").read_bytes() == key


def test_a_ready_order_is_resumed_by_another_process(
    ca: Pebble | StepCA, dns: Bind, tmp_path: Path
) -> None:
    """A crash between validation and finalization."""
    order = issuer_of(ca, tmp_path).order(NAMES, deadline=soon())
    publish(dns, order.challenges())
    order.validate()
    again = issuer_of(ca, tmp_path).resume(order.url, deadline=soon())
    assert again.challenges() == ()
    key = keys.generate(keys.KeyType.ECDSA_P256)
    chain = parse_certificates(again.finalize(keys.signing_request(key, NAMES)))
    verify(key, chain, NAMES, now=CLOCK.now())


def test_an_order_of_another_account_is_gone(ca: Pebble | StepCA, tmp_path: Path) -> None:
    """The state directory was replaced, the journal was not."""
    order = issuer_of(ca, tmp_path / "one").order(NAMES, deadline=soon())
    with pytest.raises(OrderGone):
        issuer_of(ca, tmp_path / "two").resume(order.url, deadline=soon())


def test_a_proof_the_ca_does_not_find_is_reported_in_its_words(
    ca: Pebble | StepCA, tmp_path: Path
) -> None:
    """Name and reason, not just "failed"; and of the kind that is not retried at once."""
    name = "missing.example.test"
    order = issuer_of(ca, tmp_path, timeout=5.0).order([name], deadline=soon())
    assert len(order.challenges()) == 1
    with pytest.raises(ValidationFailed, match=rf"{name}: \w+: .*TXT") as failure:
        order.validate()
    assert not isinstance(failure.value, Transient)


def test_an_order_whose_authorization_failed_is_gone(shared_pebble: Pebble, tmp_path: Path) -> None:
    """The next run orders anew."""
    issuer = issuer_of(shared_pebble, tmp_path)
    order = issuer.order(["gone.example.test"], deadline=soon())
    with pytest.raises(ValidationFailed):
        order.validate()
    with pytest.raises(OrderGone):
        issuer.resume(order.url, deadline=soon())


def test_a_wrong_record_is_reported_in_the_ca_s_words(
    ca: Pebble | StepCA, dns: Bind, tmp_path: Path
) -> None:
    """A record left by something else."""
    order = issuer_of(ca, tmp_path, timeout=5.0).order(["wrong.example.test"], deadline=soon())
    publish(dns, [replace(each, value="x" * 43) for each in order.challenges()])
    with pytest.raises(ValidationFailed, match=r"wrong\.example\.test: (unauthorized|rejectedId)"):
        order.validate()


def test_a_blocked_name_is_reported_in_the_ca_s_words(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """Waiting would not help."""
    server = pebble(dns=dns.server, blocked=["blocked.test"])
    with pytest.raises(NeedsOperator, match="rejectedIdentifier") as failure:
        issuer_of(server, tmp_path).order(["a.blocked.test"], deadline=soon())
    assert failure.value.hint


def test_an_ip_address_has_no_dns_proof(shared_pebble: Pebble, tmp_path: Path) -> None:
    """The order is taken (RFC 8738); which proofs there are is said."""
    order = issuer_of(shared_pebble, tmp_path).order(["192.0.2.7"], deadline=soon())
    with pytest.raises(NeedsOperator, match=r"dns-01 for 192\.0\.2\.7, it offers .*http-01"):
        order.challenges()


def test_a_ca_that_wants_a_bound_account_is_reported(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """ZeroSSL and others; with a key of theirs, it has one."""
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    server = pebble(dns=dns.server, eab={"kid": key})
    with pytest.raises(NeedsOperator, match="externalAccountRequired"):
        issuer_of(server, tmp_path / "none").preflight(deadline=soon())
    for name, kid, text, words in (
        ("other", "kid", "A" * 44, "the CA at .* says"),
        ("unknown", "who", key, "the CA at .* says"),
        ("bad", "kid", "no key", "eab is not base64url"),
    ):
        with pytest.raises(NeedsOperator, match=words):
            issuer_of(server, tmp_path / name, eab=bound(tmp_path, kid, text)).preflight(
                deadline=soon()
            )
    issuer = issuer_of(server, tmp_path, eab=bound(tmp_path, "kid", f"{key}\n"))
    assert obtain(issuer, dns)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_accounts_are_bound_at_a_second_ca_as_well(
    bound_stepca: StepCA, dns: Bind, tmp_path: Path, algorithm: str
) -> None:
    """step-ca with requireEAB shares no code with Pebble; a key binds one account, once."""
    key = (algorithm * 13)[:64].encode()
    bound_stepca.bind_accounts(algorithm, key)
    text = urlsafe_b64encode(key).rstrip(b"=").decode()
    entry = bound(tmp_path, algorithm, text).model_copy(update={"algorithm": algorithm})
    with pytest.raises(NeedsOperator, match="externalAccountRequired"):
        issuer_of(bound_stepca, tmp_path / "none").preflight(deadline=soon())
    assert obtain(issuer_of(bound_stepca, tmp_path, eab=entry), dns)
    with pytest.raises(Transient, match="serverInternal"):  # its word for a key that was used
        issuer_of(bound_stepca, tmp_path / "again", eab=entry).preflight(deadline=soon())


@pytest.fixture(scope="module")
def bound_stepca(module_parts: Parts, dns: Bind) -> StepCA:
    """A step-ca that takes only accounts of its customers."""
    locate.require("step-ca")
    database = module_parts.start(PostgreSQL)
    return module_parts.start(StepCA, resolver=dns.server, require_eab=True, database=database)


def bound(folder: Path, key_id: str, key: str) -> BindingEntry:
    """What the configuration has of a customer's account."""
    place = folder / f"{key_id}.eab"
    place.write_text(key)
    return BindingEntry.model_validate({"key_id": key_id, "key": {"file": str(place)}})


def test_terms_not_agreed_to_are_shown(shared_pebble: Pebble, tmp_path: Path) -> None:
    """With their address."""
    with pytest.raises(
        NeedsOperator, match="requires agreement to its terms of service: data:text/plain"
    ):
        issuer_of(shared_pebble, tmp_path, agree_to_terms=False).preflight(deadline=soon())


def test_the_bundle_of_another_ca_is_not_trusted(ca: Pebble | StepCA, tmp_path: Path) -> None:
    """The wrong file in ca_bundle."""
    other = tmp_path / "other.pem"
    other.write_bytes(pki.make_root("other").fullchain_pem)
    with pytest.raises(NeedsOperator, match="is not trusted"):
        issuer_of(ca, tmp_path, ca_bundle=other).preflight(deadline=soon())


def test_a_ca_gone_in_the_middle_is_waited_for_a_little_and_then_later(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """Nothing is wrong with the configuration: the next run goes on."""
    server = pebble(dns=dns.server)
    order = issuer_of(server, tmp_path).order(NAMES, deadline=soon())
    server.stop()
    with pytest.raises(Transient, match="did not answer"):
        order.challenges()


def test_a_ca_that_hangs_does_not_hold_the_rotation(
    pebble: StartPebble, dns: Bind, tmp_path: Path
) -> None:
    """It accepts connections and says nothing."""
    server = pebble(dns=dns.server)
    issuer = issuer_of(server, tmp_path, timeout=60.0, request_timeout=0.5)
    issuer_of(server, tmp_path).preflight(deadline=soon())
    server.pause()
    try:
        with pytest.raises(Transient, match="timed out"):
            issuer.order(NAMES, deadline=soon(2.0))  # else it would hang for ever
    finally:
        server.resume()


@pytest.fixture
def alternatives(pebble: StartPebble, dns: Bind) -> Pebble:
    """A Pebble with three roots."""
    return pebble(dns=dns.server, alternate_roots=2, retry_after=0)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_preferred_chain_is_installed(
    alternatives: Pebble, dns: Bind, tmp_path: Path, index: int
) -> None:
    """Real chains of three roots: the one asked for by its root's name."""
    roots = [parse_certificates(pem)[0] for pem in alternatives.roots()]
    wanted = facts_of(roots[index]).subject
    pem = obtain(issuer_of(alternatives, tmp_path, preferred_chain=wanted), dns)
    chain = parse_certificates(pem)
    assert facts_of(chain[-1]).issuer == wanted
    chain[-1].verify_directly_issued_by(roots[index])


@pytest.mark.parametrize("above", ["root", "intermediate"])
def test_the_preferred_chain_may_be_given_by_a_fingerprint(
    alternatives: Pebble, dns: Bind, tmp_path: Path, above: str
) -> None:
    """Names of roots are used twice; the root itself is not sent, so it must be one we know."""
    roots = [parse_certificates(pem)[0] for pem in alternatives.roots()]
    known = tmp_path / "bundle.pem"
    known.write_bytes(alternatives.ca_file.read_bytes() + b"".join(alternatives.roots()))
    wanted = roots[2] if above == "root" else parse_certificates(alternatives.intermediates()[2])[0]
    digest = wanted.fingerprint(SHA256()).hex(":").upper()
    issuer = issuer_of(alternatives, tmp_path, preferred_chain=f"sha256:{digest}", ca_bundle=known)
    chain = parse_certificates(obtain(issuer, dns))
    chain[-1].verify_directly_issued_by(roots[2])


def test_an_unknown_preferred_chain_gives_the_ca_s_own(
    alternatives: Pebble, dns: Bind, tmp_path: Path
) -> None:
    """A CA that retires a root must not stop renewals."""
    pem = obtain(issuer_of(alternatives, tmp_path, preferred_chain="DST Root CA X3"), dns)
    root = parse_certificates(alternatives.roots()[0])[0]
    parse_certificates(pem)[-1].verify_directly_issued_by(root)


def test_a_changed_contact_is_what_the_ca_has(ca: Pebble | StepCA, tmp_path: Path) -> None:
    """Asked of the CA itself: the account as it shows it."""
    for address in ("old@example.test", "new@example.test"):
        issuer = issuer_of(ca, tmp_path, contact=(address,))
        issuer.preflight(deadline=soon())
        with issuer._clients.lend(soon()) as (client, account):
            shown = client.post(account.url).json()
        assert shown["contact"] == [f"mailto:{address}"]


def test_a_csr_without_the_names_is_refused_by_the_ca(
    ca: Pebble | StepCA, dns: Bind, tmp_path: Path
) -> None:
    """In its words."""
    order = issuer_of(ca, tmp_path).order(NAMES, deadline=soon())
    publish(dns, order.challenges())
    order.validate()
    key = keys.generate(keys.KeyType.ECDSA_P256)
    with pytest.raises(Failure, match="the CA at 127"):
        order.finalize(keys.signing_request(key, [*NAMES, "more.example.test"]))
