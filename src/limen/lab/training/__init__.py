"""Tasks as they are trained: what a task is, a run of it, its cost and what it notes, whichever task it is."""
