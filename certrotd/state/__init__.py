"""Where the state of rotations lives: documents, journals, histories and locks."""
