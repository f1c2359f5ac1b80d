"""C on CPUs: printed from a formula, compiled, kept and called."""
