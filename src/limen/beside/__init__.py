"""What stands beside an activation in a network, computed with it in one pass: gates and norms."""

from limen.beside.glu import GLU

__all__ = ["GLU"]
