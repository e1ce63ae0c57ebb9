"""Datasets: what holds ciphertext of a keyring, one module for each kind of place."""
