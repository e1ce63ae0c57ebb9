"""What the configuration asks of one delivery, and what is known of it: values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from certrotd.deliveries.kind import KIND
from certrotd.id import Id
from certrotd.lifecycle.attempts import Attempts
from certrotd.observe.tls import Endpoint
from certrotd.pki.generation import Generation
from certrotd.ssh.files import Stamp
from certrotd.window import Window


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration asks of one delivery.

    ``files`` are shapes as of stores.bundle; ``place`` is the host, for people; ``asked`` is a
    digest of where the files go and how they are to be there. ``command`` is argv, empty for none,
    and may take ``command_seconds``.
    """

    name: str
    certificate: Id
    host: str
    place: str
    directory: str
    asked: str
    files: tuple[str, ...] = ("privkey", "fullchain")
    owner: int | None = None
    group: int | None = None
    mode: int = 0o640
    cert_mode: int = 0o644
    command: tuple[str, ...] = ()
    command_seconds: float = 60.0
    endpoints: tuple[Endpoint, ...] = ()
    keep: int = 3
    window: Window | None = None
    enabled: bool = True
    names: tuple[str, ...] = ()

    @property
    def id(self) -> Id:
        return Id(KIND, self.name)

    @property
    def live(self) -> str:
        """What services read there."""
        return f"{self.directory}/live"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was delivered last: ``generation``, in ``folder`` there, ``at`` that time.

    ``stamps`` are the files as they were read back then. ``drift`` says what a look found changed
    since, empty if nothing was; ``seen`` is when the host was last looked at. ``unpruned`` says
    which old folders stay there and why, empty if none does.
    """

    generation: int
    folder: str
    fingerprint: str
    key_type: str
    not_before: datetime
    not_after: datetime
    asked: str
    stamps: Mapping[str, Stamp]
    at: datetime
    seen: datetime
    drift: str = ""
    unpruned: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one delivery.

    ``live`` is the certificate's generation that is in use here; ``rotating``: its rotation is in
    flight, and may take that generation back.
    """

    live: Generation | None = None
    delivered: Delivered | None = None
    rotating: bool = False
    attempts: Attempts = field(default_factory=Attempts)


def folder_of(policy: Policy, generation: int, fingerprint: str, over: str) -> str:
    """What the folder of a delivery is called: the same for each attempt at the same.

    ``over`` is a folder that was changed, which another must take the place of.
    """
    what = f"{policy.asked} {fingerprint} {over}"
    return f"{generation:06}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
