"""A page on which activations can be tried: their formulas printed as JavaScript, sliders, curves."""
