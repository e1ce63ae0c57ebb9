"""Outputs: a keyring's keys in the form that an application reads them."""
