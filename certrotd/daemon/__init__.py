"""What keeps things running: wiring of adapters, the fleet of certificates, stopping in order."""
