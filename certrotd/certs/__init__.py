"""Wing 1: the facts of a certificate, the decision about it, and its rotation."""
