"""What a CA still takes from an account."""
