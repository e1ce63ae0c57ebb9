"""Adapters of keys that never leave the service that keeps them: their rotation and its watch."""
