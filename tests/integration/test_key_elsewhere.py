"""Certificates whose key certrotd never has: an appliance or an HSM made the request."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from certrotd.pki import keys, request
from certrotd.pki.facts import parse_certificates
from tests.parts.site import Site, why_failed

NAMES = ("appliance.example.test", "*.appliance.example.test")


def made_elsewhere(path: Path, *names: str) -> EllipticCurvePrivateKey:
    """A request for the names at that path; its key."""
    key = keys.generate(keys.KeyType.ECDSA_P384)
    assert isinstance(key, EllipticCurvePrivateKey)
    path.write_bytes(keys.signing_request(key, names))  # in DER, as some appliances have it
    return key


def public_key(site: Site, generation: int) -> bytes:
    folder = site.store / "appliance/generations" / f"{generation:06d}"
    leaf = parse_certificates((folder / "fullchain.pem").read_bytes())[0]
    return keys.spki(leaf.public_key())


@pytest.fixture
def appliance(acme_site: Site) -> Site:
    """A certificate by a request, pushed by a program, and copied for it."""
    site, csr = acme_site, acme_site.directory / "appliance.csr"
    chain = site.store / "appliance/live/fullchain.pem"
    site.command("push", f"cp {chain} {site.directory}/pushed")
    install = [{"fullchain": str(site.directory / "copy.pem")}]
    site.certificate("appliance", *NAMES, csr=str(csr), targets=["push"], install=install)
    return site


def test_a_request_made_elsewhere_is_certified_and_no_key_is_kept(appliance: Site) -> None:
    """From the order at the CA to a rollback; a changed request is a reason to rotate."""
    site = appliance
    csr = site.directory / "appliance.csr"
    first = made_elsewhere(csr, *NAMES)
    site.rotate()
    assert public_key(site, 1) == keys.spki(first.public_key())
    folder = site.store / "appliance/generations/000001"
    found = {each.name for each in folder.iterdir()}
    assert found == {"request.pem", "cert.pem", "chain.pem", "fullchain.pem", "meta.json"}
    assert (folder / "request.pem").read_bytes() == request.to_pem(
        request.read_request(csr.read_bytes(), what="csr")
    )
    assert (site.directory / "copy.pem").read_bytes() == (folder / "fullchain.pem").read_bytes()
    assert b"PRIVATE KEY" not in b"".join(
        each.read_bytes() for each in site.store.rglob("*") if each.is_file()
    )
    assert site.rotate().row("appliance")["decision"] == "wait"
    assert site.run("watch").code == 0

    second = made_elsewhere(csr, *NAMES)
    run = site.rotate()
    assert "the file of csr changed" in run.row("appliance")["why"]
    assert public_key(site, 2) == keys.spki(second.public_key())
    assert site.rotate().row("appliance")["decision"] == "wait"
    live = site.store / "appliance/generations/000002"
    assert (site.directory / "pushed").read_bytes() == (live / "fullchain.pem").read_bytes()

    # what is lost of the files is put back from the others, with or without meta.json
    whole = {each.name: each.read_bytes() for each in live.iterdir()}
    (live / "fullchain.pem").write_bytes(b"")
    (live / "meta.json").unlink()
    assert "is damaged" in site.rotate().row("appliance")["why"]
    kept = {each: (live / each).read_bytes() for each in whole if each != "meta.json"}
    assert kept == {name: data for name, data in whole.items() if name != "meta.json"}
    assert site.run("rollback", "appliance").code == 0
    assert site.generation("appliance") == 1


def test_a_request_that_does_not_fit_is_told_before_anything_is_ordered(appliance: Site) -> None:
    """By config check, and by the look before an order: the file may change meanwhile."""
    site = appliance
    csr = site.directory / "appliance.csr"
    made_elsewhere(csr, NAMES[0], "other.example.test")
    check = site.run("config", "check")
    assert check.code != 0
    words = f"is for other names than the certificate: +{NAMES[1]} -other.example.test"
    assert words in check.stderr + check.stdout
    assert words in why_failed(site.rotate(expect=1), "appliance")
    csr.unlink()
    assert "does not exist" in why_failed(site.rotate(expect=1), "appliance")
    assert not (site.store / "appliance/generations").exists() or not list(
        (site.store / "appliance/generations").iterdir()
    )
    shutil.rmtree(site.state)
    made_elsewhere(csr, *NAMES)
    site.rotate()  # the control
