"""Alerts on their way to people: what is sent, and through what."""
