"""A CA leads to hosts of its own domain alone, and not into this machine or its network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from certrotd.acme.reach import AllowedUrls
from certrotd.errors import NeedsOperator
from tests.builders import soon
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA

DIRECTORY = "https://acme-v02.api.ca.example/directory"


@pytest.mark.parametrize(
    ("directory", "url"),
    [
        (DIRECTORY, "https://acme-v02.api.ca.example/acme/new-order"),
        (DIRECTORY, "https://ACME-V02.api.ca.example:14000/order"),
        (DIRECTORY, "https://certificates.ca.example/1"),
        (DIRECTORY, "https://ca.example/1"),
        (DIRECTORY, "https://ca.example./1"),
        ("https://localhost:14000/dir", "https://localhost:15000/order"),
        ("https://192.0.2.1/dir", "https://192.0.2.1:14000/order"),
        ("https://[2001:db8::1]/dir", "https://[2001:db8::1]/order"),
    ],
)
def test_hosts_of_the_directorys_own_domain_are_asked(directory: str, url: str) -> None:
    """Let's Encrypt has one host, others have several."""
    AllowedUrls(directory).check(url)


@pytest.mark.parametrize(
    ("directory", "url"),
    [
        (DIRECTORY, "https://169.254.169.254/latest/meta-data"),
        (DIRECTORY, "https://127.0.0.1/order"),
        (DIRECTORY, "https://[::1]/order"),
        (DIRECTORY, "https://localhost/order"),
        (DIRECTORY, "https://other.example/order"),
        (DIRECTORY, "https://notca.example/order"),
        (DIRECTORY, "https://ca.example.evil.test/order"),
        (DIRECTORY, "https://example/order"),
        ("https://localhost:14000/dir", "https://ca.localhost/order"),
        ("https://192.0.2.1/dir", "https://198.51.2.1/order"),
        ("https://192.0.2.1/dir", "https://2.1/order"),
    ],
)
def test_hosts_of_others_are_refused_unless_they_are_listed(directory: str, url: str) -> None:
    """A metadata service was asked because the CA said so."""
    with pytest.raises(NeedsOperator, match="on another host: not contacted") as refused:
        AllowedUrls(directory).check(url)
    host = url.split("/")[2].strip("[]")
    assert refused.value.hint == f"if that is right, list {host} in also_hosts of the issuer"
    AllowedUrls(directory, [host.upper()]).check(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "0.0.0.0",  # this machine, for whoever connects to it
        "::",
        "224.0.0.1",
    ],
)
def test_a_name_that_leads_to_this_machine_or_link_is_refused(address: str) -> None:
    """The name is of the CA's domain, and who owns that says where it leads."""
    reach = AllowedUrls(DIRECTORY)
    elsewhere = ["203.0.113.1", "2001:db8::1"]
    with pytest.raises(NeedsOperator, match=f"names cdn.ca.example, which is {address}"):
        reach.check_addresses("cdn.ca.example", ["203.0.113.2", address], lambda _host: elsewhere)
    # where the directory is, there is no harm in it; nor is it asked for its own host
    reach.check_addresses("cdn.ca.example", [address], lambda _host: [address])
    reach.check_addresses("acme-v02.api.ca.example", [address], lambda _host: elsewhere)


def test_any_other_address_is_fine_and_the_directory_is_not_looked_up() -> None:
    """A CA of the company is on a private network."""
    found = ["10.0.0.1", "192.168.0.1", "203.0.113.1", "2001:db8::1", "fd00::1"]
    AllowedUrls(DIRECTORY).check_addresses("cdn.ca.example", found, pytest.fail)


PATHS = ["newOrder", "authorizations", "challenge", "finalize", "certificate", "order"]


def lead(ca: ScriptedCA, what: str, base: str) -> None:
    """Have the CA name that one thing under another base."""
    if what == "newOrder":
        ca.on("/directory", Reply(body={**ca._directory(), "newOrder": f"{base}/orders"}))
    elif what == "order":
        location = {"Location": f"{base}/order"}
        ca.on("/orders", Reply(201, ca.order_body(), location))
        ca.on("/finalize", Reply(200, ca.order_body(status="processing")))
    elif what == "challenge":
        body = ca.authorization_body(challenges=[ca.challenge_body(url=f"{base}/challenge")])
        ca.on("/authz", Reply(body=body))
    elif what == "certificate":
        ca.on("/finalize", Reply(body=ca.order_body(status="valid", certificate=f"{base}/x")))
    else:
        value: Any = f"{base}/{what}"
        changed = {what: [value] if what == "authorizations" else value}
        location = {"Location": f"{ca.base}/order"}
        ca.on("/orders", Reply(201, ca.order_body(**changed), location))


def obtain(ca: ScriptedCA, directory: Path, **settings: Any) -> bytes:
    """All that is asked of a CA."""
    order = ca.issuer(directory, **settings).order([NAME], deadline=soon())
    order.challenges()
    order.validate()
    return order.finalize(CSR)


@pytest.mark.parametrize("what", PATHS)
@pytest.mark.parametrize("host", ["localhost", "169.254.169.254"])
def test_whatever_url_of_another_host_the_ca_names_nobody_is_asked_there(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, host: str
) -> None:
    """By whatever answer: each of them is the CA's."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def noted(name: str, *rest: Any, **more: Any) -> Any:
        asked.append(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    lead(ca, what, ca.base.replace("127.0.0.1", host))
    with pytest.raises(NeedsOperator, match=f"names https://{host}.* not contacted"):
        obtain(ca, tmp_path)
    assert set(asked) == {"127.0.0.1"}


def test_a_host_that_is_listed_is_asked(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control: the same CA under its other name."""
    lead(ca, "newOrder", ca.base.replace("127.0.0.1", "localhost"))
    assert b"BEGIN CERTIFICATE" in obtain(ca, tmp_path, also_hosts=("localhost",))


def test_a_listed_name_that_leads_to_this_machine_is_not_asked(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is looked at when the connection is made, not when the name is read."""
    real = socket.getaddrinfo

    def elsewhere(name: str, port: int, *rest: Any, **more: Any) -> Any:
        return real("169.254.169.254" if name == "cdn.test" else name, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    lead(ca, "finalize", ca.base.replace("127.0.0.1", "cdn.test"))
    with pytest.raises(NeedsOperator, match=r"names cdn\.test, which is 169\.254\.169\.254"):
        obtain(ca, tmp_path, also_hosts=("cdn.test",))
