"""``python -m benchmarks.cluster``: the rows, one after the other, as a table or as JSON."""

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from benchmarks.cluster import acme, frozen, gitops, leader, rejected, rolling, thousand
from benchmarks.cluster.bench import QUICK, Bench, Sizes
from benchmarks.cluster.table import INCUMBENTS, Line, Section, as_json, head, rendered
from tests.parts.kubernetes.cluster import Cluster

Measure = Callable[[Bench], Iterable[Line]]


@dataclass(frozen=True)
class Row:
    """What a row measures, in words and for real."""

    what: str
    measure: Measure


ROWS: dict[str, Row] = {
    "acme": Row("an ACME rotation until three pods serve it, and its API calls", acme.measure),
    "rolling": Row("requests of a steady load that fail in a rotation", rolling.measure),
    "rejected": Row("a certificate that pods do not start with", rejected.measure_rejected),
    "untrusted": Row("a certificate that the probe does not trust", rejected.measure_untrusted),
    "frozen": Row("the API server stands still in mid-rotation", frozen.measure),
    "gitops": Row("the workload's manifest is put back in mid-rollout", gitops.measure),
    "leader": Row("the leader of two is killed or frozen in mid-change", leader.measure),
    "thousand": Row(
        "the daemon with many certificates; all renewed at once (kwok)", thousand.measure
    ),
}
_DESCRIPTION = f"""\
Measures certrotd on a Kubernetes node of its own, as root, beside figures of the incumbents:
{INCUMBENTS}.
(Not measured here: the Go module proxy has neither cert-manager's commands nor this Reloader.)

Rows:
"""
_EPILOGUE = """\
certrotd runs in the node's network by the ServiceAccount and the Roles that the docs give it.
All rows take about 15 minutes on two idle cores. Exit code 1: a row failed, or a limit is not met.
"""


def main(arguments: Sequence[str]) -> int:
    """Measures the rows, and prints; the exit code is 1 where one failed or is not met."""
    given = _parsed(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and nothing is left behind
    sizes = _sizes(given)
    sections: list[Section] = []
    with (
        tempfile.TemporaryDirectory(prefix="certrotd-bench-") as directory,
        Cluster(sync=given.sync) as cluster,
    ):
        Path(directory).chmod(0o755)
        if not given.json:
            print(f"The incumbents: {INCUMBENTS}.\n\n{head()}")
        for row in given.only or ROWS:
            section = _measured(row, Bench(cluster, Path(directory) / row, sizes))
            sections.append(section)
            if not given.json:
                print(rendered(section), flush=True)
    if given.json:
        print(json.dumps(as_json(sections), indent=1, ensure_ascii=False))
    return 0 if all(each.is_met for each in sections) else 1


def _measured(row: str, bench: Bench) -> Section:
    """A row that fails keeps what it had measured, and the others are measured, too."""
    began, failed = time.monotonic(), ""
    lines: list[Line] = []
    try:
        with bench.cluster.network():
            for line in ROWS[row].measure(bench):
                lines.append(line)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # whatever keeps it
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    return Section(row, time.monotonic() - began, lines, failed)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench cluster",
        description=_DESCRIPTION + "\n".join(f"  {n:11}{row.what}" for n, row in ROWS.items()),
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=ROWS,
        metavar="ROW",
        help="measure this row; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it works")
    parser.add_argument(
        "--sync",
        default="5s",
        help="how often the kubelet looks at mounts (default: 5s; by itself 1m)",
    )
    for each in fields(Sizes):
        kind = type(each.default)
        parser.add_argument(f"--{each.name}", type=kind, help=f"default: {each.default}")
    return parser.parse_args(arguments)


def _sizes(given: argparse.Namespace) -> Sizes:
    told = {each.name: getattr(given, each.name) for each in fields(Sizes)}
    return replace(
        QUICK if given.quick else Sizes(),
        **{name: value for name, value in told.items() if value is not None},
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
