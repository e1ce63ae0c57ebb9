"""The wing of data keys."""
