"""What assessors ask of data keys, from plain values and the audit log; pure."""
