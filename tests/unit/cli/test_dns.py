"""``certrotd dns persist-record``, where a CA cannot be asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.acme.scripted import ScriptedCA
from tests.unit.cli.conftest import Certrotd
from tests.unit.dns.scripted import ScriptedDns, answer


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


@pytest.mark.parametrize("down", ["one", "two", None])
def test_a_ca_that_is_down_does_not_hide_the_records_of_the_others(
    certrotd: Certrotd,
    config: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    down: str | None,
) -> None:
    """Several CAs are there so that one may be down; a program sees that a record is missing."""
    nothing = ScriptedDns(lambda query, udp: answer(query))
    cas = {each: ScriptedCA(tmp_path / each) for each in ("one", "two")}
    with cas["one"], cas["two"], nothing as name_server:
        for each, ca in cas.items():
            page = "nowhere" if each == down else "directory"
            config["issuers"][each] = {
                "type": "acme",
                "directory": f"{ca.base}/{page}",
                "ca_bundle": str(ca.ca_file),
                "agree_to_terms": True,
            }
        config["certificates"][0] |= {"issuer": ["one", "two"], "challenge": "dns-persist-01"}
        server = str(name_server.address)
        config["dns"] = {"resolvers": [server], "propagation": {"servers": [server]}}
        config["certificates"] = config["certificates"][:1]
        code = certrotd("dns", "persist-record", "web", "--json")
        shown = capsys.readouterr()
        assert shown.out, shown.err
        rows = {row["ca"]: row for row in json.loads(shown.out)}
        printed = certrotd("dns", "persist-record", "web")
    assert code == printed == (1 if down else 0)
    for each in cas:
        name = "" if each == down else "_validation-persist.web.example.test"
        assert rows[each]["name"] == name
        assert ("no TXT record" in rows[each]["problem"]) is (each != down)
    out, err = capsys.readouterr()
    assert out.count("_validation-persist.web.example.test. IN TXT") == (1 if down else 2)
    assert (f"{down}: " in err) is (down is not None)
