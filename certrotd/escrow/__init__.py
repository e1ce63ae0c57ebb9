"""Copies of keyrings away from the data: backup, shares, and the drill that restores them."""
