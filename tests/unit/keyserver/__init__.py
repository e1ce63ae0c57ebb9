"""The server of the client library."""
