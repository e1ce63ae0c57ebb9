"""What a first configuration may be made of: CAs, solvers, services, and what each is asked. Pure.

What an answer may be is told by the schema of the configuration alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Question:
    """An option of the configuration by its path, as in ``tsig.name``.

    ``form`` is how an answer is read: one text, a list with commas, words as in a shell, or the
    path of a file with a secret. An option that is not ``needed`` may stay empty; with the option
    ``unless`` it is not asked for.
    """

    path: str
    words: str
    default: str = ""
    form: Literal["text", "list", "words", "secret"] = "text"
    needed: bool = True
    unless: str = ""


@dataclass(frozen=True)
class Authority:
    """A CA by name; ``staging`` is its test environment, if it has one."""

    title: str
    production: str
    staging: str | None = None
    binding: bool = False
    """Whether it takes a customer's account (EAB)."""


@dataclass(frozen=True)
class Kind:
    """A type of solver or target, and what is asked of it."""

    title: str
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Service(Kind):
    """A target: ``use`` is what its own configuration needs.

    ``probe`` is where it listens, ``proof`` what else is said of a probe of it. ``copies`` is an
    entry of install, for one that does not read the files of the store.
    """

    probe: str | None = None
    proof: Mapping[str, str] = field(default_factory=dict)
    use: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    """Names of its process, by which it is found."""


AUTHORITIES: Mapping[str, Authority] = {
    "letsencrypt": Authority(
        "Let's Encrypt",
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
    "google": Authority(
        "Google Trust Services",
        "https://dv.acme-v02.api.pki.goog/directory",
        "https://dv.acme-v02.test-api.pki.goog/directory",
        binding=True,
    ),
    "zerossl": Authority("ZeroSSL", "https://acme.zerossl.com/v2/DV90", binding=True),
}

SOLVERS: Mapping[str, Kind] = {
    "rfc2136": Kind(
        "dynamic updates to BIND, Knot, PowerDNS and others",
        (
            Question("server", "The zone's primary name server (address, or address:port)"),
            Question("tsig.name", "Name of the TSIG key at the server", "certrotd"),
            Question("tsig.algorithm", "Algorithm of the TSIG key", "hmac-sha256"),
            Question("tsig.secret", "the TSIG key in base64", form="secret"),
        ),
    ),
    "responder": Kind(
        "a DNS server inside certrotd, to which _acme-challenge names are delegated",
        (
            Question("listen", "Addresses of this machine to answer at", "0.0.0.0:53", form="list"),
            Question("zones", "The delegated zones", form="list"),
            Question("nameserver", "The name of this machine in their NS records"),
            Question(
                "addresses",
                "Its addresses, if that name is in one of the zones",
                form="list",
                needed=False,
            ),
        ),
    ),
    "cloudflare": Kind(
        "Cloudflare",
        (Question("token", "an API token with Zone:Read and DNS:Edit", form="secret"),),
    ),
    "route53": Kind(
        "Amazon Route 53",
        (
            Question("access_key_id", "the access key's id", form="secret", needed=False),
            Question("secret_access_key", "the secret access key", form="secret", needed=False),
        ),
    ),
    "powerdns": Kind(
        "the HTTP API of a PowerDNS server",
        (
            Question("url", "URL of the API, without /api/v1", "http://127.0.0.1:8081"),
            Question("api_key", "the api-key of PowerDNS", form="secret"),
        ),
    ),
    "acmedns": Kind("an acme-dns server", (Question("url", "URL of the acme-dns server"),)),
    "webhook": Kind(
        "an endpoint as of lego's httpreq",
        (
            Question("url", "URL of the endpoint"),
            Question("username", "the user name", form="secret", needed=False),
            Question("password", "the password", form="secret", needed=False),
        ),
    ),
    "lexicon": Kind(
        "another provider (Hetzner, OVH, Gandi and some 90 more)",
        (Question("provider", "The provider's name in dns-lexicon, such as hetzner"),),
    ),
    "exec": Kind(
        "a program of yours",
        (Question("command", "The program with its arguments", form="words"),),
    ),
}
"""By their type in the configuration."""

CHALLENGES: Mapping[str, Kind] = {
    "dns-persist-01": Kind("a TXT record that you set once, by no solver (if the CA offers it)"),
}
"""Challenges that need no solver, by their names in the configuration."""

ELSEWHERE: Mapping[str, Kind] = {
    "kubernetes": Kind("pods of a Kubernetes cluster: by the Helm chart (deploy/helm/certrotd)"),
}
"""Services whose first configuration is not a file of this host."""

_WEB = "127.0.0.1:443"
SERVICES: Mapping[str, Service] = {
    "nginx": Service(
        "nginx on this host",
        (
            Question("binary", "The program", needed=False),
            Question("config", "Its configuration file", needed=False),
            Question("prefix", "Its prefix", needed=False),
            Question("reload", "How it is reloaded", needed=False),
            Question("unit", "Its systemd unit", needed=False),
            Question("pid_file", "The file with its process number", needed=False),
        ),
        probe=_WEB,
        use="in its server block: ssl_certificate {live}/fullchain.pem; "
        "ssl_certificate_key {live}/privkey.pem;",
        programs=("nginx",),
    ),
    "apache": Service(
        "Apache on this host",
        (
            Question("program", "Its control program", needed=False),
            Question("pid_file", "The file with its process number", needed=False),
        ),
        probe=_WEB,
        use="in its virtual host: SSLCertificateFile {live}/fullchain.pem and "
        "SSLCertificateKeyFile {live}/privkey.pem",
        programs=("apache2", "httpd"),
    ),
    "haproxy": Service(
        "HAProxy on this host, without a reload",
        (Question("socket", "Its stats socket, of level admin", "/run/haproxy/admin.sock"),),
        probe=_WEB,
        use="in haproxy.cfg: bind :443 ssl crt {live}/combined.pem",
        programs=("haproxy",),
    ),
    "postfix": Service(
        "Postfix on this host",
        probe="127.0.0.1:25",
        proof={"starttls": "smtp", "deadline": "3m"},
        use="in main.cf: smtpd_tls_chain_files = {live}/combined.pem",
    ),
    "dovecot": Service(
        "Dovecot on this host",
        probe="127.0.0.1:143",
        proof={"starttls": "imap"},
        use="in its configuration: ssl_cert = <{live}/fullchain.pem and "
        "ssl_key = <{live}/privkey.pem",
        programs=("dovecot",),
    ),
    "postgresql": Service(
        "PostgreSQL, by pg_reload_conf()",
        (
            Question(
                "url",
                "The server, without a password",
                "postgresql://certrotd@127.0.0.1/postgres",
            ),
            Question("password", "the user's password", form="secret", needed=False),
        ),
        probe="127.0.0.1:5432",
        proof={"starttls": "postgres"},
        use="make the role (docs/targets.md) and /etc/postgresql/tls; in postgresql.conf: "
        "ssl = on; ssl_cert_file = '/etc/postgresql/tls/server.crt'; "
        "ssl_key_file = '/etc/postgresql/tls/server.key'",
        copies={
            "fullchain": "/etc/postgresql/tls/server.crt",
            "privkey": "/etc/postgresql/tls/server.key",
            "owner": "postgres",
            "mode": "0600",
        },
    ),
    "docker": Service(
        "containers of Docker",
        (
            Question("containers", "Names of the containers", form="list"),
            Question("host", "The Docker engine", "unix:///run/docker.sock"),
            Question("signal", "The signal that makes them read new files", "HUP"),
        ),
        use="mount {directory} into the containers, and name live/fullchain.pem and "
        "live/privkey.pem below the mount",
    ),
    "systemd": Service(
        "a systemd unit that is reloaded or restarted",
        (
            Question("unit", "The unit, with its suffix, such as vsftpd.service"),
            Question("verb", "How it gets new files: reload or restart", "reload"),
        ),
        probe=_WEB,
        use="it reads {live}/fullchain.pem and {live}/privkey.pem",
    ),
    "signal": Service(
        "a process that reads new files at a signal",
        (
            Question("pid_file", "The file with its process number", unless="unit"),
            Question("unit", "Its systemd service, instead", needed=False),
            Question("signal", "The signal: HUP, USR1 or USR2", "HUP"),
            Question("process", "The name that it must have", needed=False),
        ),
        probe=_WEB,
        use="it reads {live}/fullchain.pem and {live}/privkey.pem",
    ),
    "http": Service(
        "a service that reads new files when a URL is posted to",
        (Question("url", "The URL, such as http://127.0.0.1:8080/reload"),),
        probe=_WEB,
        use="it reads {live}/fullchain.pem and {live}/privkey.pem",
    ),
    "command": Service(
        "any other service, by a program of yours",
        (Question("command", "The program that makes it read new files", form="words"),),
        probe=_WEB,
        use="it reads {live}/fullchain.pem and {live}/privkey.pem",
    ),
    "none": Service(
        "nobody is told: files only, or a service that notices new files by itself (--probe)",
        use="the files are in {live}: fullchain.pem, privkey.pem, combined.pem",
    ),
}
"""By their type in the configuration; none without a probe is no target at all."""
