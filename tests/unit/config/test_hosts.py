"""Other hosts, and what is delivered to them, as the configuration has it."""

import re
from pathlib import Path

import pytest
import yaml

from certrotd.config.hosts import HostEntry
from tests.unit.config.written import config, refused, said

PAGE = (Path(__file__).parents[3] / "docs" / "remote-hosts.md").read_text()
[EXAMPLE] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
LOGIN = "user: u, known_hosts: /k"
HOSTS = f"""issuers: {{lab: {{type: internal}}}}
hosts:
  edge: {{address: edge.example.com, {LOGIN}, agent: /a}}
  again: {{address: EDGE.example.com, {LOGIN}, agent: /b}}
  jailed: {{address: edge.example.com, user: v, known_hosts: /k, agent: /a}}
  far: {{address: "[2001:db8::1]:2222", {LOGIN}, password: {{env: P}}}}
certificates:
"""


def certificate(name: str, *entries: str) -> str:
    """A certificate with these deliveries."""
    return f"  - {{name: {name}, names: [{name}.example.com], deliver: [{', '.join(entries)}]}}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HOSTS + certificate("web", "{host: egde, directory: /d}"),
            'deliver[0].host: there is no host "egde", did you mean "edge"?',
        ),
        (
            HOSTS + certificate("web", *["{host: edge, directory: /d}"] * 2),
            '"web.edge" is also the delivery in ',
        ),
        (
            HOSTS
            + certificate("web", *(f"{{host: edge, name: {n}, directory: /d}}" for n in "ab")),
            "/d of edge is also that of ",
        ),
        (
            HOSTS
            + certificate("web", *(f"{{host: {n}, directory: /d}}" for n in ("edge", "again"))),
            "/d of again is also that of ",
        ),
        (
            HOSTS + certificate("w" * 60, "{host: edge, directory: /d}"),
            "has more than 64 characters",
        ),
        (
            HOSTS + certificate("web", "{host: edge, directory: /d, mode: '0644'}"),
            "lets everybody access a private key",
        ),
        (
            HOSTS + certificate("web", "{host: edge, directory: /d, owner: nginx}"),
            "must be a whole number",
        ),
        (f"hosts: {{edge: {{address: e, {LOGIN}}}}}\n", "needs identity, agent or password"),
        (
            f"hosts: {{edge: {{address: e, {LOGIN}, agent: /a, passphrase: {{env: P}}}}}}\n",
            "passphrase is given, but identity is not",
        ),
        (
            f"hosts: {{edge: {{address: e, {LOGIN}, password: secret}}}}\n",
            "must be a reference to the secret",
        ),
    ],
    ids=[
        *("unknown host", "two of one name", "two in one directory", "two names of one host"),
        "a name too long",
        *("key for all", "owner by name", "no way in", "passphrase alone", "password in the file"),
    ],
)
def test_what_cannot_work_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    """With the place in the file; a secret is never shown."""
    problems = said(refused(tmp_path, text))
    assert any(words in each for each in problems), problems
    assert not any('"secret"' in each for each in problems)


def test_the_example_of_the_page_is_valid(tmp_path: Path) -> None:
    """Port 22, the name of the delivery, and what is not said, as the page says."""
    rest = {
        "issuers": {"lab": {"type": "internal"}},
        "targets": {"nginx": {"type": "nginx"}},
        **yaml.safe_load(EXAMPLE),
    }
    found = config(tmp_path, yaml.safe_dump(rest))
    host = found.hosts["edge1"]
    assert isinstance(host, HostEntry)
    assert (host.address.port, host.timeout.total_seconds()) == (22, 30)
    [entry] = found.certificates[0].deliver
    assert (entry.files, oct(entry.mode), entry.keep) == (("privkey", "fullchain"), "0o640", 3)


def test_two_accounts_of_one_host_may_have_one_path(tmp_path: Path) -> None:
    """Each may be in a chroot of its own."""
    each = (f"{{host: {name}, directory: /d}}" for name in ("edge", "jailed", "far"))
    assert len(config(tmp_path, HOSTS + certificate("web", *each)).certificates[0].deliver) == 3
