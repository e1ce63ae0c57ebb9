"""DNS challenge records: where they belong, who publishes them, and who shows them already."""
