"""Deliveries of certificates to other hosts: each is a subject of its own."""
