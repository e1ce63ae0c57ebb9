"""One request over HTTP/1.1 and its answer, to hosts by name, within a deadline."""
