"""What stands beside an activation in a network, computed with it in one pass: gates, norms, sums."""

from limen.beside.added import BiasAct, ResidualAct
from limen.beside.glu import GLU
from limen.beside.norm import NormAct

__all__ = ["GLU", "BiasAct", "NormAct", "ResidualAct"]
