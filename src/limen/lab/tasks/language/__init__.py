"""Language models: text from files, the task and its networks."""
