"""Between entries: names that lead nowhere, and things that cannot both be."""

from pathlib import Path

import pytest

from certrotd.config.load import check
from certrotd.pki import keys
from tests.unit.config.written import LAB, MINIMAL, WEB, config, loaded, refused, said, write

ACME = 'issuers: {le: {type: acme, directory: "https://ca.example.com/d"}}\n'
SOLVER = "solvers: {ns1: {type: exec, command: [/bin/true]}}\n"
TARGET = "targets: {web: {type: nginx}}\n"
RESPONDER = "{{type: responder, zones: [{zone}], nameserver: ns.example.net, listen: {listen}}}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "issuer: lba",
            '8: certificates[web].issuer: there is no issuer "lba", did you mean "lab"?',
        ),
        ("issuer: zzz", '8: certificates[web].issuer: there is no issuer "zzz", known: lab'),
        (
            "solver: ns2",
            '8: certificates[web].solver: there is no solver "ns2", did you mean "ns1"?',
        ),
        (
            "targets: [web, wbe]",
            '8: certificates[web].targets[1]: there is no target "wbe", did you mean "web"?',
        ),
        (
            "targets:\n  - target: wbe",
            '9: certificates[web].targets[0]: there is no target "wbe", did you mean "web"?',
        ),
        ("targets: [web, web]", '8: certificates[web].targets[1]: "web" is in this list already'),
    ],
)
def test_a_certificate_refers_to_what_exists(tmp_path: Path, line: str, expected: str) -> None:
    """A typo would otherwise be found at the first renewal, in two months."""
    text = LAB + SOLVER + TARGET + "\n" + WEB + f"  {line}\n"
    assert said(refused(tmp_path, text)) == [expected]


def test_references_to_what_exists_are_fine(tmp_path: Path) -> None:
    """Negative control of the above."""
    text = LAB + SOLVER + TARGET + WEB + "  issuer: lab\n  solver: ns1\n  targets: [web]\n"
    assert config(tmp_path, text).certificates[0].solver == "ns1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("issuer: lba", '1: defaults.issuer: there is no issuer "lba", did you mean "lab"?'),
        ("solver: x", '1: defaults.solver: there is no solver "x", none is configured'),
        ("targets: [x]", '1: defaults.targets[0]: there is no target "x", none is configured'),
    ],
)
def test_defaults_refer_to_what_exists(tmp_path: Path, line: str, expected: str) -> None:
    """Told once, not for each of the certificates that use them."""
    assert said(refused(tmp_path, f"defaults: {{{line}}}\n" + MINIMAL)) == [expected]


def test_a_certificate_needs_to_know_its_issuer(tmp_path: Path) -> None:
    """With one issuer there is no question, with two there is."""
    two = "issuers: {a: {type: internal}, b: {type: internal}}\n"
    assert said(refused(tmp_path, two + WEB)) == [
        "3: certificates[web].issuer: is required here or in defaults, "
        "because there are several: a, b"
    ]
    [named] = config(tmp_path, two + WEB + "  issuer: b\n").certificates
    [silent] = config(tmp_path, two + "defaults: {issuer: [b, a]}\n" + WEB).certificates
    assert (named.issuers, silent.issuers) == (("b",), ("b", "a"))


def test_certificates_without_any_issuer_are_one_problem(tmp_path: Path) -> None:
    """The first configuration anybody writes."""
    text = WEB + "- {name: b, names: [b.c]}\n"
    assert said(refused(tmp_path, text)) == ["1: issuers: is required: certificates need an issuer"]


def test_an_acme_issuer_needs_a_solver(tmp_path: Path) -> None:
    """Without one no order can be fulfilled; a private authority needs none."""
    assert said(refused(tmp_path, ACME + WEB)) == [
        "1: solvers: is required, at least one solver: the certificate web comes from an "
        "ACME issuer"
    ]
    assert config(tmp_path, ACME + SOLVER + WEB).certificates
    assert config(tmp_path, MINIMAL).certificates
    once = "defaults: {challenge: dns-persist-01}\n"  # a record that somebody else sets
    assert config(tmp_path, ACME + once + WEB).certificates[0].challenge == "dns-persist-01"


def test_an_address_from_an_acme_issuer_is_refused(tmp_path: Path) -> None:
    """Every challenge that certrotd answers is a DNS record, and none proves an address."""
    web = "certificates: [{name: web, names: [a.b, 192.0.2.7, '2001:db8::1']}]\n"
    assert said(refused(tmp_path, ACME + SOLVER + web)) == [
        f"3: certificates[web].names[{at}]: {address} is an IP address, which no DNS record proves "
        "to an ACME CA (RFC 8738 §7): remove it, or use an internal issuer"
        for at, address in ((1, "192.0.2.7"), (2, "2001:db8::1"))
    ]
    assert loaded(tmp_path, LAB + web).warnings == ()


def test_certificates_have_names_of_their_own(tmp_path: Path) -> None:
    """Two of one name would take turns in one folder."""
    text = MINIMAL + "- name: other\n  names: [example.com]\n- names: [a.b]\n  name: web\n"
    file = tmp_path / "config.yaml"
    assert said(refused(tmp_path, text)) == [
        f'8: certificates[web].name: "web" is also the name in {file}:3: give each its own name'
    ]


@pytest.mark.parametrize("name", ["sub.example.test", "example.test", "*.example.test", "10.1.2.3"])
def test_an_internal_issuer_signs_what_it_is_permitted_to(tmp_path: Path, name: str) -> None:
    """A domain permits all below it (RFC 5280 §4.2.1.10)."""
    lab = "issuers: {lab: {type: internal, permitted_names: [example.test, 10.0.0.0/8]}}\n"
    assert config(
        tmp_path, lab + f'certificates: [{{name: web, names: ["{name}"]}}]\n'
    ).certificates


@pytest.mark.parametrize("name", ["example.com", "badexample.test", "192.0.2.1", "2001:db8::1"])
def test_an_internal_issuer_refuses_what_it_is_not_permitted_to(tmp_path: Path, name: str) -> None:
    """Every client would refuse the chain; better said before than after."""
    lab = "issuers: {lab: {type: internal, permitted_names: [example.test, 10.0.0.0/8]}}\n"
    text = lab + f'certificates: [{{name: web, names: ["{name}"]}}]\n'
    assert said(refused(tmp_path, text)) == [
        f"2: certificates[web].names[0]: {name} is not within the issuer's permitted_names: "
        "example.test, 10.0.0.0/8"
    ]


@pytest.mark.parametrize(
    ("permitted", "name"), [("example.test", "192.0.2.1"), ("10.0.0.0/8", "example.com")]
)
def test_a_name_constraint_binds_only_names_of_its_kind(
    tmp_path: Path, permitted: str, name: str
) -> None:
    """A constraint on domains says nothing about addresses (RFC 5280 §4.2.1.10)."""
    lab = f"issuers: {{lab: {{type: internal, permitted_names: [{permitted}]}}}}\n"
    assert config(tmp_path, lab + f"certificates: [{{name: web, names: [{name}]}}]\n").certificates


def test_no_two_files_are_installed_at_one_path(tmp_path: Path) -> None:
    """The key of one beside the certificate of another, whichever is renewed last."""
    text = (
        MINIMAL
        + "  install: [{privkey: /etc/a.key, cert: /etc/a.crt}]\n"
        + "- name: b\n  names: [b.c]\n  install:\n  - cert: /etc/b.crt\n  - cert: /etc//a.crt\n"
    )
    file = tmp_path / "config.yaml"
    assert said(refused(tmp_path, text)) == [
        "10: certificates[b].install[1].cert: /etc/a.crt is also installed by "
        f"{file}:5: give each its own path"
    ]
    assert config(tmp_path, text.replace("//a", "/c")).certificates


@pytest.mark.parametrize("path", ["/srv/state/journal/x", "/srv/store/web/live/cert.pem"])
def test_copies_are_not_installed_into_our_own_directories(tmp_path: Path, path: str) -> None:
    """It would overwrite a generation, or a journal."""
    folders = "state_dir: /srv/state\nstore_dir: /srv/store\n"
    text = folders + MINIMAL + f"  install: [{{cert: {path}}}]\n"
    assert said(refused(tmp_path, text)) == [
        f"7: certificates[web].install[0].cert: {path} is inside certrotd's own folder: "
        "choose another"
    ]
    beside = path.replace("/srv/", "/srv/not-")
    assert config(tmp_path, text.replace(path, beside)).certificates


def test_no_two_responders_listen_at_one_address(tmp_path: Path) -> None:
    """The second would fail to start, at the first renewal."""
    one = RESPONDER.format(zone="a.example.org", listen='["127.0.0.1:53", "127.0.0.1:53"]')
    two = RESPONDER.format(zone="b.example.org", listen='["[::1]:53", "127.0.0.1:53"]')
    text = MINIMAL + f"solvers:\n  one: {one}\n  two: {two}\n"
    also = f"is also used by {tmp_path / 'config.yaml'}:6: give each its own address"
    assert said(refused(tmp_path, text)) == [
        f"6: solvers.one.listen[1]: 127.0.0.1:53 {also}",
        f"7: solvers.two.listen[1]: 127.0.0.1:53 {also}",
    ]


def test_responders_listen_at_several_addresses_or_at_free_ports(tmp_path: Path) -> None:
    """Port 0 is another one each time."""
    one = RESPONDER.format(zone="a.example.org", listen='["127.0.0.1:0", "127.0.0.1:53"]')
    two = RESPONDER.format(zone="b.example.org", listen='["127.0.0.1:0", "127.0.0.1:54"]')
    text = MINIMAL + f"solvers:\n  one: {one}\n  two: {two}\n"
    assert len(config(tmp_path, text).solvers) == 2


def unproven(tmp_path: Path, solvers: str, line: str = "") -> list[str]:
    """The warnings about example.com and *.shop.example.com."""
    web = WEB.replace("[example.com]", '[example.com, "*.shop.example.com"]')
    problems, warnings = check(write(tmp_path, ACME + f"solvers: {{{solvers}}}\n" + web + line))
    assert problems == ()
    return said(warnings)


def responder(zone: str) -> str:
    """A responder called r."""
    return "r: " + RESPONDER.format(zone=zone, listen='["127.0.0.1:53"]')


def test_names_outside_of_the_zones_are_warned_of(tmp_path: Path) -> None:
    """Else the first order is spent to find out; a wildcard is proven at its parent."""
    shop = "_acme-challenge.shop.example.com is in no zone of {}: add its zone, or make it a CNAME "
    place = "5: certificates[web].names[1]: "
    found = unproven(tmp_path, responder("_acme-challenge.example.com"))
    assert found == [f"{place}{shop.format('any solver')}into one"]
    found = unproven(tmp_path, responder("_acme-challenge.example.com"), "  solver: r\n")
    assert found == [f"{place}{shop.format('r')}into one"]
    hook = "x: {type: exec, command: [/bin/true], zones: [example.net]}"
    assert len(unproven(tmp_path, hook)) == 2


def test_names_that_a_solver_may_prove_are_not_warned_of(tmp_path: Path) -> None:
    """In a zone, by a solver without zones, or by one that is named: only a responder is bound."""
    hook = "x: {type: exec, command: [/bin/true], zones: [example.net]}"
    assert unproven(tmp_path, responder("example.com")) == []
    assert (
        unproven(tmp_path, f"{responder('example.org')}, y: {{type: exec, command: [/bin/true]}}")
        == []
    )
    assert unproven(tmp_path, hook, "  solver: x\n") == []
    assert loaded(tmp_path, ACME + f"solvers: {{{hook}}}\n" + WEB).warnings == ()


def test_an_internal_authority_needs_no_zone(tmp_path: Path) -> None:
    """It takes our word for the names; and what is wrong otherwise is mended first."""
    text = MINIMAL + f"solvers: {{{responder('example.org')}}}\n"
    assert check(write(tmp_path, text)) == ((), ())
    text = ACME + f"solvers: {{{responder('example.org')}}}\n" + WEB + "  solver: q\n"
    problems, warnings = check(write(tmp_path, text))
    assert (len(problems), warnings) == (1, ())


@pytest.mark.parametrize(
    ("names", "covered"),
    [
        ("'*.example.test', www.example.test", "*.example.test covers www.example.test"),
        ("a.b.example.test, '*.B.Example.test'", "*.b.example.test covers a.b.example.test"),
        ("'*.example.test', example.test, a.b.example.test", None),
        ("'*.example.test', '*.b.example.test'", None),
    ],
)
def test_a_name_that_a_wildcard_covers_is_warned_of(
    tmp_path: Path, names: str, covered: str | None
) -> None:
    """Let's Encrypt refuses the order as malformed."""
    web = f"certificates:\n- name: web\n  names: [{names}]\n"
    hook = "solvers: {x: {type: exec, command: [/bin/true]}}\n"
    problems, warnings = check(write(tmp_path, ACME + hook + web))
    assert problems == ()
    why = f"{covered}: remove it, some CAs refuse an order with both"
    assert [each.message for each in warnings] == ([why] if covered else [])
    problems, warnings = check(write(tmp_path, "issuers: {ca: {type: internal}}\n" + web))
    assert (problems, warnings) == ((), ())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("key: rsa-2048", "has both csr and key"),
        ("bootstrap: self-signed", "has both csr and bootstrap"),
        ("adopt: {privkey: /k, fullchain: /c}", "has both csr and adopt"),
        ("store: {type: kubernetes, namespace: a, secret: b}", "has both csr and store"),
        ("deliver: [{host: h, directory: /d}]", "has both csr and deliver"),
        ("install: [{fullchain: /f, combined: /c}]", "has both csr and install of combined"),
        ("targets: [web]", 'the target "web" of type nginx serves a key'),
        ("names: [b.test]", "is for other names than the certificate: +b.test -example.com"),
        ("keep: 1", ""),
        ("targets: [own]", ""),
        ("install: [{fullchain: /f, chain: /c, cert: /l}]", ""),
    ],
)
def test_what_needs_a_key_is_refused_where_it_is_elsewhere(
    tmp_path: Path, line: str, expected: str
) -> None:
    """Each would be found at the first rotation, and some only by the service."""
    made = keys.signing_request(keys.generate(keys.KeyType.ECDSA_P256), ["example.com"])
    csr = tmp_path / "web.csr"
    csr.write_bytes(made)
    own = "targets: {web: {type: nginx}, own: {type: command, command: [/bin/true]}}\n"
    names = "" if line.startswith("names") else ", names: [example.com]"
    text = f"{LAB}{own}certificates:\n- {{name: web, csr: {csr}{names}, {line}}}\n"
    if expected:
        assert any(expected in each for each in said(check(write(tmp_path, text))[0]))
        return
    assert loaded(tmp_path, text).config.certificates[0].csr == csr
    csr.unlink()
    assert any("certificates[web].csr" in each for each in said(check(write(tmp_path, text))[0]))
