"""Who uses a keyring: how each is told of a new delivery, and how it acknowledges it."""
