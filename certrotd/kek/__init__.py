"""Adapters of key-encryption keys (KEKs): each wraps data keys, and is one module."""
