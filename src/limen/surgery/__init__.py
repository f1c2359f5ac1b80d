"""Replace the activations of any model.

``sites`` lists them: modules by class (``known``) or by what they compute (``recognise``), functions that modules
hold, and calls (``calls``, ``formulas``) in the source of what a forward runs (``reading``, ``source``, ``scope``).
``flow`` says what feeds each, ``keeping`` which stay, ``sharing`` how many parameters each gets, ``inplace`` which
must overwrite their input. ``making`` makes the new ones, ``installing`` puts them in, by ``rewriting`` and
``derive`` where the site is a call. ``observing`` runs examples; ``state`` maps state dicts; ``report`` tells.
``norms`` does the same for norms, which are told by what they compute.
``fusing`` computes activations with their neighbours: ``pairs`` finds these in sources, ``why_apart`` says what must
stay apart, ``weaving`` writes the calls, ``fuse_report`` tells.
"""

from limen.surgery.fuse_report import FuseReport
from limen.surgery.fusing import fuse_
from limen.surgery.norms import swap_norms_
from limen.surgery.report import Site, SwapReport
from limen.surgery.swapping import swap_, swapped

__all__ = ["FuseReport", "Site", "SwapReport", "fuse_", "swap_", "swap_norms_", "swapped"]
