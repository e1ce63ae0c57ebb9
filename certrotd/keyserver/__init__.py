"""Serves keyrings to the processes of this machine that may read them, over a Unix socket."""
