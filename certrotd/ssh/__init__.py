"""Other hosts over SSH and SFTP."""
