"""A certificate to fetch from a scripted ACME CA over real HTTPS."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from certrotd.acme.issuer import AcmeIssuer
from tests.parts import pki
from tests.unit.acme.scripted import NAME, ScriptedCA, Skipping
from tests.unit.certs.rotating import Case


class Fetching(Case):
    """A first certificate from a scripted CA; every run is a process of its own."""

    def __init__(self, ca: ScriptedCA, directory: Path) -> None:
        super().__init__("first_issuance")
        self.policy(names=(NAME,))
        self.ca = ca
        self.directory = directory
        self.ca_file = ca.ca_file
        self.preferred_chain = ""
        issuing = pki.make_intermediate(pki.make_root("issuing root"), "issuing intermediate")
        leaf = pki.make_leaf(issuing, NAME)
        ca.chain = leaf.fullchain_pem
        self.world.new_key = lambda _type: leaf.key
        self.clock.jump(datetime.now(UTC) - self.clock.now())
        self.world.otherwise["issuer"] = lambda _name: self.issuer()

    def issuer(self) -> AcmeIssuer:
        """That of a new process."""
        settings = {"ca_bundle": self.ca_file, "preferred_chain": self.preferred_chain}
        return self.ca.issuer(self.directory, Skipping(), **settings)
