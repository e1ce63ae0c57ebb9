"""Downloaded certificate chains: which is taken, and what of them reaches no file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.acme.chains import described, suits
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, Transient
from certrotd.pki.facts import fingerprint, parse_certificates
from certrotd.pki.order import Missed
from tests.builders import soon
from tests.parts import pki
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, Skipping, problem


def test_text_around_the_certificates_reaches_no_file(ca: ScriptedCA, tmp_path: Path) -> None:
    """Servers' explanations were cut into key files elsewhere (RFC 8555 §9.1)."""
    ca.order["status"] = "ready"
    ca.on("/certificate", Reply(body=b"subject: x\r\n" + ca.chain.replace(b"\n", b"\r\n") + b"end"))
    assert ca.issuer(tmp_path).order([NAME], deadline=soon()).finalize(CSR) == ca.chain


@pytest.mark.parametrize("content", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_a_download_that_is_no_chain_is_reported(
    ca: ScriptedCA, tmp_path: Path, content: bytes
) -> None:
    """And nothing of it is staged."""
    ca.order["status"] = "ready"
    ca.on("/certificate", Reply(body=content))
    with pytest.raises(InvalidInput, match=r"the CA.s certificate chain (is|has)"):
        ca.issuer(tmp_path).order([NAME], deadline=soon()).finalize(CSR)


@pytest.mark.parametrize("alternate", ["http://127.0.0.1:1/x", "/gone", "/refused", "/garbage"])
def test_an_alternate_chain_that_cannot_be_had_does_not_cost_the_certificate(
    ca: ScriptedCA, tmp_path: Path, alternate: str
) -> None:
    """The preferred chain is a wish; the certificate is issued, and the next one may be too many.

    The positive control is test_the_preferred_chain_is_chosen_by_its_topmost_issuer.
    """
    url = alternate if alternate.startswith("http:") else ca.base + alternate
    ca.on("/certificate", Reply(body=ca.chain, headers={"Link": f'<{url}>;rel="alternate"'}))
    ca.on("/gone", Reply(404, problem("malformed")))
    ca.on("/refused", Reply(403, problem("unauthorized")))
    ca.on("/garbage", Reply(body=b"no chain"))
    ca.order["status"] = "valid"
    order = ca.issuer(tmp_path, preferred_chain="elsewhere").order([NAME], deadline=soon())
    assert order.finalize(CSR) == ca.chain


def test_an_alternate_chain_that_is_away_is_waited_for_once(ca: ScriptedCA, tmp_path: Path) -> None:
    """A hiccup need not cost the wish, nor an outage for good the certificate."""
    link = {"Link": f'<{ca.base}/other>;rel="alternate"'}
    ca.on("/certificate", *[Reply(body=ca.chain, headers=link)] * 3)
    ca.on("/other", *[Reply(502, b"")] * 99)
    ca.order["status"] = "valid"
    clock = Skipping()
    issuer = ca.issuer(tmp_path, clock, preferred_chain="elsewhere")
    with pytest.raises(Transient, match="status 502"):
        issuer.order([NAME], deadline=Deadline(clock, 60)).finalize(CSR)
    again = issuer.resume(f"{ca.base}/order", deadline=Deadline(clock, 60))
    assert again.finalize(CSR) == ca.chain


@pytest.mark.parametrize(("wanted", "index"), [("second root", 1), ("nobody", 0), ("", 0)])
def test_the_preferred_chain_is_chosen_by_its_topmost_issuer(
    ca: ScriptedCA, tmp_path: Path, wanted: str, index: int
) -> None:
    """Old devices trust an old root; where the CA has no such chain its own choice is taken."""
    ca.order["status"] = "ready"
    other = pki.make_intermediate(pki.make_root("second root"), "second intermediate")
    chains = [ca.chain, pki.make_leaf(other, NAME).fullchain_pem]
    links = f'<{ca.url}>;rel="index", <{ca.base}/other>;rel="alternate"'
    ca.on("/certificate", Reply(body=chains[0], headers={"Link": links}))
    ca.on("/other", Reply(body=chains[1]))
    order = ca.issuer(tmp_path, preferred_chain=wanted).order([NAME], deadline=soon())
    assert order.finalize(CSR) == chains[index]
    assert ca.asked("/other") == (1 if wanted else 0)
    missed = Missed("nobody", ("issuing root", "second root")) if wanted == "nobody" else None
    assert order.missed == missed


def test_a_chain_is_chosen_by_the_fingerprint_of_an_intermediate_or_of_a_root(
    tmp_path: Path,
) -> None:
    """With colons, as openssl shows it, or without; a root of the same name is not the root."""
    root, twin = pki.make_root("one name"), pki.make_root("one name")
    chain = parse_certificates(pki.make_leaf(pki.make_intermediate(root, "i"), NAME).fullchain_pem)
    roots = [parse_certificates(each.fullchain_pem)[0] for each in (twin, root)]
    known = [each.public_bytes(Encoding.DER) for each in roots]
    intermediate, own = fingerprint(chain[1]), fingerprint(roots[1])
    colons = ":".join(own[at : at + 2] for at in range(0, 64, 2)).upper()
    for right in (f"sha256:{intermediate}", f"SHA256:{own}", f"sha256:{colons}", "one name"):
        assert suits(chain, right, lambda: known), right
    for wrong in (fingerprint(chain[0]), fingerprint(roots[0]), "0" * 64):
        assert not suits(chain, f"sha256:{wrong}", lambda: known), wrong
    assert not suits(chain, f"sha256:{own}", lambda: ())
    assert described(chain, "other") == "one name"
    assert described(chain, "sha256:00") == f"one name above sha256:{intermediate}"


def test_the_chain_served_by_the_scripted_ca_is_a_chain(ca: ScriptedCA) -> None:
    """What the tests above compare with."""
    assert len(parse_certificates(ca.chain)) == 2
