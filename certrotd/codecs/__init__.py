"""Codecs: the ciphertext that applications store, one module for each form."""
