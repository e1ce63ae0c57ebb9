"""Certificates from ACME CAs (RFC 8555), over the acme and josepy libraries."""
