"""The audit log: who had what done to which certificate, in a chain that shows tampering."""
