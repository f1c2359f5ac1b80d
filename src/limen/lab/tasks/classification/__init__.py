"""Image classification: the task, and where a network looks."""
