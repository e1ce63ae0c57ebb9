"""Endpoints that are not asked as a browser would ask them: proven, and watched, all the same."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import IPAddress, SubjectAlternativeName

from tests.parts import Nginx, Parts, pki
from tests.parts.site import Site, probe

HOST = "a.example.test"
REFUSES = "server { listen 127.0.0.1:PORT ssl default_server; ssl_reject_handshake on; }"


def serving(parts: Parts, site: Site, *names: str, **options: Any) -> Nginx:
    """An nginx on the live files of ``web``, which is for these names; its target from then on."""
    site.internal()
    entry = site.certificate("web", *names)
    site.rotate()
    nginx: Nginx = parts.start(Nginx, {name: site.files("web") for name in names}, **options)
    site.nginx(nginx)
    entry["targets"] = [{"target": "nginx", "probe": [probe(nginx, names[0])]}]
    return nginx


def test_a_wildcard_alone_is_proven_where_the_default_server_refuses(
    parts: Parts, site: Site
) -> None:
    """Its parent, which the certificate is not for, would meet the default server."""
    serving(parts, site, "*.example.test", beside=REFUSES)
    [certificate] = site.config["certificates"]
    del certificate["targets"][0]["probe"][0]["sni"]
    assert site.rotate("--force").row("web")["result"] == "done"
    assert site.run("watch").code == 0


def test_an_address_is_proven_as_a_client_would_that_connects_by_it(
    parts: Parts, site: Site
) -> None:
    """An IP address is no server name (RFC 6066 §3), and is compared with those of the leaf."""
    serving(parts, site, "127.0.0.1")
    [certificate] = site.config["certificates"]
    certificate["names"].append("::1")
    [use] = certificate["targets"]
    del use["probe"][0]["sni"]
    use["probe"][0]["roots"] = str(site.state / "internal/ca/root.pem")
    assert site.rotate().row("web")["result"] == "done"
    found = site.leaf("web").extensions.get_extension_for_class(SubjectAlternativeName).value
    assert [str(each) for each in found.get_values_for_type(IPAddress)] == ["127.0.0.1", "::1"]
    assert site.run("watch").code == 0

    # the control: of whom another address is wanted
    for names, code in ((["127.0.0.1", "::1"], 0), (["127.0.0.9"], 1)):
        asked = {name: use["probe"][0][name] for name in ("address", "roots")}
        site.config["watch"] = [{**asked, "names": names}]
        assert site.run("watch").code == code


def watched(site: Site, nginx: Nginx, **options: Any) -> None:
    """That nginx is looked at beside what certrotd looks at anyway."""
    entry = {"address": f"127.0.0.1:{nginx.port}", "sni": HOST, "certificate": "web", **options}
    site.config["watch"] = [entry]


def test_two_certificates_of_one_name_with_different_keys_are_each_proven(
    parts: Parts, site: Site
) -> None:
    """Clients of today are shown the ECDSA one alone; what old ones are shown is proven too."""
    site.internal()
    for name, key in (("web", "ecdsa-p256"), ("old", "rsa-2048")):
        site.certificate(name, HOST, key=key)
    site.rotate()
    chain, key_file = site.files("old")
    lines = f"ssl_certificate {chain}; ssl_certificate_key {key_file};"
    nginx: Nginx = parts.start(Nginx, {HOST: site.files("web")}, lines=lines)
    site.nginx(nginx)
    for entry in site.config["certificates"]:
        entry["targets"] = [{"target": "nginx", "probe": [probe(nginx, HOST)]}]

    run = site.rotate("--force")

    assert [run.row(name)["result"] for name in ("web", "old")] == ["done", "done"]
    watched(site, nginx, certificate="old")
    assert site.run("watch").code == 0
    status = site.run("status", "--probe", "--json")
    assert [row["targets"][0]["current"] for row in status.json] == [True, True]


def test_a_server_that_demands_a_client_s_certificate_is_proven_and_watched(
    parts: Parts, site: Site, tmp_path: Path
) -> None:
    """nginx answers those without one after the handshake."""
    ca, _ = pki.make_root().write(tmp_path, "clients")
    nginx = serving(parts, site, HOST, lines=f"ssl_client_certificate {ca}; ssl_verify_client on;")
    watched(site, nginx)
    assert site.rotate("--force").row("web")["result"] == "done"
    assert site.run("watch").code == 0


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_server_behind_a_proxy_is_proven_and_watched(
    parts: Parts, site: Site, version: str
) -> None:
    """It expects to hear for whom the connection is; who says nothing gets no handshake."""
    nginx = serving(parts, site, HOST, listen="proxy_protocol")
    [endpoint] = site.config["certificates"][0]["targets"][0]["probe"]
    endpoint["deadline"] = "2s"
    site.rotate("--force", expect=1)
    endpoint["proxy_protocol"] = version
    watched(site, nginx, proxy_protocol=version)
    assert site.rotate().row("web")["result"] == "done"
    assert site.run("watch").code == 0


def test_a_server_that_speaks_only_old_tls_is_watched(parts: Parts, site: Site) -> None:
    """A printer's certificate expires like any other; who only looks tells it no secret."""
    old = "ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;"
    nginx = serving(parts, site, HOST, lines=old)
    site.config["certificates"][0]["targets"] = []
    watched(site, nginx)
    assert site.run("watch").code == 0
    watched(site, nginx, names=["other.example.test"])
    run = site.run("watch", "--json")
    kinds = [each["kind"] for row in run.json for each in row["findings"]]
    assert kinds == ["wrong_name"]
    address = f"127.0.0.1:{nginx.port}"
    [seen] = site.run("inspect", address, "--sni", HOST, "--json").json
    assert seen["names"] == [HOST]
