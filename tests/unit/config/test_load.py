"""Loading: what an accepted configuration means, and what happens to files that cannot be read."""

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certrotd.address import Address
from certrotd.config.certificates import KeyEntry, RenewEntry, UseEntry
from certrotd.config.issuers import AcmeEntry, InternalEntry
from certrotd.config.load import check, load
from certrotd.config.secrets import EnvironmentSecret
from certrotd.config.solvers import ExecEntry, ResponderEntry, Rfc2136Entry
from certrotd.config.targets import CommandEntry, NginxEntry
from certrotd.errors import ConfigInvalid
from tests.unit.config.written import LAB, MINIMAL, WEB, config, loaded, not_root, said, write


def test_two_lines_per_certificate_are_enough(tmp_path: Path) -> None:
    """What an operator has no opinion on has a sensible value."""
    found = config(tmp_path, MINIMAL)
    assert found.state_dir == Path("/var/lib/certrotd")
    assert found.store_dir == Path("/var/lib/certrotd/certificates")
    assert found.concurrency == 8
    [web] = found.certificates
    assert (web.name, web.names, web.issuers) == ("web", ("example.com",), ("lab",))
    assert web.solver is None
    assert web.key == KeyEntry(type="ecdsa-p256", reuse=False)
    assert web.renew == RenewEntry(at=None, before=None, jitter=0.05)
    assert (web.keep, web.enabled, web.install, web.adopt, web.targets) == (3, True, (), None, ())


def test_silent_certificates_use_the_defaults_and_others_do_not(tmp_path: Path) -> None:
    """A default is for who says nothing; an empty list says something."""
    text = """\
issuers: {a: {type: internal}, b: {type: internal}}
solvers: {x: {type: exec, command: [/bin/x]}, y: {type: exec, command: [/bin/y]}}
targets: {web: {type: nginx}}
defaults: {issuer: a, solver: x, key: rsa-2048, renew: {at: 1/2}, keep: 7, targets: [web]}
certificates:
- name: silent
  names: [a.b]
- name: outspoken
  names: [a.c]
  issuer: [b, a]
  solver: y
  key: {type: rsa-3072, reuse: true}
  renew: {before: 2w}
  keep: 1
  targets: []
"""
    silent, outspoken = config(tmp_path, text).certificates
    assert (silent.issuers, silent.solver, silent.keep) == (("a",), "x", 7)
    assert silent.key == KeyEntry(type="rsa-2048")
    assert silent.renew == RenewEntry(at=0.5)
    assert silent.targets == (UseEntry(target="web"),)
    assert (outspoken.issuers, outspoken.solver, outspoken.keep) == (("b", "a"), "y", 1)
    assert outspoken.key == KeyEntry(type="rsa-3072", reuse=True)
    assert outspoken.renew.before == timedelta(weeks=2)
    assert outspoken.targets == ()


def test_names_are_canonical_and_count_once(tmp_path: Path) -> None:
    """The rest of certrotd compares names as they are; RFC 5890 and RFC 5952 decide how."""
    names = '[EXAMPLE.com., "*.Example.com", bücher.example, "2001:DB8:0::1", example.com]'
    found = loaded(tmp_path, LAB + f"certificates:\n- name: web\n  names: {names}\n")
    assert found.config.certificates[0].names == (
        "example.com",
        "*.example.com",
        "xn--bcher-kva.example",
        "2001:db8::1",
    )
    assert said(found.warnings) == [
        "4: certificates[web].names[4]: example.com is in this list already: it counts once"
    ]


def test_issuers_solvers_and_targets_become_what_they_say(tmp_path: Path) -> None:
    """One entry of every type, with values that differ from the defaults."""
    text = """\
state_dir: /srv/state
store_dir: /srv/store
issuers:
  le: {type: acme, directory: "https://ca.example.com/d", contact: [a@b.c, mailto:d@e.f]}
  lab: {type: internal, permitted_names: [Example.TEST, 10.0.0.0/8, 192.0.2.1], backdate: 0s}
solvers:
  ns1:
    type: rfc2136
    server: ns1.example.com
    zones: [Example.com]
    tsig: {name: K, secret: {env: T}}
  hook: {type: exec, command: [/bin/hook, "-q"], environment: {A: "1", B: {env: T}}}
  own:
    type: responder
    listen: ["127.0.0.1:0", "[::1]:53"]
    zones: [z.example.org]
    nameserver: ns.z.example.org
    addresses: ["2001:DB8:0::53"]
targets:
  web: {type: nginx, wave: 2, reload: [/bin/reload], probe: [{address: "[::1]:443", roots: system}]}
  app:
    type: command
    command: [/bin/app]
    check: [/bin/app, "-t"]
    probe: [{address: "a:25", roots: /r.pem}]
dns: {resolvers: [192.0.2.53, "[::1]:5353"], propagation: {servers: ["192.0.2.1:5300"], skip: true}}
"""
    found = config(tmp_path, text)
    assert (found.state_dir, found.store_dir) == (Path("/srv/state"), Path("/srv/store"))
    le, lab = found.issuers["le"], found.issuers["lab"]
    assert isinstance(le, AcmeEntry)
    assert le.contact == ("mailto:a@b.c", "mailto:d@e.f")
    assert (le.timeout, le.agree_to_terms) == (timedelta(minutes=5), False)
    assert isinstance(lab, InternalEntry)
    assert lab.permitted_names == ("example.test", "10.0.0.0/8", "192.0.2.1/32")
    assert lab.backdate == timedelta(0)
    ns1, hook, own = (found.solvers[name] for name in ("ns1", "hook", "own"))
    assert isinstance(ns1, Rfc2136Entry)
    assert (ns1.server, ns1.zones) == (Address("ns1.example.com", 53), ("example.com",))
    assert ns1.tsig is not None
    assert (ns1.tsig.name, ns1.tsig.secret) == ("k", EnvironmentSecret(env="T"))
    assert isinstance(hook, ExecEntry)
    assert hook.environment == {"A": "1", "B": EnvironmentSecret(env="T")}
    assert isinstance(own, ResponderEntry)
    assert own.listen == (Address("127.0.0.1", 0), Address("::1", 53))
    assert own.addresses == ("2001:db8::53",)
    web, app = found.targets["web"], found.targets["app"]
    assert isinstance(web, NginxEntry)
    assert (web.wave, web.reload, web.probe[0].roots) == (2, ("/bin/reload",), "system")
    assert isinstance(app, CommandEntry)
    assert (app.check, app.probe[0].roots) == (("/bin/app", "-t"), Path("/r.pem"))
    assert found.dns.resolvers == (Address("192.0.2.53", 53), Address("::1", 5353))
    assert found.dns.propagation.servers == (Address("192.0.2.1", 5300),)


def test_installed_files_have_modes_owners_and_places(tmp_path: Path) -> None:
    """An octal mode is what it looks like, in quotes or without."""
    text = (
        MINIMAL
        + """\
  install:
  - {privkey: /k, fullchain: /c, mode: 0600, cert_mode: "444", owner: "1000", group: ssl-cert}
  - {pkcs12: /b.p12, pkcs12_password: {env: P}, owner: 0, in_place: true}
"""
    )
    pair, bundle = config(tmp_path, text).certificates[0].install
    assert pair.paths == {"privkey": Path("/k"), "fullchain": Path("/c")}
    assert (pair.mode, pair.cert_mode, pair.owner, pair.group) == (0o600, 0o444, 1000, "ssl-cert")
    assert (bundle.mode, bundle.cert_mode, bundle.owner) == (0o640, 0o644, 0)
    assert bundle.in_place
    assert str(pair.mode) == "0600"


def test_a_certificate_may_prove_a_target_at_endpoints_of_its_own(tmp_path: Path) -> None:
    """Several certificates on one nginx each have their own server name."""
    text = (
        LAB
        + 'targets: {web: {type: nginx, probe: [{address: "a:1"}]}}\n'
        + WEB
        + "  targets: [web]\n- name: b\n  names: [b.c]\n"
        + '  targets: [{target: web, probe: [{address: "b:2", sni: B.c}]}]\n'
        + "- name: c\n  names: [c.d]\n  targets: [{target: web, probe: []}]\n"
    )
    found = config(tmp_path, text)
    probes = [found.probes(certificate.targets[0]) for certificate in found.certificates]
    assert [[str(probe.address) for probe in each] for each in probes] == [["a:1"], ["b:2"], []]
    assert probes[1][0].sni == "b.c"


def test_sections_without_entries_are_empty(tmp_path: Path) -> None:
    """Commenting out the last entry below a key leaves the key."""
    text = "issuers:\nsolvers:\ntargets:\ndns:\ndefaults:\ncertificates:\n"
    found = config(tmp_path, text)
    assert (found.issuers, found.certificates) == ({}, ())


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path: Path) -> None:
    """Some editors leave one."""
    assert config(tmp_path, "\ufeff" + MINIMAL).certificates


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"", 0, "is empty"),
        (b"# nothing yet\n", 0, "is empty"),
        (b"issuers: {}\nx: \xff\n", 2, "is not UTF-8 at byte 16"),
        ("issuers: {}\n".encode("utf-16"), 1, "is not UTF-8"),
        (b"a: [1\n", 1, "is not YAML"),
        (b"web\n", 0, "must hold settings"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: bytes, line: int, said: str
) -> None:
    """Each says what it is, and none is taken for an empty configuration."""
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        load(file)
    [problem] = caught.value.problems
    assert (problem.file, problem.line) == (file, line)
    assert said in problem.message
    assert check(file) == (caught.value.problems, ())


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    """A wrong path on the command line, and a FIFO that would keep the daemon waiting for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path, said_ in [
        (
            tmp_path / "missing.yaml",
            r"cannot be read: No such file or directory \(write it, if only with \{\} where",
        ),
        (tmp_path, "is a folder: name a file that holds YAML"),
        (tmp_path / "pipe", "is not a regular file"),
        (Path("a\0b"), "cannot be read"),
    ]:
        with pytest.raises(ConfigInvalid, match=said_):
            load(path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """The daemon's user is not the operator's."""
    file = write(tmp_path, MINIMAL)
    file.chmod(0)
    with (
        not_root(),
        pytest.raises(
            ConfigInvalid, match=r"cannot be read: Permission denied \(run certrotd as its own user"
        ),
    ):
        load(file)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A wrong path may name a disk image."""
    file = tmp_path / "config.yaml"
    with file.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(ConfigInvalid, match="larger than 64 MiB"):
        load(file)


def test_a_file_everybody_may_write_is_warned_of(tmp_path: Path) -> None:
    """It decides which programs certrotd runs, as root."""
    file = write(tmp_path, MINIMAL)
    file.chmod(0o644)
    assert load(file).warnings == ()
    file.chmod(0o666)
    [warning] = load(file).warnings
    assert "everybody can write it" in warning.message


def test_a_bad_certificate_leaves_the_others_running(tmp_path: Path) -> None:
    """At start, 999 good certificates must not wait for the operator of one (lego)."""
    entries = [f"- name: c{i}\n  names: [c{i}.example.com]\n" for i in range(1000)]
    entries[500] = "- name: c500\n  names: [c500.example.com]\n  keep: three\n"
    file = write(tmp_path, LAB + "certificates:\n" + "".join(entries))
    with pytest.raises(ConfigInvalid):
        load(file)
    found = load(file, lenient=True)
    assert said(found.problems) == [
        '1005: certificates[c500].keep: must be a whole number from 1 to 1000, got "three"'
    ]
    assert len(found.config.certificates) == 999
    assert "c500" not in {certificate.name for certificate in found.config.certificates}


def test_a_lenient_load_leaves_out_what_collides_or_refers_to_nothing(tmp_path: Path) -> None:
    """The first of two certificates with one name goes on; which one was meant is not guessed."""
    more = """\
  install: [{cert: /x}]
- {name: web, names: [b.c]}
- {name: other, names: [c.d], issuer: none}
- {name: third, names: [d.e], install: [{cert: /x}]}
- {name: last, names: [e.f]}
- 5
"""
    found = load(write(tmp_path, MINIMAL + more), lenient=True)
    assert [certificate.name for certificate in found.config.certificates] == ["web", "last"]
    assert found.config.certificates[0].names == ("example.com",)
    assert [problem.path for problem in found.problems] == [
        "certificates[web].name",
        "certificates[other].issuer",
        "certificates[third].install[0].cert",
        "certificates[5]",
    ]


@pytest.mark.parametrize(
    "wrong",
    ["concurrency: 0", "solvers: {x: {type: y}}", "defaults: {issuer: none}", "zzz: 1", "dns: 5"],
)
def test_a_lenient_load_still_refuses_what_is_wrong_elsewhere(tmp_path: Path, wrong: str) -> None:
    """A broken issuer or default concerns every certificate."""
    with pytest.raises(ConfigInvalid):
        load(write(tmp_path, MINIMAL + wrong), lenient=True)


def test_a_strict_load_has_no_problems(tmp_path: Path) -> None:
    """Negative control of the lenient one."""
    file = write(tmp_path, MINIMAL)
    assert load(file) == load(file, lenient=True)
    assert load(file).problems == ()


_KEYS = st.sampled_from(
    [
        "issuers",
        "solvers",
        "targets",
        "certificates",
        "dns",
        "defaults",
        "include",
        "type",
        "name",
        "names",
        "key",
        "renew",
        "install",
        "adopt",
        "probe",
        "tsig",
        "secret",
        "environment",
        "internal",
        "acme",
        "nginx",
        "command",
        "exec",
        "rfc2136",
        "responder",
        "file",
        "<<",
        "~",
        "~file",
        "[key]",
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _KEYS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_KEYS, _VALUES, max_size=6))
def test_any_shape_is_a_configuration_or_refused(tmp_path: Path, data: object) -> None:
    """Whatever is where it should not be, there is a message for it."""
    import yaml

    file = write(tmp_path, yaml.safe_dump(data, allow_unicode=True))
    with suppress(ConfigInvalid):
        load(file, lenient=True)
    check(file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_a_configuration_or_refused(tmp_path: Path, content: bytes) -> None:
    """A damaged file is a message, never a crash."""
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with suppress(ConfigInvalid):
        load(file)
