"""What other ACME clients keep on disk, read to be taken over: certbot, lego and acme.sh."""
