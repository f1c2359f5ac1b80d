"""From a trained model to one that deploys: learned activations as built-in functions, with errors that are proved.

``intervals`` encloses what a formula and its slope can be on a piece of the range, and ``bounding`` turns that into a
bound that holds for every input in it. ``candidates`` are torch's functions and ``fitting`` finds their numbers;
``approximations`` are what else an activation can become. ``ranges`` says what each site receives, ``simplifying``
decides and replaces, ``report`` tells.
"""

from typing import TYPE_CHECKING

from limen.lazily import attributes

if TYPE_CHECKING:
    from limen.deploy.report import Simplified, SimplifyReport
    from limen.deploy.simplifying import simplify_
else:
    __getattr__, __dir__ = attributes(
        __name__, {"Simplified": "report", "SimplifyReport": "report", "simplify_": "simplifying"}
    )

__all__ = ["Simplified", "SimplifyReport", "simplify_"]
