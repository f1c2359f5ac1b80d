"""Looking into a model: the functions its activations compute, what they receive, and how they learn.

- :func:`plot`: activations by name, drawn beside each other;
- :func:`curves`: every site's function, drawn;
- :func:`statistics`: mean, deviation, skewness, kurtosis and normality of every site's input, and what comes out;
- :func:`watch`: parameters and gradients over training;
- :func:`gradient_norms`: the gradients of the weights, layer by layer, after a backward pass.

Figures need Matplotlib (``pip install 'limen[plot]'``) and are returned as Matplotlib's Axes.

>>> import limen, torch
>>> (site,) = statistics(torch.nn.Sequential(limen.ReLU()), torch.tensor([[-1.0, 1.0]]))
>>> site.path, site.output_zero
('0', 0.5)
"""

from limen.inspect.describing import SiteStatistics, statistics
from limen.inspect.drawing import curves
from limen.inspect.plotting import plot
from limen.inspect.watching import Step, Watch, gradient_norms, watch

__all__ = ["SiteStatistics", "Step", "Watch", "curves", "gradient_norms", "plot", "statistics", "watch"]
