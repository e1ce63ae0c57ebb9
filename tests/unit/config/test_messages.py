"""Every wrong line is told with its place, what is wrong there, and what would be right."""
# ruff: noqa: E501  # a line as it is written and what is said of it, side by side

import re
from pathlib import Path

import pytest

from tests.unit.config.written import LAB, MINIMAL, WEB, config, refused, said

CERTIFICATE = LAB + WEB + "  %s\n"
ACME = "issuers:\n  le:\n    type: acme\n    directory: https://ca.example.com/d\n    %s\n"
SOLVER = MINIMAL + "solvers:\n  ns1:\n    %s\n"
RFC2136 = MINIMAL + "solvers:\n  ns1:\n    type: rfc2136\n    server: 192.0.2.1\n    %s\n"
EXEC = MINIMAL + "solvers:\n  x:\n    type: exec\n    command: [/bin/x]\n    %s\n"
NGINX = MINIMAL + "targets:\n  web:\n    type: nginx\n    %s\n"
SYSTEMD = MINIMAL + "targets:\n  web:\n    type: systemd\n    %s\n"
SIGNAL = MINIMAL + "targets:\n  web:\n    type: signal\n    %s\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # keys
        (CERTIFICATE % ("nmaes: [a.b]"), '5: certificates[web].nmaes: unknown key, did you mean "names"?'),
        (MINIMAL + "certificate: []", '5: certificate: unknown key, did you mean "certificates"?'),
        (
            CERTIFICATE % ("adopt: {privkey: /k, fullchain: /f, x: 1}"),
            "5: certificates[web].adopt.x: unknown key, known: privkey, fullchain, cert, chain",
        ),
        (
            RFC2136 % ("tsig: {name: k, secret: {file: /s, mode: 1}}"),
            "9: solvers.ns1.tsig.secret.mode: unknown key, known: file",
        ),
        (NGINX % ("prob: []"), '8: targets.web.prob: unknown key, did you mean "probe"?'),
        (
            LAB + "certificates:\n- name: web\n",
            "3: certificates[web].names: is required: DNS names, wildcards and IP addresses; "
            "reports show the first",
        ),
        (
            LAB + "certificates:\n- names: [a.b]\n",
            "3: certificates[0].name: is required: Its name in commands, metrics and directories; "
            "unique",
        ),
        # types
        (CERTIFICATE % ("keep: three"), '5: certificates[web].keep: must be a whole number from 1 to 1000, got "three"'),
        (CERTIFICATE % ("keep: 0"), "5: certificates[web].keep: must be a whole number from 1 to 1000, got 0"),
        (CERTIFICATE % ("keep: true"), "5: certificates[web].keep: must be a whole number from 1 to 1000, got true"),
        (CERTIFICATE % ("enabled: yes"), '5: certificates[web].enabled: must be true or false, got "yes"'),
        (CERTIFICATE % ("targets: web"), "5: certificates[web].targets: must be a list such as [a, b], got text"),
        (CERTIFICATE % ("targets: true"), "5: certificates[web].targets: must be a list such as [a, b], got true"),
        (CERTIFICATE % ("renew: 30d"), "5: certificates[web].renew: must be a mapping such as {at: …}, got text"),
        (CERTIFICATE % ("renew: {jitter: .nan}"), "5: certificates[web].renew.jitter: must be a number from 0 to 0.5, got nan"),
        (CERTIFICATE % ("renew: {jitter: 2}"), "5: certificates[web].renew.jitter: must be a number from 0 to 0.5, got 2"),
        (MINIMAL + "concurrency: 65", "5: concurrency: must be a whole number from 1 to 64, got 65"),
        (LAB + "certificates: {web: 1}", '2: certificates: must be a list, each entry beginning with "- name:", got a mapping'),
        (LAB + "certificates:\n- web\n", "3: certificates[0]: must be a mapping such as {name: …}, got text"),
        ("issuers: [lab]\n", "1: issuers: must be a mapping with a name of your choice for each entry, got a list"),
        ("issuers:\n  lab: internal\n", "2: issuers.lab: must be a mapping such as {type: …}, got text"),
        ("- a\n- b\n", "0: : must hold settings such as certificates:, got a list"),
        # names
        (LAB + "certificates:\n- name: 12\n  names: [a.b]\n", "3: certificates[0].name: must be text, got 12: put it in quotes"),
        (CERTIFICATE % ("issuer: 7"), "5: certificates[web].issuer: must be a list such as [a, b], got a number"),
        # types of entries
        (SOLVER % ("type: rfc2163"), '7: solvers.ns1.type: unknown type "rfc2163", did you mean "rfc2136"?'),
        (SOLVER % ("server: 192.0.2.1"), "6: solvers.ns1.type: is required: acmedns, cloudflare, exec, lexicon, powerdns, responder, rfc2136, route53, webhook"),
        ("issuers:\n  lab: {type:internal}\n", '2: issuers.lab.type: is required: acme, internal (put a space after the \':\' of "type:internal")'),
        (MINIMAL + "targets: {web: {type: tomcat}}", "5: targets.web.type: unknown type \"tomcat\", known: apache, command, docker, dovecot, haproxy, http, kubernetes, nginx, none, postfix, postgresql, signal, …"),
        # issuers
        (ACME % ("contact: ops@example.com"), "5: issuers.le.contact: must be a list such as [a, b], got text"),
        (ACME % ("contact: [ops]"), '5: issuers.le.contact[0]: must be one e-mail address such as ops@example.com, got "ops"'),
        (ACME % ('contact: ["a@b?cc=c@d"]'), '5: issuers.le.contact[0]: must be one e-mail address such as ops@example.com, got "a@b?cc=c@d"'),
        (ACME % ("ca_bundle: ca.pem"), '5: issuers.le.ca_bundle: must be an absolute path without "..", such as /etc/ssl, got "ca.pem"'),
        (ACME % ("ca_bundle: /etc/../x"), '5: issuers.le.ca_bundle: must be an absolute path without "..", such as /etc/ssl, got "/etc/../x"'),
        (ACME % ("budget: 300"), "5: issuers.le.budget: must be a mapping such as {orders: …}, got a number"),
        (ACME % ("budget: lots"), '5: issuers.le.budget: must be none or such as {orders: 300, per: 3h}, got "lots"'),
        (ACME % ("budget: {orders: 0}"), "5: issuers.le.budget.orders: must be a whole number from 1 to 100000, got 0"),
        (ACME % ("budget: {per: 0s}"), '5: issuers.le.budget.per: must be longer than zero, such as 30s, got "0s"'),
        (ACME % ("request_timeout: 6m"), "2: issuers.le: request_timeout (6m) must not be longer than timeout (5m)"),
        (ACME % ("timeout: 5"), "5: issuers.le.timeout: must be a duration with its unit, such as 5s, got 5"),
        (ACME % ("timeout: {}"), "5: issuers.le.timeout: must be a duration with its unit, such as 90d, got a mapping"),
        (ACME % ("timeout: 5x"), '5: issuers.le.timeout: "5x" is not a duration (write weeks, days, hours, minutes and seconds in this order, such as 90d, 12h 30m or 45s)'),
        (ACME % ("timeout: 0s"), '5: issuers.le.timeout: must be longer than zero, such as 30s, got "0s"'),
        ("issuers: {lab: {type: internal, lifetime: 90d, root_lifetime: 90d}}", "1: issuers.lab: lifetime (90d) must be shorter than root_lifetime (90d)"),
        ("issuers: {lab: {type: internal, backdate: 60d}}", "1: issuers.lab: backdate (60d) must be at most 45d: half of lifetime (90d), and no more than a year, or certificates are due for renewal when they begin"),
        ("issuers: {lab: {type: internal, backdate: 36500d}}", "1: issuers.lab: backdate (36500d) must be at most 45d: half of lifetime (90d), and no more than a year, or certificates are due for renewal when they begin"),
        ("issuers: {lab: {type: internal, backdate: 366d, lifetime: 1000d}}", "1: issuers.lab: backdate (366d) must be at most 365d: half of lifetime (1000d), and no more than a year, or certificates are due for renewal when they begin"),
        ("issuers: {lab: {type: internal, lifetime: 90s}}", "1: issuers.lab: lifetime (1m 30s) must be at least twice backdate (1m)"),
        ("issuers: {lab: {type: internal, key: dsa}}", '1: issuers.lab.key: must be one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096; got "dsa"'),
        ("issuers: {lab: {type: internal, key: rsa-1024}}", '1: issuers.lab.key: must be one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096; got "rsa-1024"'),
        ('issuers: {lab: {type: internal, permitted_names: ["*.a.b"]}}', '1: issuers.lab.permitted_names[0]: must be a domain, which includes its subdomains, got "*.a.b"'),
        ("issuers: {lab: {type: internal, permitted_names: [10.0.0.1/8]}}", '1: issuers.lab.permitted_names[0]: must be a domain or a network such as 10.0.0.0/8, got "10.0.0.1/8"'),
        (f"issuers: {{lab: {{type: internal, common_name: {'x' * 65}}}}}", "1: issuers.lab.common_name: must be at most 64 characters long"),
        # solvers
        (RFC2136 % ("server: 192.0.2.2"), '9: : "server" is already in line 8: keep one of them'),
        (SOLVER % ("{type: rfc2136, server: '127.1'}"), '7: solvers.ns1.server: "127.1" has no usable host (such as 192.0.2.1:443 or [2001:db8::1]:443)'),
        (SOLVER % ("{type: rfc2136, server: [a]}"), "7: solvers.ns1.server: must be an address such as 192.0.2.1:53, got a list"),
        (RFC2136 % ("ttl: -1"), "9: solvers.ns1.ttl: must be a whole number from 0 to 86400, got -1"),
        (RFC2136 % ("protocol: tls"), '9: solvers.ns1.protocol: must be one of udp, tcp; got "tls"'),
        (RFC2136 % ('zones: ["*.a.b"]'), '9: solvers.ns1.zones[0]: must be a domain name such as example.com, got "*.a.b"'),
        (RFC2136 % ("zone: 192.0.2.1"), '9: solvers.ns1.zone: must be a domain name such as example.com, got "192.0.2.1"'),
        (RFC2136 % ("tsig: {name: k, algorithm: hmac-sha1, secret: {env: A}}"), '9: solvers.ns1.tsig.algorithm: must be one of hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512; got "hmac-sha1"'),
        (RFC2136 % ("tsig: hunter2"), "9: solvers.ns1.tsig: must be a mapping such as {name: …}, got text"),
        (EXEC % ("environment: {1A: x}"), "9: solvers.x.environment.1A: must be the name of an environment variable: letters, digits and '_', got \"1A\""),
        (SOLVER % ("{type: exec, command: []}"), "7: solvers.ns1.command: must not be empty"),
        (SOLVER % ('{type: exec, command: ["a\\0"]}'), "7: solvers.ns1.command[0]: must be one line of text without control characters"),
        (SOLVER % ("{type: responder, listen: [], zones: [a.b], nameserver: ns.c}"), "7: solvers.ns1.listen: must not be empty"),
        (SOLVER % ('{type: responder, listen: ["localhost:53"], zones: [a.b], nameserver: ns.c}'), '7: solvers.ns1.listen[0]: must be an IP address such as 192.0.2.1:53, got "localhost:53"'),
        (SOLVER % ('{type: responder, listen: ["[::]:53"], zones: [], nameserver: ns.c}'), "7: solvers.ns1.zones: must not be empty"),
        (SOLVER % ('{type: responder, listen: ["[::]:53"], zones: [a.b], nameserver: ns.a.b}'), "6: solvers.ns1: addresses are required: ns.a.b is inside a.b, so only this solver has its address"),
        (SOLVER % ('{type: responder, listen: ["[::]:53"], zones: [a.b], nameserver: ns.c, addresses: [x]}'), '7: solvers.ns1.addresses[0]: must be an IP address such as 192.0.2.1, got "x"'),
        (MINIMAL + 'dns: {resolvers: ["fe80::1%eth0"]}', '5: dns.resolvers[0]: "fe80::1%eth0" has a scope: give an address that works from anywhere'),
        (MINIMAL + "dns: {resolvers: [ns1.example.com]}", '5: dns.resolvers[0]: must be an IP address such as 192.0.2.1:53, got "ns1.example.com"'),
        (MINIMAL + "dns: {resolvers: [192.0.2.1:0]}", '5: dns.resolvers[0]: "192.0.2.1:0" has no port from 1 to 65535'),
        (MINIMAL + "dns: {propagation: {port: 0}}", "5: dns.propagation.port: must be a whole number from 1 to 65535, got 0"),
        # targets
        (NGINX % ("reload: restart"), '8: targets.web.reload: must be signal, systemctl or a program with its arguments as a list, got "restart"'),
        (NGINX % ("reload: []"), "8: targets.web.reload: must be signal, systemctl or a program with its arguments as a list, got a list"),
        (NGINX % ('reload: ["a\\0"]'), "8: targets.web.reload: must be signal, systemctl or a program with its arguments as a list, got a list"),
        (NGINX % ("probe: 127.0.0.1:443"), "8: targets.web.probe: must be a list such as [{address: …}], got text"),
        (NGINX % ("probe: [127.0.0.1:443]"), "8: targets.web.probe[0]: must be a mapping such as {address: …}, got text"),
        (NGINX % ("probe: [{address: 'https://a:1'}]"), '8: targets.web.probe[0].address: "https://a:1" is a URL (host and port, such as 192.0.2.1:443 or [2001:db8::1]:443)'),
        (MINIMAL + "defaults: web", "5: defaults: must be a mapping, got \"web\""),
        (MINIMAL.replace("example.com", "'https://example.com'"), "4: certificates[web].names[0]: 'https://example.com' is a URL, not a name (write 'example.com')"),
        (NGINX % ("probe: [{address: 127.0.0.1}]"), '8: targets.web.probe[0].address: "127.0.0.1" lacks a port (such as 192.0.2.1:443 or [2001:db8::1]:443)'),
        (NGINX % ('probe: [{address: "a:1", roots: none}]'), '8: targets.web.probe[0].roots: must be "system" or the absolute path of a PEM file, got "none"'),
        (NGINX % ('probe: [{address: "a:1", starttls: gopher}]'), '8: targets.web.probe[0].starttls: must be one of smtp, imap, pop3, ldap, postgres, mysql, xmpp; got "gopher"'),
        (SYSTEMD % ("unit: nginx"), '8: targets.web.unit: must be a systemd unit with its suffix, such as nginx.service, got "nginx"'),
        (SYSTEMD % ("unit: vpn@home"), '8: targets.web.unit: must be a systemd unit with its suffix, such as vpn@home.service, got "vpn@home"'),
        (SYSTEMD % ("unit: a.servce"), '8: targets.web.unit: must be a systemd unit with its suffix, such as a.servce.service, got "a.servce"'),
        (SYSTEMD % ('unit: "@.service"'), '8: targets.web.unit: must be a systemd unit with its suffix, such as nginx.service, got "@.service"'),
        (SYSTEMD % ("unit: vpn@.service"), '8: targets.web.unit: is a template and needs an instance: write vpn@INSTANCE.service, got "vpn@.service"'),
        (SYSTEMD % ('unit: "a b.service"'), '8: targets.web.unit: must be the name of a systemd unit (letters, digits and : - _ . \\ @), such as nginx.service, got "a b.service"'),
        (SYSTEMD % ('unit: ""'), '8: targets.web.unit: must be the name of a systemd unit (letters, digits and : - _ . \\ @), such as nginx.service, got ""'),
        (SYSTEMD % (f"unit: {'a' * 250}.service"), "8: targets.web.unit: must be at most 255 characters long"),
        (SYSTEMD % ("verb: reload"), "6: targets.web.unit: is required: The unit, with its suffix, such as nginx.service"),
        (SYSTEMD % ("unit: a.service\n    verb: stop"), '9: targets.web.verb: must be one of reload, restart, reload-or-restart, try-restart, try-reload-or-restart; got "stop"'),
        (SIGNAL % ("signal: KILL"), '8: targets.web.signal: must be one of HUP, USR1, USR2; got "KILL"'),
        (SIGNAL % ("signal: HUP"), "6: targets.web: needs either pid_file or unit, to find the process"),
        (SIGNAL % ("pid_file: /run/x.pid\n    unit: x.service"), "6: targets.web: needs either pid_file or unit, to find the process"),
        (SIGNAL % ("unit: x.socket"), '8: targets.web.unit: must be a .service: only it has a main process, got "x.socket"'),
        # certificates
        (CERTIFICATE % ("key: rsa"), '5: certificates[web].key.type: must be one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096; got "rsa"'),
        (CERTIFICATE % ("bootstrap: yes"), '5: certificates[web].bootstrap: must be one of self-signed; got "yes"'),
        (CERTIFICATE % ("renew: {at: 1}"), "5: certificates[web].renew.at: must be a share of the lifetime such as 2/3 or 0.66, got 1"),
        (CERTIFICATE % ("renew: {at: 3/2}"), '5: certificates[web].renew.at: must be a share of the lifetime such as 2/3 or 0.66, got "3/2"'),
        (CERTIFICATE % ("renew: {at: 1/0}"), '5: certificates[web].renew.at: must be a share of the lifetime such as 2/3 or 0.66, got "1/0"'),
        (CERTIFICATE % ("renew: {at: .nan}"), "5: certificates[web].renew.at: must be a share of the lifetime such as 2/3 or 0.66, got nan"),
        (CERTIFICATE % ("adopt: {privkey: /a, fullchain: /b}\n  bootstrap: self-signed"), "3: certificates[web]: has both adopt and bootstrap: keep one of them"),
        (CERTIFICATE % ("renew: {at: 0.5, before: 1d}"), "5: certificates[web].renew: has both at and before: keep one of them"),
        (CERTIFICATE % ("renew: {at: 0.1, jitter: 0.2}"), "5: certificates[web].renew: jitter (0.2) must be smaller than at (0.1)"),
        (CERTIFICATE % ("install: [{}]"), "5: certificates[web].install[0]: needs at least one path: privkey, cert, chain, fullchain, combined, pkcs12"),
        (CERTIFICATE % ("install: [{cert: /a, chain: /a}]"), "5: certificates[web].install[0]: two of its files have the same path: each needs its own"),
        (CERTIFICATE % ("install: [{cert: /a, pkcs12_password: {env: A}}]"), "5: certificates[web].install[0]: pkcs12_password is given, but pkcs12 (the path) is not"),
        (CERTIFICATE % ('install: [{cert: /a, mode: "0644"}]'), '5: certificates[web].install[0].mode: lets everybody access a private key: use "0640" at most, got "0644"'),
        (CERTIFICATE % ("install: [{cert: /a, mode: 640}]"), '5: certificates[web].install[0].mode: must be an octal mode in quotes, such as "0640", got 640'),
        (CERTIFICATE % ("install: [{cert: /a, mode: 416}]"), '5: certificates[web].install[0].mode: must be an octal mode in quotes, such as "0640", got 416'),
        (CERTIFICATE % ("install: [{cert: /a, mode: rw}]"), '5: certificates[web].install[0].mode: must be an octal mode in quotes, such as "0640", got "rw"'),
        (CERTIFICATE % ("install: [{cert: /a, mode: 0240}]"), '5: certificates[web].install[0].mode: must let the owner read and nobody execute, got "0240"'),
        (CERTIFICATE % ("install: [{cert: /a, cert_mode: 0666}]"), '5: certificates[web].install[0].cert_mode: lets everybody write: use "0644", got "0666"'),
        (CERTIFICATE % ("install: [{cert: /a, owner: -1}]"), "5: certificates[web].install[0].owner: must be the name or the number of a user or group, got -1"),
        (CERTIFICATE % ("install: [{cert: /a, group: a/b}]"), '5: certificates[web].install[0].group: must be the name or the number of a user or group, got "a/b"'),
        (CERTIFICATE % ('install: [{cert: "/a\\0"}]'), "5: certificates[web].install[0].cert: must be a path without NUL and of at most 4,096 characters"),
        (CERTIFICATE % ("install: [{cert: 1}]"), "5: certificates[web].install[0].cert: must be an absolute path such as /etc/ssl, got a number"),
        (CERTIFICATE % ("adopt: {privkey: /k}"), "5: certificates[web].adopt: needs either fullchain, or cert and chain"),
        (CERTIFICATE % ("adopt: {privkey: /k, fullchain: /f, cert: /c}"), "5: certificates[web].adopt: needs either fullchain, or cert and chain"),
        (CERTIFICATE % ("adopt: {privkey: /k, fullchain: /f, chain: /c}"), "5: certificates[web].adopt: chain belongs to cert, not to fullchain"),
        (LAB + "certificates:\n- name: web\n  names: []\n", "4: certificates[web].names: must not be empty"),
        (LAB + f"certificates:\n- name: web\n  names: [{', '.join(f'{i}.a.b' for i in range(1001))}]\n", "4: certificates[web].names: must have at most 1,000 entries"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_reported_with_its_place_and_what_would_be_right(
    tmp_path: Path, text: str, expected: str
) -> None:
    """The operator mends the file from the message alone."""
    assert said(refused(tmp_path, text)) == [expected]


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "/etc",
        ".",
        "..",
        ".hidden",
        "a..b",
        "a.",
        "",
        "A",
        "-a",
        "a b",
        "é",
        "a\\n",
        "a\\0",
        "x" * 65,
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str) -> None:
    """A certificate's name becomes a folder, and an issuer's too (CVE-2022-30636)."""
    [certificate] = refused(tmp_path, LAB + f'certificates:\n- name: "{name}"\n  names: [a.b]\n')
    assert (certificate.line, certificate.path) == (3, "certificates[0].name")
    [issuer] = refused(tmp_path, f'issuers: {{"{name}": {{type: internal}}}}\n')
    assert issuer.line == 1
    for problem in (certificate, issuer):
        assert "must be a plain name" in problem.message or "at most 64" in problem.message


@pytest.mark.parametrize("name", ["a", "web", "www.example.com", "a-b_c.d", "0", "a--b", "x" * 64])
def test_a_plain_name_is_accepted(tmp_path: Path, name: str) -> None:
    """The rule above leaves room for the names people use."""
    text = LAB + f'certificates:\n- name: "{name}"\n  names: [a.b]\n'
    assert config(tmp_path, text).certificates[0].name == name


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example.com/directory",
        "HTTP://ca.example.com/directory",
        "ca.example.com/directory",
        "ftp://ca.example.com/directory",
        "file:///etc/passwd",
    ],
)
def test_a_directory_without_tls_is_refused(tmp_path: Path, url: str) -> None:
    """Whoever is on the path would be the authority (CVE-2025-54799)."""
    [problem] = refused(tmp_path, f"issuers:\n  le:\n    type: acme\n    directory: {url}\n")
    assert (problem.line, problem.path) == (4, "issuers.le.directory")
    assert "must begin with https:// (RFC 8555 §6.1)" in problem.message


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///directory",
        "https://a b/directory",
        "https://user:hunter2@ca.example.com/",
        "https://ca.example.com/#x",
        "https://ca.example.com:x/",
        "https://ca.example.com:0/",
        "https://[::1/",
    ],
)
def test_a_directory_that_is_no_plain_url_is_refused(tmp_path: Path, url: str) -> None:
    """A password in a URL ends up in logs; it is refused, and not repeated."""
    [problem] = refused(tmp_path, f'issuers:\n  le:\n    type: acme\n    directory: "{url}"\n')
    assert problem.path == "issuers.le.directory"
    assert "hunter2" not in problem.message


@pytest.mark.parametrize(
    "url", ["https://ca.example.com/d", "https://[::1]:14000/dir", "https://127.0.0.1:14000/dir"]
)
def test_a_directory_with_tls_is_accepted(tmp_path: Path, url: str) -> None:
    """A test authority on this machine too."""
    found = config(tmp_path, f'issuers:\n  le:\n    type: acme\n    directory: "{url}"\n')
    assert found.issuers["le"].model_dump()["directory"] == url


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("tsig: {name: k, secret: hunter2}", "tsig.secret"),
        ("tsig: {name: k, secret: 4711}", "tsig.secret"),
        ("tsig: {name: k, secret: [hunter2]}", "tsig.secret"),
        ("tsig: {name: k, secret: {hunter2: }}", "tsig.secret"),
        ("tsig: {name: k, secret: {file: /a, env: A}}", "tsig.secret"),
        ("tsig: {name: k, secret: {env: hunter-2}}", "tsig.secret.env"),
        ("tsig: {name: k, secret: {env: 4711}}", "tsig.secret.env"),
        ("tsig: {name: k, secret: {file: 4711}}", "tsig.secret.file"),
        ("tsig: {name: k, secret: {credential: a/../b}}", "tsig.secret.credential"),
        ("tsig: {name: k, secret: {command: echo hunter2}}", "tsig.secret.command"),
        ("tsig: {name: k, secret: {command: [4711]}}", "tsig.secret.command[0]"),
        ("tsig: [hunter2]", "tsig"),
        ("tsig: hunter2", "tsig"),
    ],
)
def test_a_value_that_may_be_a_secret_is_refused_without_being_shown(
    tmp_path: Path, line: str, place: str
) -> None:
    """The first try of many is the secret itself; the message goes into logs and tickets."""
    [problem] = refused(tmp_path, RFC2136 % line)
    assert (problem.line, problem.path) == (9, f"solvers.ns1.{place}")
    assert not re.search(r"hunter|4711|\.\./", problem.message)


@pytest.mark.parametrize(
    "value", ["4711", "[hunter2]", "{hunter2: x}", "{file: /a, env: A}", "~", "true"]
)
def test_a_variable_is_text_or_a_reference(tmp_path: Path, value: str) -> None:
    """A number might lose its leading zeros; a list means nothing in an environment."""
    [problem] = refused(tmp_path, EXEC % f"environment: {{TOKEN: {value}}}")
    assert problem.path == "solvers.x.environment.TOKEN"
    assert problem.message == (
        "must be text (quote numbers) or a reference to a secret: "
        "{file: PATH}, {env: NAME}, {credential: NAME} or {command: [PROGRAM, …]}"
    )


def test_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Twenty errors are one edit, not twenty runs."""
    text = """\
concurency: 4
issuers:
  lab: {type: internal, lifetime: 90}
  le: {type: acme, directory: "http://ca.example.com"}
certificates:
- name: web
  names: [example.com, "a b", 5]
  keep: 0
  issuer: lba
- name: web
  names: ["*.com"]
  target: x
- name: other
  names: [a.b]
  issuer: lba
- name: other
  names: [a.b]
  issuer: le
"""
    told = [(problem.line, problem.path) for problem in refused(tmp_path, text)]
    assert told == [
        (1, "concurency"),
        (3, "issuers.lab.lifetime"),
        (4, "issuers.le.directory"),
        (7, "certificates[web].names[1]"),
        (7, "certificates[web].names[2]"),
        (8, "certificates[web].keep"),
        (9, "certificates[web].issuer"),
        (10, "certificates[web].issuer"),
        (10, "certificates[web].name"),
        (11, "certificates[web].names[0]"),
        (12, "certificates[web].target"),
        (15, "certificates[other].issuer"),
        (16, "certificates[other].name"),
    ]


def test_a_broken_entry_is_not_also_called_missing(tmp_path: Path) -> None:
    """One mistake is one message: certificates of a misspelt issuer are not wrong themselves."""
    text = (
        "dns: {resolvers: []}\nissuers: {le: {type: internal, keyy: x}}\ntargets: {web: {type: nginx, x: 1}}\n"
        + WEB
    )
    told = refused(tmp_path, text + "  issuer: le\n  targets: [web]\n")
    assert [problem.path for problem in told] == ["issuers.le.keyy", "targets.web.x"]


def test_broken_defaults_are_reported_once(tmp_path: Path) -> None:
    """Not once more for each certificate that would have used them."""
    text = "issuers: {a: {type: internal}, b: {type: internal}}\ndefaults: {issuer: a, x: 1}\n"
    assert [problem.path for problem in refused(tmp_path, text + WEB)] == ["defaults.x"]


def test_messages_are_one_printable_line(tmp_path: Path) -> None:
    """A configuration from elsewhere must not write into the log as it likes."""
    text = MINIMAL + '"a\\nb\\e[31m": 1\n'
    [problem] = refused(tmp_path, text)
    assert str(problem).isprintable()
