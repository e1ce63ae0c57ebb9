"""A small private CA, for trying out and for names no public CA knows."""
