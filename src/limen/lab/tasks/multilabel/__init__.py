"""Several labels an image: which of several things it shows."""
