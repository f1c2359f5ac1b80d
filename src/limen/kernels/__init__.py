"""How a formula is run on tensors."""
