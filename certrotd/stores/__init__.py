"""Where generations of certificates are kept, and the copies applications read."""
