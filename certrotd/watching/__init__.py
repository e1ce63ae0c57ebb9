"""Checks beside the scheduler, and independent of it."""
