"""The interface, one kind of thing per file."""
