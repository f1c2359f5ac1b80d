"""Which operators compute an activation while a model runs, and from where: by torch's dispatcher, not by sources."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

OPERATORS = frozenset(
    {
        "relu", "leaky_relu", "rrelu_with_noise", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus",
        "hardswish", "hardtanh", "relu6", "tanh", "sigmoid", "hardsigmoid", "log_sigmoid_forward", "threshold", "prelu",
        "_prelu_kernel", "softshrink", "hardshrink", "erf", "glu", "_softmax", "_log_softmax", "softmax", "log_softmax",
    }
)  # fmt: skip
"""Names without the overload and without the underscore of what writes over its input."""
OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
"""Where frames are not the model's."""


@dataclass(frozen=True)
class Call:
    """One operator: its name, the lines that led to it, the innermost first, and the modules that were running."""

    operator: str
    lines: tuple[str, ...]
    within: tuple[str, ...]


@dataclass
class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Records the operators of everything that runs inside ``with``, but for those inside ``replaced`` modules."""

    model: nn.Module
    replaced: frozenset[int] = frozenset()
    calls: dict[Call, int] = field(default_factory=dict)
    ran: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack: list[nn.Module] = []
        self._paths: dict[int, list[str]] = {}
        for path, module in self.model.named_modules(remove_duplicate=False):
            self._paths.setdefault(id(module), []).append(path)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        name = name[:-1] if name.endswith("_") else name
        if name in OPERATORS and self._of_interest(args):
            within = tuple(path for module in self._stack for path in self._paths.get(id(module), ()))
            call = Call(name, _asking_lines(), within)
            self.calls[call] = self.calls.get(call, 0) + 1
        return func(*args, **(kwargs or {}))

    def _of_interest(self, args: tuple[Any, ...]) -> bool:
        floating = bool(args) and isinstance(args[0], Tensor) and args[0].is_floating_point()
        return floating and not any(id(module) in self.replaced for module in self._stack)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Know which modules run."""

        def enter(module: nn.Module, _: Any) -> None:
            self._stack.append(module)
            self.ran.add(id(module))

        def leave(module: nn.Module, *_: Any) -> None:
            while self._stack and self._stack.pop() is not module:
                pass

        handles = [
            nn.modules.module.register_module_forward_pre_hook(enter),
            nn.modules.module.register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def record(model: nn.Module, call: Callable[[nn.Module], Any], replaced: frozenset[int] = frozenset()) -> Recorder:
    """Run the model once."""
    recorder = Recorder(model, replaced)
    with torch.no_grad(), recorder.following(), recorder:
        call(model)
    return recorder


def _asking_lines() -> tuple[str, ...]:
    """Those that are neither torch's nor this file's."""
    found = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(OURS):
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return tuple(found)
