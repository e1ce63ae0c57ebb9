"""Applications of one key, adopted by their profiles and cut over: Grafana, n8n and Superset.

In tables as their own migrations leave them. Before and after, all is read by other code.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.applications import Application, Execute, grafana, n8n, superset
from tests.contract.databases import place
from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture
_SCRIPTS = {
    "stop": "echo stopped >> {folder}/log; touch {folder}/stopped",
    "start": "rm -f {folder}/stopped",
    "probe": "[ ! -e {folder}/stopped ]",
}


class Installation:
    """An application in a database, the file of its key, and programs that stop and start it."""

    def __init__(self, app: Application, host: Host, execute: Execute, url: str) -> None:
        self.app, self.host, self.execute, self.url = app, host, execute, url
        self.keys = host.place / "keys"
        self.keys.write_text(app.file.replace("¶", app.secret))
        self.keys.chmod(0o600)
        (host.place / "conf.d").mkdir()
        text = app.schema
        if url.startswith("sqlite"):
            text = text.replace("bytea", "blob")
        for statement in filter(str.strip, text.split(";")):
            execute(statement)
        for sql, told in app.rows:
            execute(sql, *told)

    def command(self, *more: str) -> Sequence[str]:
        scripts = []
        for name, body in _SCRIPTS.items():
            path = self.host.place / name
            path.write_text("#!/bin/sh\n" + body.format(folder=shlex.quote(str(self.host.place))))
            path.chmod(0o755)
            scripts.append(f"--set={name}={path}")
        told = ["--profile", self.app.profile, "--database", self.url, "--from", str(self.keys)]
        if not self.url.startswith("sqlite"):
            told += ["--password-env", "DATABASE_PASSWORD"]
        return ["adopt", "shop", *told, *scripts, *more]

    @property
    def secret(self) -> str:
        """What the application would read."""
        before, after = self.app.file.split("¶")
        return self.keys.read_text().removeprefix(before).removesuffix(after)

    @property
    def stops(self) -> int:
        log = self.host.place / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def read(self) -> Mapping[tuple[str, ...], bytes]:
        """As the application reads it."""
        return self.app.read(self.execute, self.secret)

    def write(self, place: tuple[str, ...], plaintext: bytes) -> None:
        """One value anew, as the application does."""
        table, name, key, _ = place
        [column] = [e for e in self.app.columns if (e.table, e.column) == (table, name)]
        sealed: bytes | str = column.seal(self.secret, plaintext)
        if self.app.profile == "n8n":
            assert isinstance(sealed, bytes)
            sealed = sealed.decode()
        told = int(key) if key.isdigit() else key
        self.execute(f'update "{table}" set "{name}" = ? where {column.key} = ?', sealed, told)

    def everything(self) -> dict[str, Any]:
        tables = sorted({each.table for each in self.app.columns})
        return {name: self.execute(f'select * from "{name}" order by 1') for name in tables}

    def census(self) -> dict[int, int]:
        """Of all datasets, by version; nothing does not open."""
        counts: dict[int, int] = {}
        for row in self.host.json("reencrypt", "shop", "--dry-run"):
            assert row["unopened"] == 0, row
            for each in row["values"]:
                counts[each["version"]] = counts.get(each["version"], 0) + each["count"]
        return counts


MAKES: Mapping[str, tuple[Callable[[], Application], str]] = {
    "grafana": (grafana, "sqlite"),
    "n8n": (n8n, "sqlite"),
    "superset": (superset, "sqlite"),
    "superset on PostgreSQL": (superset, "postgresql"),
    "superset with AES-GCM": (lambda: superset("AesGcmEngine"), "sqlite"),
}


@pytest.fixture(params=MAKES)
def there(
    request: pytest.FixtureRequest,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Installation]:
    """Each of them, with its data."""
    make, kind = MAKES[request.param]
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, kind)
        yield Installation(make(), host, execute, url)


def test_an_application_of_one_key_is_adopted_and_cut_over_by_its_profile(
    there: Installation, host: Host
) -> None:
    """Twice: what certrotd has written, and what the application writes afterwards."""
    before, first = there.read(), there.secret
    untouched = there.everything()
    plan = host.json(*there.command())
    assert [each["problems"] for each in plan["datasets"] if each["problems"]] == []
    assert sum(each["left"] for each in plan["datasets"]) == len(before)
    host.keys(*there.command("--write"))
    assert there.everything() == untouched
    assert there.census() == {1: len(before)}

    host.keys("rotate", "shop", "--reason", "test")
    assert there.secret != first
    assert there.read() == before
    assert there.census() == {1: 0, 2: len(before)}
    assert there.stops == 1

    there.write(*next(iter(before.items())))
    host.keys("rotate", "shop", "--reason", "again")
    assert there.census() == {1: 0, 2: 0, 3: len(before)}
    assert there.read() == before
    cells = {place[:-1] for place in before}
    assert changed(untouched, there.everything()) == len(cells), "and nothing beside them"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """How many cells of the same rows differ."""
    found = 0
    for table, rows in before.items():
        for old, new in zip(rows, after[table], strict=True):
            found += sum(a != b for a, b in zip(old, new, strict=True))
    return found


def test_a_value_that_is_not_as_expected_holds_the_cut_over_and_is_not_touched(
    there: Installation, host: Host
) -> None:
    """Another key wrote it, or it is nothing that the application would have stored."""
    host.keys(*there.command("--write"))
    sql, told = there.app.not_expected
    there.execute(sql, *told)
    before = there.everything()
    words = host.failed("rotate", "shop", "--reason", "test")
    assert "cannot be re-encrypted" in words
    assert there.stops == 0
    assert there.everything() == before
    assert there.secret == there.app.secret
