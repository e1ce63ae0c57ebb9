"""An example wing, which shows that a new kind of subject is one module."""
