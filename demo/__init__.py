"""What scripts/demo shows: four acts on real servers, each checked on the wire."""
