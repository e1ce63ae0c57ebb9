"""What no single entry can tell of data keys: references that lead nowhere, paths that collide."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from certrotd.config.base import Loc
from certrotd.config.crosscheck import Checked, ConfigFinding, refers
from certrotd.config.file import ConfigFile
from certrotd.config.keyrings import SOCKET, HeartbeatAcknowledgement, SealedEntry


def crosscheck_keys(
    checked: Checked, first: dict[Path, Loc], own: Sequence[str]
) -> Iterator[ConfigFinding]:
    """Everything wrong between the entries of data keys, and others.

    ``first`` has the paths that are written already, ``own`` what certrotd's folders begin with.
    """
    file = checked.file
    assert isinstance(file, ConfigFile), "it has data keys"
    yield from _references(checked, file)
    yield from _paths(file, first, own)


def _references(checked: Checked, file: ConfigFile) -> Iterator[ConfigFinding]:
    """KEKs and targets that are not there, and a KEK that lies beside what it wraps."""
    for name, entry in file.keyrings.items():
        for position, kek in enumerate(entry.keks):
            loc: Loc = ("keyrings", name, "keks", position)
            if kek != "local" or file.keks:
                yield from refers(checked, "keks", kek, loc)
        for position, output in enumerate(entry.outputs):
            for at, kek in enumerate(output.keks if isinstance(output, SealedEntry) else ()):
                loc = ("keyrings", name, "outputs", position, "keks", at)
                if kek != "local" or file.keks:
                    yield from refers(checked, "keks", kek, loc)
        for called, consumer in entry.consumers.items():
            told = consumer.acknowledge
            socket = isinstance(told, HeartbeatAcknowledgement) and told.heartbeat == SOCKET
            if socket and file.key_server is None and checked.sure("key_server"):
                loc = ("keyrings", name, "consumers", called, "acknowledge", "heartbeat")
                yield ConfigFinding(loc, "socket needs key_server, and there is none")
            if consumer.target is not None:
                loc = ("keyrings", name, "consumers", called, "target")
                yield from refers(checked, "targets", consumer.target, loc)
    if file.keyrings and not file.keks and checked.sure("keks"):
        message = f"there is none: keyrings are wrapped by {file.state_dir}/kek, beside them"
        yield ConfigFinding(("keks",), message, warning=True)


def _paths(file: ConfigFile, first: dict[Path, Loc], own: Sequence[str]) -> Iterator[ConfigFinding]:
    """Two outputs at one path, and outputs in certrotd's own folders."""
    for name, keyring in file.keyrings.items():
        for position, output in enumerate(keyring.outputs):
            where: Loc = ("keyrings", name, "outputs", position)
            for path in output.paths:
                if (other := first.setdefault(path, where)) != where:
                    message = f"{path} is also written by {{there}}: give each its own path"
                    yield ConfigFinding(where, message, other=other)
                if any(str(path).startswith(folder) for folder in own):
                    message = f"{path} is inside certrotd's own folder: choose another"
                    yield ConfigFinding(where, message)
