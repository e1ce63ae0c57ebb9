"""Shards of ``certrotd keys reencrypt`` in other processes: of Dask, or of a Job of Kubernetes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.cli.keys import keyring_at
from certrotd.cli.output import say
from certrotd.clock import Deadline, SystemClock
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.config.durations import parse
from certrotd.daemon.stopping import Stopping
from certrotd.errors import Failure, InvalidInput, UsageError
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.keys.shard_waiting import Wanted, work_when_open
from certrotd.keys.shard_work import Answer, Task, answer_of, perform, task_of
from certrotd.keys.sharding import holder
from certrotd.keys.subject import KeyringSubject
from certrotd.rotation.engine import Stopped
from certrotd.rotation.unexpected import as_failure
from certrotd.workers.dask_workers import DaskWorkers


def work(config: str, name: str, task: Mapping[str, Any]) -> Mapping[str, Any]:
    """One task, in a process that knows no more than this; what became of it."""
    clock = SystemClock()
    try:
        with keyring_at(Path(config), name, "reencrypt", clock=clock) as (keyring, _):
            return perform(keyring.stored, task_of(task), clock, holder()).to_json()
    except Failure as failure:
        return Answer.of(failure).to_json()
    except Exception as error:  # noqa: BLE001  # what it holds must not go over the network
        return Answer.of(as_failure(error, "re-encrypt a shard")).to_json()


def hire(
    config: Path, name: str, *, workers: int | None, dask: str | None
) -> Callable[[KeyringSubject], None]:
    """What has workers re-encrypt the keyring, instead of this process; raises Failure."""
    if workers is not None and dask is not None:
        raise UsageError("--workers starts workers, and --dask names some: give one of them")
    task = partial(work, str(config.absolute()), name)
    hired = _Dask(task, number=workers or 0, address=dask or "")

    def before(keyring: KeyringSubject) -> None:
        managed = keyring.managed
        assert isinstance(managed, ConfiguredKeyring), "it is of a configuration"
        for each, entry in managed.entry.datasets.items():
            if not isinstance(entry, SqlDatasetEntry) or entry.url.startswith("sqlite"):
                say(f"{each}: re-encrypted by one process: it is no table that many can write")
        managed.workers = lambda: hired

    return before


class _Dask(DaskWorkers):
    """Workforce, of Dask."""

    def begin(self, task: Task) -> None:
        self.call(task, task.to_json())

    def ended(self) -> Sequence[tuple[Task, Answer]]:
        return [
            (task, Answer.of(told) if isinstance(told, Failure) else answer_of(told))
            for task, told in super().ended()
        ]


def shard(config: Path, name: str, shard: str, wait: str) -> int:
    """Carry out ``certrotd keys reencrypt --shard``; the exit code."""
    number, of = _asked(shard)
    try:
        patience = parse(wait)
    except InvalidInput as error:
        raise UsageError(f"--wait: {error.message}", hint=error.hint) from None
    stopping = Stopping()
    stopping.listen()
    with keyring_at(config, name, "reencrypt", clock=stopping.clock) as (keyring, _):
        entries = {
            each: entry
            for each, entry in sorted(keyring.entry.datasets.items())
            if isinstance(entry, SqlDatasetEntry) and entry.checkpoints == "table"
        }
        if not entries:
            raise UsageError(
                f"no dataset of {name} has its checkpoints in a table, where a pod finds its shard",
                hint="checkpoints: table, and shards: 16",
            )
        try:
            for each, entry in entries.items():
                shards = entry.shards or 1
                if of not in (None, shards) or number >= shards:
                    raise UsageError(f"{each} has {shards} shards, from 0 on, and not {shard}")
                wanted = Wanted(
                    each, number, holder(), Deadline(stopping.clock, patience.total_seconds())
                )
                work_when_open(keyring.stored, wanted, stopping.clock, stopping, say)
                say(f"{each}: shard {number} of {shards} is done", sys.stdout)
        except Stopped:
            say(f"{name}: stopped; the shard is free for others")
            return 1
    return 0


def _asked(shard: str) -> tuple[int, int | None]:
    """The number of a shard, from 0 on, and how many there are if that is told."""
    number, divided, of = shard.partition("/")
    if not number.isdecimal() or (divided and not of.isdecimal()):
        raise UsageError(f"--shard: {shard} is none", hint="the fourth of 16 is 3/16")
    return int(number), int(of) if divided else None
