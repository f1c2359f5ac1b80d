"""Anomaly detection: the task and its networks."""

from limen.lab.tasks.anomaly.task import Anomaly

__all__ = ["Anomaly"]
