"""The commands that are too large for the list of commands, and what all of them share."""
