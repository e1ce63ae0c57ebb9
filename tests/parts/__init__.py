"""The real servers that tests run against, started on free loopback ports."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from tests.parts.bind import Bind, Resolver, Zone
from tests.parts.nginx import Nginx
from tests.parts.pebble import Pebble
from tests.parts.process import Server, free_port
from tests.parts.stepca import StepCA

Options = ParamSpec("Options")
Kind = TypeVar("Kind", bound=Server)


class Parts:
    """Starts servers, each in a directory of its own, and stops them in reverse order."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._count = 0

    def starter(self, kind: Callable[Concatenate[Path, Options], Kind]) -> Callable[Options, Kind]:
        """What starts servers of that kind, each call one more."""

        def start(*args: Options.args, **options: Options.kwargs) -> Kind:
            self._count += 1
            name = getattr(kind, "__name__", "server").lower()
            server = kind(self._directory / f"{name}-{self._count}", *args, **options)
            self._stack.enter_context(server)
            return server

        return start

    def start(
        self,
        kind: Callable[Concatenate[Path, Options], Kind],
        *args: Options.args,
        **options: Options.kwargs,
    ) -> Kind:
        """Starts a server of that kind with its own options: `start(Pebble, dns=bind.server)`."""
        return self.starter(kind)(*args, **options)

    def bind_pair(self, *, lagging: bool = True) -> tuple[Bind, Bind]:
        """Two authoritative servers of example.test on one port of 127.0.0.1 and 127.0.0.2.

        The second is a secondary that lags until `catch_up`, or else a primary of its own.
        """
        port = free_port("both", "127.0.0.1", "127.0.0.2")
        zones = [Zone("example.test", nameservers={"ns1": "127.0.0.1", "ns2": "127.0.0.2"})]
        first = self.start(Bind, port=port, zones=zones)
        second = self.start(
            Bind,
            address="127.0.0.2",
            port=port,
            zones=zones,
            key=first.key,
            primary=first if lagging else None,
        )
        return first, second


__all__ = ["Bind", "Nginx", "Parts", "Pebble", "Resolver", "Server", "StepCA", "Zone"]
