"""Triton on GPUs: printed from a formula, launched on a tensor's device."""
