"""What is watched: where, under which name, and until when it is fine."""

from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.config.load import check, load
from certrotd.config.watch import WatchEntry
from tests.unit.config.written import MINIMAL, config, refused, said, write


def watched(tmp_path: Path, line: str) -> WatchEntry:
    """The only entry of a configuration."""
    return config(tmp_path, MINIMAL + f"watch: [{{{line}}}]\n").watch[0]


def wrong(tmp_path: Path, line: str) -> list[str]:
    """What is said of an entry."""
    text = MINIMAL.rstrip("\n") + f"\nwatch:\n  - {{{line}}}\n"
    return [each.partition(": ")[2] for each in said(refused(tmp_path, text))]


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("address: Shop.Example.com:443", "shop.example.com"),
        ('address: "[2001:DB8::1]:443"', "2001:db8::1"),
        ("address: 192.0.2.1:443, sni: Shop.example.com", "shop.example.com"),
    ],
)
def test_the_name_that_is_asked_for(tmp_path: Path, line: str, asked: str) -> None:
    """The host's, in its one spelling, where no other is given."""
    assert watched(tmp_path, line).asked == asked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14d", timedelta(days=14)),
        ("1/4", 0.25),
        ("0.25", 0.25),
        ("null", None),
    ],
)
def test_a_notice_is_a_span_or_a_share(
    tmp_path: Path, text: str, expected: timedelta | float | None
) -> None:
    """Fixed days are what people think in, shares what short-lived certificates need."""
    found = watched(tmp_path, f"address: a.test:443, warn_before: {text}").warn_before
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["0s", "14", "5/4", "1.5", "[1]", "soon", '""'])
def test_a_notice_that_is_neither_is_refused(tmp_path: Path, text: str) -> None:
    """None that would warn always, or never."""
    [problem] = wrong(tmp_path, f"address: a.test:443, warn_before: {text}")
    assert problem.startswith("watch[0].warn_before: ")


@pytest.mark.parametrize("text", ["system", "none", "/etc/ssl/roots.pem"])
def test_roots_are_the_system_s_a_file_or_none(tmp_path: Path, text: str) -> None:
    """And by default what fits the certificate."""
    assert str(watched(tmp_path, f"address: a.test:443, roots: {text}").roots) == text
    assert watched(tmp_path, "address: a.test:443").roots is None


def test_other_roots_are_refused(tmp_path: Path) -> None:
    """Relative to what would it be?"""
    [problem] = wrong(tmp_path, "address: a.test:443, roots: roots.pem")
    assert problem == (
        'watch[0].roots: must be "system", "none" or the absolute path of a PEM file, '
        'got "roots.pem"'
    )


def test_a_host_that_is_no_name_needs_one_to_ask_for(tmp_path: Path) -> None:
    """It is known before the first look."""
    [problem] = wrong(tmp_path, "address: a.-b.test:443")
    assert "is not a DNS name" in problem
    assert watched(tmp_path, "address: a.-b.test:443, sni: b.test").asked == "b.test"


def test_a_certificate_it_must_be_has_to_be_there(tmp_path: Path) -> None:
    """With the nearest name, as everywhere."""
    assert wrong(tmp_path, "address: a.test:443, certificate: wbe") == [
        'watch[0].certificate: there is no certificate "wbe", did you mean "web"?'
    ]
    assert watched(tmp_path, "address: a.test:443, certificate: web").certificate == "web"


def test_a_wrong_endpoint_hides_nothing_that_is_wrong_with_those_beside_it(
    tmp_path: Path,
) -> None:
    """Whoever mends a configuration mends it once; lines and positions are those of the file."""
    text = MINIMAL + "watch:\n- {address: nowhere}\n- {address: a.test:443, certificate: wbe}\n"
    text += "- {address: a.test:444, roots: /no/such.pem}\n- {address: a.test:443}\n"
    found, _ = check(write(tmp_path, text))
    lines = [str(problem).partition("config.yaml:")[2] for problem in found]
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "watch[0].address",
        "watch[1].certificate",
        "watch[2].roots",
        "watch[3]",
    ]
    assert [line.partition(":")[0] for line in lines] == ["6", "7", "8", "9"]


def test_a_certificate_that_is_left_out_does_not_take_the_daemon_with_it(tmp_path: Path) -> None:
    """One bad certificate is one bad certificate."""
    text = MINIMAL + "- {name: bad, names: [not a name]}\n"
    text += "watch: [{address: a.test:443, certificate: bad}]\n"
    found = load(write(tmp_path, text), lenient=True)
    assert [each.certificate for each in found.config.watch] == ["bad"]
    assert len(found.problems) == 1


def test_an_endpoint_that_is_there_twice_is_one_too_many(tmp_path: Path) -> None:
    """Its findings would take turns; another name at the same address is another endpoint."""
    first = "{address: a.test:443}"
    again = MINIMAL + f"watch:\n- {first}\n- {{address: a.test:443, sni: A.test}}\n"
    [problem] = said(refused(tmp_path, again))
    assert "watch[1]: a.test:443 is also watched with that name in" in problem
    other = MINIMAL + f"watch:\n- {first}\n- {{address: a.test:443, sni: b.test}}\n"
    assert len(config(tmp_path, other).watch) == 2


def test_watch_every_holds_unless_an_entry_sets_its_own(tmp_path: Path) -> None:
    """An hour, where nobody says anything."""
    assert config(tmp_path, MINIMAL).watch_every == timedelta(hours=1)
    assert config(tmp_path, MINIMAL + "watch_every: 5m\n").watch_every == timedelta(minutes=5)
    assert watched(tmp_path, "address: a.test:443").every is None
