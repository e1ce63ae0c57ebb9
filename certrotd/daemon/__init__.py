"""What keeps things running: wiring, signals, the service manager, stopping in order."""
