"""Detection: boxes and their files, default boxes, average precision, the task and its networks."""
