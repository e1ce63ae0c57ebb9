"""Health, metrics and the status page over HTTP: read-only, bounded, on a snapshot of the board."""
