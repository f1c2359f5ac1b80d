"""The page of a suite: one answer over several problems, with a link to the report of each."""
