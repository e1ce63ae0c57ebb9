"""The benchmark of the cluster works: one of its rows, small."""

from pathlib import Path

from benchmarks.cluster.bench import QUICK, Bench
from benchmarks.cluster.rejected import measure_untrusted
from tests.parts.kubernetes.cluster import Cluster


def test_a_row_of_the_benchmark_is_measured_and_met(cluster: Cluster, tmp_path: Path) -> None:
    """certrotd in the way of a pod, with the rights of the docs, and pods that serve."""
    [line] = measure_untrusted(Bench(cluster, tmp_path, QUICK))
    assert line.met, line
    assert line.figures == {"reached": 0, "tries": 1, "writes": 0, "pods_kept": True}
