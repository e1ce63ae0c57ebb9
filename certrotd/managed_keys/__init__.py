"""Keys that never leave their service, as a wing: watched, and rotated where they are."""
