"""What is broken off: rotations with everything that one can have to do with files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from certrotd.state.format import FILE, FORMAT
from tests.parts.site import Site

NAME, HOST = "web", "web.example.test"
PAIR = {"privkey": "etc/tls.key", "fullchain": "etc/tls.pem"}
EVERYWHERE = {**PAIR, "combined": "srv/all.pem", "cert": "opt/leaf.pem", "chain": "opt/above.pem"}


@dataclass(frozen=True)
class Scenario:
    """``prepare`` leads up to it, ``arguments`` do it, from generation ``old`` to ``new``.

    ``old`` is None where there is none before. The run after the one that was broken off is
    ``rotate --all``. ``copies`` are the files outside of the store, by their shape.
    """

    name: str
    prepare: Callable[[Site], None]
    arguments: tuple[str, ...]
    old: int | None
    new: int
    copies: Mapping[str, str] = field(default_factory=lambda: PAIR, hash=False)


def with_copies_and_a_target(site: Site) -> None:
    """One certificate, one rotation at a time, and a target that logs the copies it reads."""
    etc = site.directory / "etc"
    etc.mkdir()
    site.config["concurrency"] = 1
    copies = {"privkey": str(etc / "tls.key"), "fullchain": str(etc / "tls.pem"), "mode": "0600"}
    site.certificate(NAME, HOST, keep=1, install=[copies], targets=["told"])
    log = site.directory / "told.log"
    read = f"cat {etc}/tls.key {etc}/tls.pem >> {log}\necho told >> {log}"
    site.command("told", f"umask 077\n{read}")


def two_generations(site: Site) -> None:
    """Has it issued twice; the third time prunes the first."""
    site.rotate()
    (site.directory / "told.log").unlink()
    site.rotate("--force")


def _kept_twice(site: Site) -> None:
    site.internal()
    with_copies_and_a_target(site)
    two_generations(site)


def _installed_everywhere(site: Site) -> None:
    site.internal()
    with_copies_and_a_target(site)
    [entry] = site.config["certificates"]
    for folder, shapes in (("srv", ("combined",)), ("opt", ("cert", "chain"))):
        (site.directory / folder).mkdir()
        paths = {shape: str(site.directory / EVERYWHERE[shape]) for shape in shapes}
        entry["install"].append({**paths, "mode": "0600"})
    two_generations(site)


def _nothing_yet(site: Site) -> None:
    site.internal()
    with_copies_and_a_target(site)
    # these two are made before the rotation's own thread begins; kills amid a migration, which is
    # what an interrupted beginning looks like, have tests of their own
    site.state.mkdir(mode=0o700)
    (site.state / FILE).write_text(json.dumps({"format": FORMAT}))


RENEWAL = Scenario("renewal", _kept_twice, ("rotate", "--all", "--force"), 2, 3)
FIRST = Scenario("first", _nothing_yet, ("rotate", "--all"), None, 1)
ROLLBACK = Scenario("rollback", _kept_twice, ("rollback", NAME), 2, 1)
INSTALLED = Scenario(
    "installed", _installed_everywhere, ("rotate", "--all", "--force"), 2, 3, EVERYWHERE
)
