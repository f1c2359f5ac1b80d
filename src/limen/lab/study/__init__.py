"""A study from settings to summary: compare, select, and what they store."""
