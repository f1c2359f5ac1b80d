"""What stands beside an activation in a network, computed with it in one pass: gates and norms."""

from limen.beside.glu import GLU
from limen.beside.norm import NormAct

__all__ = ["GLU", "NormAct"]
