"""Keyrings of a configuration file in a directory, and processes that look at them."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from certrotd.audit.record import AuditRecord, parse
from certrotd.clock import ManualClock
from certrotd.config.load import load
from certrotd.daemon.wiring import Site
from certrotd.keyring.states import State
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.keys.policy import Policy
from certrotd.keys.rotation import Wanted, asked_for
from certrotd.keys.subject import KeyringSubject
from certrotd.keys.wing import Keyrings
from certrotd.lifecycle.decision import DAEMON, Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.rotation.engine import Finished, Parked, RolledBack
from demo.key_stage import own_keys

START = datetime(2027, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
FORCED = Asked(forced=True, by_hand=True, named=True)


class Rings:
    """A host: its configuration, its disk and its clock; every act is of a process of its own."""

    def __init__(self, place: Path, keyrings: Mapping[str, Any] | None = None) -> None:
        self.place = place
        self.clock = ManualClock(START)
        self.config: dict[str, Any] = {
            "state_dir": str(place / "state"),
            "keks": {"local": {"type": "file", "path": str(place / "kek")}},
            "keyrings": dict(keyrings or {"orders": {"outputs": [self.tink()]}}),
        }

    def tink(self, name: str = "keys.json") -> dict[str, Any]:
        """An output of that type."""
        return {"type": "tink", "path": str(self.place / name)}

    @property
    def orders(self) -> dict[str, Any]:
        """The entry of the keyring that tests are about."""
        entry: dict[str, Any] = self.config["keyrings"]["orders"]
        return entry

    @property
    def document(self) -> Path:
        """Where that keyring is kept."""
        [found] = (self.place / "state/keyrings").glob("orders*")
        return found

    @contextmanager
    def site(self, *, dry: bool = False) -> Iterator[Site]:
        """A process that reads the configuration file."""
        path = self.place / "certrotd.yaml"
        path.write_text(yaml.safe_dump(self.config))
        site = Site(load(path).config, clock=self.clock, command="test", dry=dry)
        if not dry:
            site.prepare()
        try:
            yield site
        finally:
            site.close()

    @contextmanager
    def keyring(self, name: str = "orders", *, dry: bool = False) -> Iterator[ConfiguredKeyring]:
        """One keyring of such a process."""
        with self.site(dry=dry) as site:
            yield keyring_of(site, name)

    def rotate(self, asked: Asked = DAEMON, name: str = "orders") -> Report:
        """Whatever is due."""
        with self.site() as site:
            [subject] = site.inventory.chosen([f"key/{name}"])
            return subject.rotate(self._runner(site), asked)

    def done(self, asked: Asked = DAEMON, name: str = "orders") -> Report:
        """As rotate(), and it is finished."""
        report = self.rotate(asked, name)
        assert isinstance(report.outcome, Finished), report
        assert not report.failed, report
        return report

    def ask(self, wanted: Wanted, name: str = "orders") -> Report:
        """What a person wants."""
        with self.site() as site:
            return asked_for(keyring_of(site, name), self._runner(site), "do", wanted)

    def view(self, name: str = "orders", *, dry: bool = True) -> View:
        """What a listing shows."""
        with self.site(dry=dry) as site:
            [subject] = site.inventory.chosen([f"key/{name}"])
            [view] = site.look([subject])
            return view

    def cancel(self) -> Report:
        """The rotation in flight, as a person asks."""
        with self.site() as site:
            [subject] = site.inventory.chosen(["key/orders"])
            return subject.cancel(self._runner(site))

    def rollback(self) -> Report:
        """One step, as a person asks."""
        with self.site() as site:
            [subject] = site.inventory.chosen(["key/orders"])
            assert isinstance(subject, KeyringSubject)
            return subject.rollback(self._runner(site), None)

    def states(self, name: str = "orders") -> dict[int, State]:
        """The state of every version."""
        with self.keyring(name) as keyring:
            found = keyring.store.inspect()
            return {each.number: each.state for each in found.versions.all} if found else {}

    def policy(self, name: str = "orders") -> Policy:
        """What the configuration asks for."""
        with self.keyring(name) as keyring:
            return keyring.policy

    def secrets(self, name: str = "orders") -> dict[int, bytes]:
        """The material of every version that has some."""
        with self.keyring(name) as keyring:
            found = keyring.store.read()
            assert found is not None
            entries = found.keyring.entries
            return {n: e.secret.material.reveal() for n, e in entries.items() if e.secret}

    def records(self) -> list[AuditRecord]:
        """The audit log."""
        path = self.place / "state/audit/audit.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [record for line in lines if (record := parse(line))]

    def _runner(self, site: Site) -> Any:
        return replace(site.runner(lambda _event: None, lambda: False), draw=lambda: 0.5)


def keyring_of(site: Site, name: str = "orders") -> ConfiguredKeyring:
    """A keyring of a process by its name."""
    wing = site.wing("key")
    assert isinstance(wing, Keyrings)
    return next(each for each in wing.keyrings if each.policy.name == name)


def everything_in(place: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below a directory: its inode, when it was changed, and its content."""
    found = {}
    for path in sorted(place.rglob("*")):
        told = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(told.st_mode) else b""
        found[str(path.relative_to(place))] = told.st_ino, told.st_mtime_ns, content
    return found


def rewritten(path: Path, **changes: object) -> None:
    """The document says something else, under the old seal."""
    text, _, rest = path.read_bytes().partition(b"\n")
    told = {**json.loads(text), **changes}
    path.write_bytes(json.dumps(told).encode() + b"\n" + rest)


def why_not(report: Report, *, failed: bool = True) -> str:
    """What the report of something that was not done says."""
    assert report.failed is failed, report
    if report.failure is not None:
        return f"{report.failure} {report.failure.hint}"
    last = report.last
    assert isinstance(last, RolledBack | Parked), report
    return last.because if isinstance(last, RolledBack) else last.why


def own_key() -> bytes:
    """A keyset that an application has made by itself."""
    return own_keys("tink")


def with_another_key(keyset: bytes) -> bytes:
    """A keyset with one key more, which is not certrotd's."""
    told, other = json.loads(keyset), json.loads(own_key())
    return json.dumps({**told, "key": [*told["key"], *other["key"]]}).encode()


def texts(found: object) -> list[str]:
    """A list of texts, from facts or details."""
    assert isinstance(found, list)
    return [str(each) for each in found]


def script(path: Path, body: str) -> Path:
    """A program of that body."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path


def acknowledge(rings: Rings, ack: Path) -> None:
    """The application has read its keys, and says so."""
    ack.write_text(hashlib.sha256((rings.place / "keys.json").read_bytes()).hexdigest())
