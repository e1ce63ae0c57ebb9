"""What the steps of one certificate's rotation act upon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from certrotd.certs.ports import Dns, Installer, Issuer, Order, Prober, Solver, Store, Target
from certrotd.clock import Clock
from certrotd.observe.tls import Endpoint
from certrotd.pki.keys import KeyType, PrivateKey, generate


@dataclass(frozen=True)
class Bound:
    """A target together with where it serves the certificate; no endpoints, no proof."""

    target: Target
    endpoints: tuple[Endpoint, ...]


@dataclass
class World:
    """The adapters, by the names the configuration gives them; all look-ups may be lazy.

    ``target`` and ``solver`` answer None for what the configuration no longer has. ``ready``
    raises when the issuer, or a solver for the names, obviously cannot work. ``adoptable``
    reads the pair to take over: key and chain, leaf first, or None. ``remark`` takes a line about
    something that is wrong and does not stand in the way. In seconds, ``order_time`` bounds
    placing an order or coming back to it, ``dns_time`` one act on the DNS and ``wait_time`` the
    wait until it is seen everywhere. ``order`` is this rotation's, once live.
    ``wants`` says whether the configuration still asks for these names from that issuer.
    Within ``still`` none of the certificate's targets is told to read files, by whatever rotation.
    """

    name: str
    clock: Clock
    store: Store
    installer: Installer
    issuer: Callable[[str], Issuer]
    solver: Callable[[str], Solver | None]
    solver_for: Callable[[str, str | None], str]
    dns: Callable[[], Dns]
    target: Callable[[str], Bound | None]
    prober: Prober
    ready: Callable[[str, Sequence[str], str | None], None] = lambda _issuer, _names, _solver: None
    adoptable: Callable[[], tuple[bytes, bytes] | None] = lambda: None
    still: Callable[[], AbstractContextManager[None]] = nullcontext
    wants: Callable[[str, Sequence[str]], bool] = lambda _issuer, _names: True
    new_key: Callable[[KeyType], PrivateKey] = generate
    remark: Callable[[str], None] = lambda _line: None
    order_time: float = 300.0
    dns_time: float = 60.0
    wait_time: float = 300.0
    order: Order | None = field(default=None)
