"""Names have one spelling, and nothing that is no name gets one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import InvalidInput
from certrotd.pki.names import base, canonical, covers, is_ip, is_wildcard

LABELS = st.text("abcxyzABC019-_éßİ₂Ⅷ中ı。．", min_size=1, max_size=12)
DOTTED = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
NAMES = st.one_of(
    st.text(),
    DOTTED,
    DOTTED.map("*.{}".format),
    DOTTED.map("{}.".format),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map("[{}]".format),
    st.text("0123456789.:%[]１２", min_size=1, max_size=20),
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("example.com", "example.com"),
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("  example.com\n", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("localhost", "localhost"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_every_way_to_write_a_name_has_one_spelling(written: str, meant: str) -> None:
    """Names are compared as text everywhere, so two spellings would be two names."""
    assert canonical(written) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "..",
        "../etc/passwd",
        "a/b",
        "a\\b",
        "a\x00b",
        "a b.example",
        "a\nb.example",
        "a\tb",
        "-a.example",
        "a-.example",
        "a..example",
        "a.example..",
        ".example",
        "a" * 64 + ".example",
        ".".join(["a" * 49] * 6),
        "é" * 10_000,
        "*",
        "*.",
        "*.com",
        "a.*.example",
        "*.*.example.com",
        "w*.example.com",
        "exa$mple.com",
        "$(id).example.com",
        "-é.example",
        "*。example.com",
        "user@example.com",
        "https://example.com",
        "example.com:443",
        "192.0.2.256",
        "192.0.2.1.",
        "192.0.2.01",
        "192.0.2.0/24",
        "127.1",
        "12345",
        "２",
        "１２７。0。0。1",
        "１２７。1",
        "²",
        "2001:db8::g",
        "[2001:db8::1",
        "[[2001:db8::1]]",
        "]2001:db8::1[",
        "[192.0.2.1]",
        "fe80::1%eth0",
        "::1%..",
    ],
)
def test_a_malformed_name_is_refused_in_one_line(text: str) -> None:
    """Names become file names, DNS queries and certificate requests."""
    with pytest.raises(InvalidInput) as refused:
        canonical(text)
    assert refused.value.message.isprintable()
    assert len(refused.value.message) <= 2000


@given(NAMES)
def test_a_canonical_name_is_its_own_canonical_name(text: str) -> None:
    """Else a name that was stored would not be found again."""
    try:
        name = canonical(text)
    except InvalidInput:
        return
    assert canonical(name) == name
    assert canonical(f" {name.upper()} ") == name


@given(NAMES)
def test_a_canonical_name_is_safe_as_a_file_name_and_in_a_query(text: str) -> None:
    """No slash, NUL, blank or dot-dot comes through, whatever is written (CVE-2022-30636)."""
    try:
        name = canonical(text)
    except InvalidInput:
        return
    assert name.isascii()
    assert name == name.lower()
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_.:*")
    assert ".." not in name
    assert not name.startswith((".", "-"))
    assert len(name) <= 253


@given(st.ip_addresses())
def test_every_address_is_a_name_and_known_as_an_address(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """An address is ordered, and matched in a certificate, as another kind of name."""
    assert canonical(str(address)) == str(address)
    assert canonical(address.exploded) == str(address)
    assert is_ip(str(address))


def test_a_dns_name_is_no_address() -> None:
    """The counterpart: a label of digits alone does not make a name an address."""
    assert not is_ip(canonical("4.example"))
    assert not is_ip(canonical("a.b.c.d"))


@pytest.mark.parametrize(
    ("granted", "wanted", "valid"),
    [
        (["a.example"], "a.example", True),
        (["a.example"], "b.example", False),
        (["*.a.example"], "www.a.example", True),
        (["*.a.example"], "a.example", False),
        (["*.a.example"], "x.www.a.example", False),
        (["*.a.example"], "*.a.example", True),
        (["www.a.example"], "*.a.example", False),
        (["*.a.example", "a.example"], "a.example", True),
        (["*.0.2.1"], "192.0.2.1", False),
        (["192.0.2.1"], "192.0.2.1", True),
        ([], "a.example", False),
        (["*.example"], "localhost", False),
    ],
)
def test_a_wildcard_covers_one_label_of_a_name(
    granted: list[str], wanted: str, valid: bool
) -> None:
    """As TLS clients match it (RFC 6125 §6.4.3): not the parent, not two labels, no address."""
    assert covers(granted, wanted) is valid


def test_a_wildcard_is_authorized_at_its_parent() -> None:
    """The CA asks for the TXT record there (RFC 8555 §7.1.3), as for the parent itself."""
    assert base("*.a.example") == base("a.example") == "a.example"
    assert is_wildcard("*.a.example")
    assert not is_wildcard("a.example")
