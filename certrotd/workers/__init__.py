"""Processes that work for this one, on this machine and on others."""
