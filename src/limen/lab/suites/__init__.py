"""Suites: several problems, each an ordinary study in a folder of its own, and one answer over all of them."""
