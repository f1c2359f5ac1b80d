"""Whether the tests can fail: see ``tests/mutants.py``."""
