"""Values of data keys: what a keyring holds, what state each key is in, how both are kept."""
