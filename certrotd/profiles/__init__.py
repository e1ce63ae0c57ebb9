"""Profiles: what is known of an application's keys and ciphertext, as data files; and a reader."""
