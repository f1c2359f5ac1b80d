"""Sequences with a class each: their files, the task and its networks."""
