"""X.509 without I/O: names, keys, facts of a certificate, and what must hold before one is used."""
