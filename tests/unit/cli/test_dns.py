"""``certrotd dns persist-record``, where there is no CA to ask."""

import pytest

from tests.unit.cli.conftest import Certrotd


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("wbe",), "there is no certificate 'wbe' (did you mean \"web\"?)"),
        (("web",), "web comes from lab, which needs no record"),
        (("web", "--until", "soon"), "--until must be such as 2027-12-31, got 'soon'"),
        (("web", "--until", "2001-01-01"), "--until 2001-01-01 has passed"),
    ],
)
def test_what_no_record_can_be_printed_for_is_a_mistake_in_the_command(
    certrotd: Certrotd,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    """Nothing is registered at any CA for it."""
    assert certrotd("dns", "persist-record", *arguments) == 2
    assert words in capsys.readouterr().err
