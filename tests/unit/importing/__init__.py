"""Reading what other ACME clients keep."""
