"""Targets that are a well-known service: what each needs to be found and told."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import AbsolutePath, EntryFindings, Items, Text, refuse, shown
from certrotd.config.databases import database
from certrotd.config.durations import Duration
from certrotd.config.looks import folder, library, program, readable, roots
from certrotd.config.notifications import is_loopback, web_url
from certrotd.config.probes import ProbeEntry
from certrotd.config.secrets import SecretRef, TextOrSecret
from certrotd.config.target import BaseTargetEntry

_OURS = ("host", "content-length", "transfer-encoding", "connection")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)


def _header(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise refuse(f"must be the name of a header, such as Authorization, got {shown(name)}")
    if name.lower() in _OURS:
        raise refuse(f"{name} is set by certrotd")
    return name


HeaderName = Annotated[str, AfterValidator(_header)]
Headers = Annotated[dict[HeaderName, TextOrSecret], Field(max_length=100)]
"""Headers of a request (RFC 9110, section 5.1), some of which may be secrets."""

_HALF_A_MINUTE = timedelta(seconds=30)


class HaproxyEntry(BaseTargetEntry):
    """An HAProxy on this host, whose certificates are replaced while it runs."""

    type: Literal["haproxy"] = Field(
        description="An HAProxy on this host, told over its stats socket, without a reload."
    )
    socket: AbsolutePath = Field(
        default=Path("/run/haproxy/admin.sock"),
        description="Its stats socket, of level admin. HAProxy must read a combined file of the "
        "certificate: combined.pem in its folder, or one of its install entries.",
    )
    timeout: Duration = Field(
        default=_HALF_A_MINUTE, description="How long HAProxy may take to answer a command."
    )

    @property
    def programs(self) -> bool:
        """As of others: it runs none."""
        return False


class PostgresqlEntry(BaseTargetEntry):
    """A PostgreSQL server, asked over a connection to read its files again."""

    type: Literal["postgresql"] = Field(
        description="A PostgreSQL server, told by pg_reload_conf(); needs certrotd[sql]."
    )
    url: Annotated[Text, AfterValidator(database)] = Field(
        description="The server, without a password: postgresql://USER@HOST/DATABASE, or "
        "postgresql:///DATABASE?host=/run/postgresql&user=USER over its socket."
    )
    password: SecretRef | None = Field(
        default=None, description="The user's (null: none, or as libpq finds one)."
    )
    timeout: Duration = Field(
        default=_HALF_A_MINUTE, description="How long the server may take to answer a request."
    )

    @property
    def programs(self) -> bool:
        """As of others: it runs none."""
        return False

    @model_validator(mode="after")
    def _server(self) -> Self:
        if not self.url.startswith("postgresql:"):
            raise refuse("url must begin with postgresql:")
        return self

    def examine(self) -> EntryFindings:
        """The library is there."""
        yield from library("psycopg", ("type",), extra="sql")


class PostfixEntry(BaseTargetEntry):
    """A Postfix on this host."""

    type: Literal["postfix"] = Field(description="A Postfix on this host.")
    config: AbsolutePath | None = Field(
        default=None, description="Its configuration directory, as after -c (null: its own)."
    )
    timeout: Duration = Field(
        default=_HALF_A_MINUTE, description="How long a check or a reload may take."
    )

    def examine(self) -> EntryFindings:
        """The program is there, and what it is given to read."""
        yield from program("postfix", ("type",))
        yield from folder(self.config, ("config",))


class DovecotEntry(BaseTargetEntry):
    """A Dovecot on this host."""

    type: Literal["dovecot"] = Field(description="A Dovecot on this host.")
    config: AbsolutePath | None = Field(
        default=None, description="Its configuration file, as after -c (null: its own)."
    )
    timeout: Duration = Field(
        default=_HALF_A_MINUTE, description="How long a check or a reload may take."
    )

    def examine(self) -> EntryFindings:
        """The programs are there, and what they are given to read."""
        yield from program("doveadm", ("type",))
        yield from readable(self.config, ("config",))


class ApacheEntry(BaseTargetEntry):
    """An Apache HTTP Server on this host, restarted gracefully."""

    type: Literal["apache"] = Field(description="An Apache HTTP Server on this host.")
    program: Text = Field(
        default="apachectl", description="Its control program, by name or absolute path."
    )
    config: AbsolutePath | None = Field(
        default=None, description="Its configuration file, as after -f (null: its own)."
    )
    pid_file: AbsolutePath = Field(
        default=Path("/run/apache2/apache2.pid"),
        description="The file with its first process's number, by which a check sees that it runs.",
    )
    timeout: Duration = Field(
        default=_HALF_A_MINUTE, description="How long a check or a reload may take."
    )

    def examine(self) -> EntryFindings:
        """The program is there, and what it is given to read."""
        yield from program(self.program, ("program",))
        yield from readable(self.config, ("config",))


class HttpTargetEntry(BaseTargetEntry):
    """Any service that reads its files again when a URL is posted to."""

    type: Literal["http"] = Field(description="A URL that is posted to.")
    url: Annotated[Text, AfterValidator(web_url)] = Field(
        description="Where to; https, unless it is this machine or plain is set. No redirect is "
        "followed."
    )
    socket: AbsolutePath | None = Field(
        default=None, description="A Unix socket to connect to instead of the host in url."
    )
    plain: bool = Field(
        default=False, description="Whether http, which anybody on the way can read, is enough."
    )
    headers: Headers = Field(
        default={}, description="Headers of the request: text, or references to secrets."
    )
    status: int | None = Field(
        default=None, ge=200, le=599, description="The status of a success (null: any 2xx)."
    )
    ca_bundle: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the roots that verify its TLS certificate (null: the system's).",
    )
    use_proxy: bool = Field(
        default=False,
        description="Whether to go through the proxy that the environment names (HTTPS_PROXY, "
        "NO_PROXY).",
    )
    timeout: Duration = Field(default=_HALF_A_MINUTE, description="How long the answer may take.")

    @property
    def programs(self) -> bool:
        """As of others: it runs none."""
        return False

    @model_validator(mode="after")
    def _safe(self) -> Self:
        parts = urlsplit(self.url)
        near = self.socket is not None or is_loopback(str(parts.hostname))
        if parts.scheme == "http" and not (near or self.plain):
            raise refuse("url must begin with https:// unless it is this machine (or plain: true)")
        if parts.scheme == "http" and self.ca_bundle is not None:
            raise refuse("ca_bundle is for https")
        return self

    def examine(self) -> EntryFindings:
        """The roots are there."""
        yield from roots(self.ca_bundle, ("ca_bundle",))

    @property
    def keyless(self) -> bool:
        """It is for you to say what it does."""
        return True


class NoneEntry(BaseTargetEntry):
    """Any service that notices new files by itself."""

    type: Literal["none"] = Field(
        description="Nobody is told: the service notices new files by itself, within the deadline "
        "of its probes."
    )
    probe: Annotated[Items[ProbeEntry], Field(min_length=1)] = Field(
        description="Endpoints that must serve the new certificate: nothing else shows it."
    )

    @property
    def programs(self) -> bool:
        """As of others: it runs none."""
        return False

    @property
    def keyless(self) -> bool:
        """It is for you to say what it does."""
        return True
