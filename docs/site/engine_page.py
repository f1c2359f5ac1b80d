"""How one formula becomes a kernel, in the forms that it really has on the way."""

from __future__ import annotations

from limen.activations.base import Activation
from limen.activations.describe import expression
from limen.activations.registry import create, find
from limen.explore.functions import printed
from limen.explore.tex import tex
from limen.formula.graph import Graph
from limen.formula.symbolic import symbol
from limen.kernels.bound import derive
from limen.kernels.c.arithmetic import arithmetic

EXAMPLE = "swish"


def page() -> str:
    """The page, in Markdown, about the example's formula."""
    activation: Activation = create(EXAMPLE)
    bound = activation.bind(training=False)
    derived = derive(bound, bound.parameters)
    found = expression(find(EXAMPLE))
    slopes = "\n\n".join(
        f"by `{name}`:\n\n```{{math}}\n{tex(found.diff(symbol(name)))}\n```" for name in ("x", *bound.parameters)
    )
    names = {"x": "x", **{name: name for name in bound.parameters}}
    outputs = [node for _, node in derived.slopes]
    lines, results = arithmetic(derived.backward, outputs, names)
    by = ", ".join(f"`{result}` by {name}" for result, (name, _) in zip(results, derived.slopes, strict=True))
    return f"""# From a formula to a kernel

An activation is one formula in Python, over `x` and its parameters. What follows are the forms that the formula of
`{EXAMPLE}` really has on its way, made while this page was.

## The expression

Called with symbols instead of tensors, the formula is an expression:

```{{math}}
{tex(found)}
```

Its derivatives are the expression's, of functions that neither overflow nor cancel (`limen.formula.symbolic`); σ′ is
σ(u)·σ(−u), written so that it does neither.

{slopes}

## The graph

Lowered (`limen.formula.stable`), everything is written over few operations; equal parts are one node. The value:

```text
{_written(derived.forward, [derived.value])}
```

The derivatives share one exponential, e^−|u|, which is at most 1 whatever u is:

```text
{_written(derived.backward, outputs)}
```

## The statements in C

Printed (`limen.kernels.c.arithmetic`), one statement an operation; {by}. The loops around them come from
`limen.kernels.c.body`, and the system's compiler makes vectors of them. Triton's statements are printed likewise.

```c
{chr(10).join(lines)}
```

## JavaScript

The same expression, printed for the plots of this site and of `limen show`:

```js
{printed(EXAMPLE)}
```
"""


def _written(graph: Graph, outputs: list[int]) -> str:
    rows = []
    for index in graph.live(outputs):
        node = graph.nodes[index]
        told = str(node.value) if not node.operands else ", ".join(f"v{operand}" for operand in node.operands)
        rows.append(f"v{index:<3} = {node.op:<10} {told}")
    return "\n".join([*rows, f"result: {', '.join(f'v{output}' for output in outputs)}"])
