"""Files written so that a crash leaves the old or the new one, and read without trust."""
