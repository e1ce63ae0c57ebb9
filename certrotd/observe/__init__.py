"""Looking at what is served, from outside."""
