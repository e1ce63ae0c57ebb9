"""The front door: parse the arguments, call, show, and end with the right exit code."""
