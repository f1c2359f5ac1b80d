"""Anomaly detection: the task, its data and its networks."""
