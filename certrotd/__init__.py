"""certrotd keeps TLS certificates fresh, one transaction at a time."""

__version__ = "0.1.0"
