"""What people get wrong in their first configuration, and the one line that tells them.

Each line is told where the mistake is, what is wrong, and what would be right.
"""
# ruff: noqa: E501  # a line as it is written and what is said of it, side by side

import os
import tempfile
from pathlib import Path

import pytest

from certrotd.config.load import check, load
from certrotd.errors import ConfigInvalid
from tests.unit.config.written import LAB, MINIMAL, not_root, refused, said, write

NAMES = LAB + "certificates:\n- name: web\n  names: [%s]\n"
TSIG = (
    MINIMAL
    + "solvers:\n  ns1:\n    type: rfc2136\n    server: 192.0.2.1\n    tsig:\n      name: k\n      secret: %s\n"
)
FORMS = "{file: PATH}, {env: NAME}, {credential: NAME} or {command: [PROGRAM, …]}"
UNFILLED = "variables and templates are not expanded: write the value, or {env: NAME}"
INI = '1: : is INI or TOML: the configuration is YAML (write "key: value", and a section as its name with a colon, its keys indented)'
LENGTHS = "a DNS name has at most 253 characters, and 63 between two dots"
SOLVER = MINIMAL + "solvers:\n  ns1:\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # nothing where something belongs
        (NAMES % "a.b, null", ["4: certificates[web].names[1]: must be text, got nothing: write a value, or remove the entry"]),
        (LAB + "certificates:\n- name: web\n  names:\n  - a.b\n  -\n", ["6: certificates[web].names[1]: must be text, got nothing: write a value, or remove the entry"]),
        # numbers
        (MINIMAL + "dns:\n  propagation:\n    quorum: 0\n", ["7: dns.propagation.quorum: must be a whole number from 1 to 64, got 0"]),
        (SOLVER + "    type: exec\n    command: [/x]\n    propagation: {quorum: all}\n", ['9: solvers.ns1.propagation.quorum: must be a whole number from 1 to 64, got "all"']),
        # secrets
        (TSIG % "{file: /a, env: B}", ["11: solvers.ns1.tsig.secret: has file and env: keep one of them"]),
        (TSIG % "hunter2", [f"11: solvers.ns1.tsig.secret: must be a reference to the secret, not the secret itself: {FORMS}"]),
        (TSIG % "{path: /a}", [f"11: solvers.ns1.tsig.secret: must be a reference to the secret: {FORMS}"]),
        (TSIG % "", [f"11: solvers.ns1.tsig.secret: must be a reference to the secret, got nothing: {FORMS}"]),
        (TSIG % "${TSIG}", ["11: solvers.ns1.tsig.secret: variables are not expanded: write {env: TSIG}"]),
        (TSIG % "{file: ${TSIG}}", [f"11: : is not YAML: a '{{' within brackets ({UNFILLED})"]),
        (TSIG % "{{ TSIG }}", [f"11: : a key must be text, got a mapping ({UNFILLED})"]),
        (NAMES % "'${NAME}'", ["4: certificates[web].names[0]: '${NAME}' is not a DNS name (letters, digits and hyphens in labels of at most 63; '*' only as the first label) (variables are not expanded here)"]),
        # repetition
        ("include: config.yaml\n" + MINIMAL, ["1: include: is this file itself: name others, such as conf.d/*.yaml, or null"]),
        ("include: ./config.yaml\n" + MINIMAL, ["1: include: is this file itself: name others, such as conf.d/*.yaml, or null"]),
        (LAB + "certificates:\n- &a\n  name: web\n  names: [a.b]\n- *a\n", ['6: certificates[web].name: "web" is also the name in FILE:4: give each its own name']),
        ("issuers:\n  lab: &x {type: internal, lifetime: 5}\n  two: *x\n" + MINIMAL[len(LAB) :] + "  issuer: lab\n", [
            "2: issuers.lab.lifetime: must be a duration with its unit, such as 5s, got 5",
            "3: issuers.two.lifetime: must be a duration with its unit, such as 5s, got 5",
        ]),
        # punctuation
        (SOLVER + "    type:rfc2136\n    server: 192.0.2.1\n", ['7: : is not YAML: there is no space after "type:" (write "type: …")']),
        (SOLVER + "    server: 192.0.2.1\n    type:rfc2136\n", ['8: : is not YAML: there is no space after "type:" (write "type: …")']),
        (LAB + "certificates:\n- name:web\n  names: [a.b]\n", ['3: : is not YAML: there is no space after "name:" (write "name: …")']),
        (LAB + "certificates:\n- name: web\n  names:[a.b]\n", ['4: : is not YAML: there is no space after "names:" (write "names: …")']),
        (LAB + "certificates:\n- name: web\n  names\n  keep: 3\n", ["4: : is not YAML: a key without its ':' (write \"key: value\", or quote a text that goes over several lines)"]),
        (MINIMAL + "notifications: [mail: to: x]\n", ["5: : is not YAML: a second ': ' within brackets (put a ',' between the entries, or quote the text that holds ': ')"]),
        (MINIMAL + "http: {listen: a b: c}\n", ["5: : is not YAML: a second ': ' within brackets (put a ',' between the entries, or quote the text that holds ': ')"]),
        (MINIMAL + "targets: {a: {type: nginx}\n", ["5: : is not YAML: the bracket that begins here is not closed, or a ',' is missing before line 6 (close the bracket)"]),
        (MINIMAL + "x: 'a\ny: 1\n", ["5: : is not YAML: the quote that begins here is not closed (close the quote)"]),
        # other formats
        ("[main]\nserver = a\nport = 5\n", [INI]),
        ("; comment\nserver=a\n[x]\ny=1\n", [INI]),
        ("server=a\nport=5\n", [INI]),
        ('title = "x"\n[issuers.lab]\ntype = "internal"\n', [INI]),
        ('[issuers]\n[issuers.lab]\ntype = "internal"\n[[certificates]]\nname="web"\n', [INI]),
        ("# a comment\n\nserver = a\n", [INI.replace("1:", "3:", 1)]),
        ("<config><a/></config>\n", ["1: : is XML or HTML: the configuration is YAML"]),
        ("hunter2\n", ["0: : must hold settings such as certificates:, got text"]),
        # names
        (NAMES % "'example.com:443'", ["4: certificates[web].names[0]: 'example.com:443' has a port, and a name has none (write 'example.com': certificates are for any port)"]),
        (NAMES % "'192.0.2.1:443'", ["4: certificates[web].names[0]: '192.0.2.1:443' has a port, and a name has none (write '192.0.2.1': certificates are for any port)"]),
        (NAMES % "'[2001:db8::1]:443'", ["4: certificates[web].names[0]: '[2001:db8::1]:443' has a port, and a name has none (write '2001:db8::1': certificates are for any port)"]),
        (NAMES % "'https://example.com/x'", ["4: certificates[web].names[0]: 'https://example.com/x' is a URL, not a name (write 'example.com')"]),
        (NAMES % "'file:///etc'", ["4: certificates[web].names[0]: 'file:///etc' is a URL, not a name (write the name alone)"]),
        (NAMES % "'2001:db8::g'", ["4: certificates[web].names[0]: '2001:db8::g' is not an IP address"]),
        (NAMES % "10.0.0.0/8", ["4: certificates[web].names[0]: '10.0.0.0/8' is not a DNS name (the name or the address alone, without path or network)"]),
        (NAMES % "a@example.com", ["4: certificates[web].names[0]: 'a@example.com' is not a DNS name (an e-mail address is none)"]),
        (NAMES % "a.com b.com", ["4: certificates[web].names[0]: 'a.com b.com' is not a DNS name (one name for each item of the list)"]),
        (NAMES % ".example.com", ["4: certificates[web].names[0]: '.example.com' is not a DNS name (write 'example.com', or '*.example.com' for every name below it)"]),
        (NAMES % ".".join(["a" * 60] * 5), [f"4: certificates[web].names[0]: '{'a' * 60}…' is not a DNS name (it has 304 characters: {LENGTHS})"]),
        (NAMES % ("a" * 64 + ".com"), [f"4: certificates[web].names[0]: '{'a' * 60}…' is not a DNS name ({LENGTHS})"]),
        (NAMES % ("a" * 5000), [f"4: certificates[web].names[0]: a name of 5,000 characters is not a DNS name ({LENGTHS})"]),
        # numbers
        (MINIMAL + "concurrency: 1e3\n", ["5: concurrency: must be a whole number from 1 to 64, got 1000.0"]),
        (MINIMAL + "concurrency: 1e1\n", ["5: concurrency: must be a whole number from 1 to 64, got 10.0: write 10"]),
        (MINIMAL + "concurrency: 8.5\n", ["5: concurrency: must be a whole number from 1 to 64, got 8.5"]),
        (MINIMAL + "concurrency: '8'\n", ['5: concurrency: must be a whole number from 1 to 64, got "8": write it without quotes']),
        (MINIMAL + f"watch_every: {'9' * 30}d\n", [f'5: watch_every: "{"9" * 30}d" is longer than a hundred years (36500d at most)']),
        (MINIMAL + "watch_every: 999999999d\n", ['5: watch_every: "999999999d" is longer than a hundred years (36500d at most)']),
        # indentation
        ("issuers:\n  lab: {type: internal}\n  certificates:\n  - name: web\n    names: [a.b]\n", ["3: issuers.certificates: must be a mapping such as {type: …}, got a list (certificates is a section: do not indent it)"]),
        ("issuers:\n  lab: {type: internal}\n  concurrency: 4\n" + MINIMAL[len(LAB) :] + "  issuer: lab\n", ["3: issuers.concurrency: must be a mapping such as {type: …}, got a number (concurrency is a section: do not indent it)"]),
        ("issuers:\n  lab:\n  type: internal\n" + MINIMAL[len(LAB) :] + "  issuer: lab\n", [
            "2: issuers.lab: must be a mapping such as {type: …}, got nothing",
            "3: issuers.type: must be a mapping such as {type: …}, got text (type belongs to an entry: indent it further than the entry's name)",
        ]),
        (LAB + "certificates:\n- name: web\nnames: [a.b]\n", [
            "3: certificates[web].names: is required: DNS names, wildcards and IP addresses; reports show the first",
            "4: names: unknown key, known: state_dir, store_dir, concurrency, include, log, http, issuers, solvers, dns, targets, hosts, notifications, … (names belongs to a certificate: indent it like its name)",
        ]),
        (MINIMAL + "other: {type: nginx}\n", ["5: other: unknown key, known: state_dir, store_dir, concurrency, include, log, http, issuers, solvers, dns, targets, hosts, notifications, … (indent it if it is an entry of the section before)"]),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_in_one_line_with_its_cure(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    """The first hour with a program is spent on these."""
    problems = [
        line.replace(f"{tmp_path}/config.yaml", "FILE") for line in said(refused(tmp_path, text))
    ]
    assert problems == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", "is a binary file: name one that holds YAML"),
        (b"a: 1\n\x00\n", "is a binary file: name one that holds YAML"),
        ("a: \u00e4\n".encode("latin-1"), "is not UTF-8 at byte 4: save it as UTF-8"),
        (LAB.encode("utf-16"), "is not UTF-8 at byte 1: save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_named_as_what_it_is(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    """Somebody named the program, or an editor saved it in another encoding."""
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    [problem] = check(file)[0]
    assert problem.message == expected


def test_an_unreadable_file_is_reported_with_who_may_read_it() -> None:
    """A secret-minded operator made it 0600 of root."""
    # not below tmp_path, whose parents are for their owner alone
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = write(Path(folder), MINIMAL)
        file.chmod(0)
        with not_root():
            [problem] = check(file)[0]
    assert str(problem) == (
        f"{file}: cannot be read: Permission denied (run certrotd as its own user, or let this user "
        "read it)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "include: {}\n" + MINIMAL,
        MINIMAL + "? {}\n: 1\n",
        NAMES % "{}",
        MINIMAL + "watch_every: {}\n",
        MINIMAL + "watch_every: '{}'\n",
        MINIMAL + "  keep: !{} x\n",
        MINIMAL + "  keep: *{}\n",
        "{}",
    ],
)
def test_a_long_value_is_not_echoed_in_full(tmp_path: Path, text: str) -> None:
    """Somebody pasted a file of 50 MB into a value; the message goes into a log."""
    text = text.replace("{}", "9" * 3_000_000)
    for problem in refused(tmp_path, text):
        assert len(problem.message) + len(problem.path) < 500


def test_a_certificate_with_one_problem_has_its_references_checked_too(tmp_path: Path) -> None:
    """All problems in one run, not the next one after each that is mended."""
    install = "  install: [{pkcs12: /x.p12, pkcs12_password: {file: /no/such/file}}]\n"
    hook = "solvers: {x: {type: exec, command: [/bin/true], zones: [a.b]}}\n"
    acme = 'issuers: {ca: {type: acme, directory: "https://ca.example.com/d"}}\n'
    web = MINIMAL[len(LAB) :] + "  solver: y\n" + install + "  keep: 0\n"
    file = write(tmp_path, acme + hook + web + "x: 1\n")
    with pytest.raises(ConfigInvalid):
        load(file)
    problems, warnings = check(file)
    assert [(each.line, each.path) for each in problems] == [
        (6, "certificates[web].solver"),
        (7, "certificates[web].install[0].pkcs12_password"),
        (8, "certificates[web].keep"),
        (9, "x"),
    ]
    assert warnings == ()
