"""Settings files of other programs, which anybody may have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.importing.settings import decoded, read_assignments, read_ini
from tests.unit.importing.trees import encoded


def test_what_certbot_writes_is_read() -> None:
    """Sections within sections, quotes where a value has a comma or a hash, comments."""
    found = read_ini(
        "# renew_before_expiry = 30 days\nversion = 5.8.0\n[renewalparams]\n"
        "renew_hook = \"systemctl reload nginx, # now\"\npre = 'a' # why\n[[webroot_map]]\n"
        "example.test = /srv/www # why\n"
    )
    parameters = found.sections["renewalparams"]
    assert found.values == {"version": "5.8.0"}
    assert parameters.values == {"renew_hook": "systemctl reload nginx, # now", "pre": "a"}
    assert parameters.sections["webroot_map"].values == {"example.test": "/srv/www"}
    assert found.unread == []


def test_what_it_never_writes_is_left_unread_by_its_line() -> None:
    """Nothing is guessed, and what can be read is."""
    found = read_ini("a = 1\nno assignment\nb = '''\n[[deep]]\n[open\nc = \"half\nd = 2\n")
    assert (found.values, found.unread) == ({"a": "1", "d": "2"}, [2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    "line",
    [
        "A=$(touch /tmp/x)",
        "A=`id`",
        'A="$HOME"',
        'A="`id`"',
        "A='a'; id",
        "A='a'$(id)'b'",
        "A=a b",
        "id",
        "A+=b",
        'A="a\\"b"',
        "A='open",
    ],
)
def test_shell_syntax_is_no_value(line: str) -> None:
    """acme.sh has a shell read these files; certrotd takes plain text from them."""
    found = read_assignments(f"B='fine'\n{line}\nC=too\n")
    assert (found.values, found.unread) == ({"B": "fine", "C": "too"}, [2])


def test_commands_in_base64_are_decoded_and_damaged_ones_are_told() -> None:
    """Le_ReloadCmd is kept so."""
    assert decoded(encoded("systemctl reload 'a b'")) == "systemctl reload 'a b'"
    assert decoded("plain") == "plain"
    assert decoded("__ACME_BASE64__START_***__ACME_BASE64__END_") is None


@pytest.mark.parametrize("line", ["a{}b", "[{}a", "[a{}b", "c = a{}b", '"a"{}b', "c = 'a'{}b"])
def test_a_line_as_long_as_a_file_may_be_is_read_at_once(line: str) -> None:
    """A pattern that looks at each space from each other one would take hours."""
    found = read_ini(f"b = fine\n{line.format(' ' * 200_000)}\n")
    assert found.values["b"] == "fine"
    assert len(found.unread) + len(found.values) == 2


@given(st.text(max_size=400))
def test_any_text_is_read_or_left_unread(text: str) -> None:
    """Neither reader fails, and no value has a second line."""
    for found in (read_ini(text), read_assignments(text)):
        assert all(len(value.splitlines()) <= 1 for value in found.values.values())
