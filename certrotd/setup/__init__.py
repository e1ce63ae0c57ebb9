"""A first configuration: what there is to choose from, what is there, and the file itself."""
