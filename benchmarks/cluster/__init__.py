"""``python -m benchmarks.cluster``: certrotd on a real node, beside cert-manager and Reloader."""
