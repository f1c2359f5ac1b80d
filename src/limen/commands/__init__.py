"""A file a command, and what all of them share."""
