"""A CA and its DNS in the node's network, as pods reach them."""

from dataclasses import dataclass
from typing import Any, Self

from tests.cluster.objects import Object, secret
from tests.parts import Bind, Parts, Pebble, Zone
from tests.parts.kubernetes.isolation import TESTS_ADDRESS

ZONE = Zone("example.test", nameservers={"ns1": TESTS_ADDRESS})


@dataclass(frozen=True)
class Acme:
    """Pebble, and the BIND that it asks. Both listen on 127.0.0.1, which pods have a name for."""

    bind: Bind
    pebble: Pebble

    @classmethod
    def start(cls, parts: Parts) -> Self:
        """In the network of the calling thread."""
        bind = parts.start(Bind, zones=[ZONE])
        return cls(bind, parts.start(Pebble, dns=bind.server, names=[TESTS_ADDRESS]))

    def secret(self, name: str) -> Object:
        """What a pod needs to know: the key of the updates, and whose certificate Pebble has."""
        return secret(
            name, {"tsig": self.bind.key.secret, "ca.pem": self.pebble.ca_file.read_text()}
        )

    def config(self, files: str) -> dict[str, Any]:
        """The sections of a configuration whose files of that secret are in a directory."""
        port = self.bind.port
        return {
            "issuers": {
                "ca": {
                    "type": "acme",
                    "directory": at_pods(self.pebble.directory_url),
                    "ca_bundle": f"{files}/ca.pem",
                    "agree_to_terms": True,
                }
            },
            "solvers": {
                "dns": {
                    "type": "rfc2136",
                    "server": at_pods(self.bind.server),
                    "tsig": {"name": self.bind.key.name, "secret": {"file": f"{files}/tsig"}},
                }
            },
            "dns": {
                "resolvers": [at_pods(self.bind.server)],
                "propagation": {"port": port, "interval": "1s"},
            },
        }


def at_pods(address: str) -> str:
    """What pods call an address or URL of this node's 127.0.0.1."""
    return address.replace("127.0.0.1", TESTS_ADDRESS)
