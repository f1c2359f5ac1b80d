"""From a trained mixture to an optimised network: choose each site's activation, keep the choice, build it in.

The algorithm of AdAct (Maiti 2024, ICLR Tiny Papers, OpenReview M7d5k4AxCE, §2): swap a mixture in, train, take the
candidate with the largest weight at every site. What the paper leaves open is optional here and off by default:
annealing, sampling, weights learned on held-out batches, candidates dropped while training.

>>> import limen, torch
>>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
>>> report = limen.swap_(model, lambda: limen.AdAct(("silu", "relu")))
>>> plan = limen.select(model)  # after training
>>> report = limen.bake_(model, plan)
>>> model[1]
SiLU()
"""

from typing import TYPE_CHECKING

from limen.lazily import attributes

if TYPE_CHECKING:
    from limen.selection.bake import apply_, bake_
    from limen.selection.choice import Choice as Choice
    from limen.selection.choice import Observation as Observation
    from limen.selection.choose import merge as merge
    from limen.selection.choose import select
    from limen.selection.gap import Gap as Gap
    from limen.selection.gap import discretisation_gap as discretisation_gap
    from limen.selection.harvesting import harvest
    from limen.selection.plan import Plan
    from limen.selection.schedule import cosine as cosine
    from limen.selection.schedule import geometric as geometric
    from limen.selection.schedule import linear as linear
    from limen.selection.search import HeldoutWeights as HeldoutWeights
    from limen.selection.search import add_entropy_gradient as add_entropy_gradient
    from limen.selection.search import drop_hopeless_ as drop_hopeless_
    from limen.selection.search import entropy as entropy
    from limen.selection.search import mixtures as mixtures
    from limen.selection.search import sample_ as sample_
    from limen.selection.search import set_temperature_ as set_temperature_
    from limen.selection.search import soft_weights as soft_weights
else:
    __getattr__, __dir__ = attributes(
        __name__,
        {
            **dict.fromkeys(("apply_", "bake_"), "bake"),
            **dict.fromkeys(("Choice", "Observation"), "choice"),
            **dict.fromkeys(("merge", "select"), "choose"),
            **dict.fromkeys(("Gap", "discretisation_gap"), "gap"),
            "harvest": "harvesting",
            "Plan": "plan",
            **dict.fromkeys(("cosine", "geometric", "linear"), "schedule"),
            **dict.fromkeys(
                (
                    "HeldoutWeights",
                    "add_entropy_gradient",
                    "drop_hopeless_",
                    "entropy",
                    "mixtures",
                    "sample_",
                    "set_temperature_",
                    "soft_weights",
                ),
                "search",
            ),
        },
    )

__all__ = ["Plan", "apply_", "bake_", "harvest", "select"]
