"""Services that serve certificates and must be told of new ones; one file each."""
