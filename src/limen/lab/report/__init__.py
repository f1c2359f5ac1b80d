"""The report: one HTML page, drawn from a study's stored records alone, that opens without a network."""

from limen.lab.report.contents import Contents
from limen.lab.report.page import render

__all__ = ["Contents", "render"]
