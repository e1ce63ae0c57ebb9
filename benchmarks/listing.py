"""How long a person waits: `--version`, `status` of one certificate, `status` of 10,000."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Cost, ProgramFailed, median, run
from certrotd.state.records import decode, encode
from certrotd.stores.local import LocalStore

CERTROTD = Path(sys.executable).with_name("certrotd")
_MODELS = 10


@dataclass(frozen=True)
class Waits:
    """Medians of cold processes: pages in memory, bytecode compiled, nothing else kept."""

    version: Cost
    status: Cost
    many: int
    status_of_many: Cost


def measure(directory: Path, crowd: Path, *, many: int) -> Waits:
    """Measures everything below a directory of its own; ``crowd`` is what ``multiplied`` gave."""
    log = directory / "listing.log"
    one = _rotated(directory / "one", ["only"])
    _check(crowd, many, directory / "table.txt")
    return Waits(
        version=median([CERTROTD, "--version"], log=log),
        status=median([CERTROTD, "-c", one, "status"], log=log),
        many=many,
        status_of_many=median([CERTROTD, "-c", crowd, "status"], log=log, times=5),
    )


def _check(config: Path, count: int, table: Path) -> None:
    """Whether every certificate is listed as one that is fine."""
    run([CERTROTD, "-c", config, "status"], log=table)
    rows = table.read_text().splitlines()[1:]
    fine = [row for row in rows if " ok " in row and "web: generation 1" in row]
    if len(fine) != count:
        raise ProgramFailed(f"{len(fine)} of {count} certificates are fine:\n{rows[:3]}")


def _rotated(directory: Path, names: Sequence[str]) -> Path:
    """A configuration whose certificates the internal issuer has just issued; its path."""
    directory.mkdir(parents=True)
    config = _configured(directory, [(name, name) for name in names])
    run([CERTROTD, "-c", config, "rotate", "--all"], log=directory / "rotate.log")
    return config


def multiplied(directory: Path, count: int) -> Path:
    """So many certificates as ten real rotations would have left them, ten times a thousand.

    Files of generations are hard links to those of their model: `status` opens and checks each.
    """
    models = [f"model{number}" for number in range(min(_MODELS, count))]
    _rotated(directory, models)
    certificates = [
        (f"certificate-{number:05d}", models[number % len(models)]) for number in range(count)
    ]
    for name, model in certificates:
        shutil.copytree(
            directory / "certificates" / model,
            directory / "certificates" / name,
            symlinks=True,
            copy_function=os.link,
        )
        _copy_history(directory / "state/history/certificate", model, name)
    for model in models:
        shutil.rmtree(directory / "certificates" / model)
    _seal_again(directory / "certificates", certificates)
    return _configured(directory, certificates)


def _seal_again(store: Path, certificates: Sequence[tuple[str, str]]) -> None:
    """Record the files as they stand now: each link to one has changed its time of change."""
    sealed: dict[str, Path] = {}
    for name, model in certificates:
        meta = store / name / "generations" / "000001" / "meta.json"
        if model in sealed:
            meta.unlink()
            os.link(sealed[model], meta)
        else:
            LocalStore(store).rebuild(name, 1)
            sealed[model] = meta


def _copy_history(folder: Path, model: str, name: str) -> None:
    records, _ = decode((folder / f"{model}.jsonl").read_bytes(), what=model)
    lines = [encode({**record, "subject": f"certificate/{name}"}) for record in records]
    (folder / f"{name}.jsonl").write_bytes(b"".join(lines))


def _configured(directory: Path, certificates: Sequence[tuple[str, str]]) -> Path:
    """A configuration in YAML as people write it; (name, host name) of each certificate."""
    lines = [
        f"state_dir: {directory / 'state'}",
        f"store_dir: {directory / 'certificates'}",
        "issuers:",
        "  private: {type: internal}",
        "targets:",
        f"  web: {{type: command, command: {json.dumps([shutil.which('true')])}}}",
        "certificates:",
    ]
    for name, host in certificates:
        lines += [f"  - name: {name}", f"    names: [{host}.bench.test]", "    targets: [web]"]
    config = directory / "config.yaml"
    config.write_text("\n".join(lines) + "\n")
    return config
