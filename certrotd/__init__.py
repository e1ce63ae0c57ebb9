"""certrotd keeps TLS certificates and data keys fresh, one transaction at a time."""

__version__ = "0.1.0"
