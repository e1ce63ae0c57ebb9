"""What the daemon knows and does, for people and programs: status board, snapshot, log."""
