"""The adapters of a configuration, put together for rotations of certificates."""
