"""Texts with a class each: their CSV files, the task and its networks."""
