"""Containers of a Docker engine: what they are, and what can be done to them."""
