"""Segmentation: images with masks and their files, the task and its networks."""
