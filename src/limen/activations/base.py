"""The base of every activation: a class with fields and one formula becomes a module.

From the declared fields come the constructor's signature, the parameters and buffers, the sharing rule and the
printed form; from the formula come the values and every derivative.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, get_args
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.fx import Proxy

from limen.activations.documenting import documented
from limen.activations.fields import Field, Noise, Param, bind, is_count
from limen.activations.masking import fitted
from limen.errors import SpecError, suggest
from limen.kernels import dispatch, plain
from limen.kernels.bound import BoundFormula, Memory, keeping, shared
from limen.kernels.precision import HALF_TYPES, parameter_dtype

MEMORIES = get_args(Memory)
MOST_CHANNELS, MOST_AXES = 2**24, 64
"""More channels than any layer has, and torch's most axes: a slip in a number is told before memory is asked for."""


class Activation(nn.Module):
    """An activation function with parameters that can be learned.

    Subclass it with fields and a static ``formula`` over ``x`` and those fields, written with
    :mod:`limen.formula`; everything else is derived.

    Args:
        values, named: initial values of the fields, in the order declared or by name.
        learned: which :class:`Param` fields are trained: ``True``, ``False``, or their names.
            Default: as each field declares.
        num_parameters: 1 to share each parameter, or the number of channels for one a channel.
        group_size: how many neighbouring channels share each of ``num_parameters`` values; the input then has
            num_parameters × group_size channels.
        channel_dim: the channel axis of the input; used with one parameter a channel.
        memory: what training keeps. ``"exact"``: the input, and whatever the next layer keeps. ``"recompute"``: the
            input; where the next layer would keep the output, that is made again in the backward pass, to the bit.
            May be changed on the module.
        device, dtype: of the parameters; float32 where torch's default is a half type. The output always has the type
            of the input.

    Shape: any; the output has the shape and type of the input. Types: float64, float32, bfloat16 and float16; half
    types are computed in float32 and rounded once. Parameters are float and 1-D, of num_parameters values. They stay
    float32 when a model becomes a half type (``model.bfloat16()``), in which steps of usual learning rates would round
    away; only a half type given as ``dtype`` is kept.

    Raises:
        SpecError: when made, for an argument that is unknown or a value that is not allowed; when a class is defined
            whose formula does not take ``x`` and exactly its fields.
        DtypeError: when called, for an input of another type.
        ShapeError: when called, for an input without the channels that the parameters are for.

    >>> from limen.formula import tanh
    >>> class Squash(Activation):
    ...     k = Param(1.0)
    ...     @staticmethod
    ...     def formula(x, k):
    ...         return x * tanh(k * x)
    >>> Squash(k=2.0)
    Squash(k=2)
    >>> Squash(2.0)(torch.zeros(3)).tolist()
    [0.0, 0.0, 0.0]
    """

    fields: ClassVar[Mapping[str, Field]] = {}
    """The formula's arguments beside ``x``, in constructor order."""
    params: ClassVar[tuple[str, ...]] = ()
    """Those of them that can be learned."""
    formula: Callable[..., Any]
    source: ClassVar[str] = ""
    """Where the formula comes from: paper and equation."""
    written: ClassVar[str] = ""
    """The formula in words, where an expression would say less."""
    _bound: tuple[BoundFormula, BoundFormula]
    """The formula bound for evaluation and for training."""
    _bound_places: list[tuple[int, str]]
    """For each tensor whether it is a buffer, and its name."""
    plain_only: ClassVar[str] = ""
    """Why the formula has no kernel, for those that are known not to become an expression."""
    elementwise: bool = True
    """Whether each output element depends on its own input element only."""
    keeps_shape: ClassVar[bool] = True
    """Whether the output has the shape of the input."""
    takes_mask: ClassVar[bool] = False
    """Whether a formula that takes statistics by means of its own heeds the mask of its context."""
    memory: Memory = "exact"
    """What is kept for the backward pass: see :meth:`__init__`'s ``memory``."""
    dtype_asked: torch.dtype | None = None
    """The type that the constructor was given for the parameters."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        for name in declared:
            # The field's name belongs to the parameter, buffer or constant of each instance.
            delattr(cls, name)
        cls.fields = {**cls.fields, **declared}
        cls.params = tuple(name for name, field in cls.fields.items() if isinstance(field, Param))
        if cls.__init__ is Activation.__init__ or "__init__" in vars(cls):
            cls.__signature__ = _constructor_signature(cls)  # type: ignore[attr-defined]
        if "formula" in vars(cls):
            _check_formula(cls)
        cls.__doc__ = documented(cls)

    def __init__(
        self,
        *values: Any,
        learned: bool | Iterable[str] | None = None,
        num_parameters: int = 1,
        channel_dim: int = 1,
        group_size: int = 1,
        memory: Memory = "exact",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **named: Any,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        if not is_count(num_parameters, 1, MOST_CHANNELS):
            raise SpecError(
                f"{owner}: num_parameters={num_parameters!r} must be 1 or the number of channels, "
                f"at most {MOST_CHANNELS:,}."
            )
        if not is_count(group_size, 1, MOST_CHANNELS):
            raise SpecError(f"{owner}: group_size={group_size!r} must be 1 or how many channels share a parameter.")
        if not is_count(channel_dim, -MOST_AXES, MOST_AXES - 1):
            raise SpecError(f"{owner}: channel_dim={channel_dim!r} must be the number of an axis, such as 1 or -1.")
        if group_size > 1 and num_parameters == 1:
            raise SpecError(
                f"{owner}: group_size={group_size} needs num_parameters, the number of groups; "
                "one parameter is shared by all channels as it is."
            )
        self.num_parameters = num_parameters
        self.channel_dim = channel_dim
        self.group_size = group_size
        self.memory = memory
        self.dtype_asked = dtype
        self.initial = _bind(owner, self.fields, values, named)
        learned_names = self._learned_names(learned)
        for name, field in self.fields.items():
            if not isinstance(field, Param):
                if field.settable:
                    setattr(self, name, self.initial[name])
                continue
            value = torch.empty(1 if field.shared else num_parameters, device=device, dtype=parameter_dtype(dtype))
            if abs(self.initial[name]) > torch.finfo(value.dtype).max:
                kind = str(value.dtype).removeprefix("torch.")
                raise SpecError(f"{owner}: {name}={self.initial[name]!r} is beyond the range of its type, {kind}.")
            if name in learned_names:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.reset_parameters()
        self._rebind()

    def _learned_names(self, learned: bool | Iterable[str] | None) -> frozenset[str]:
        params = {name: field for name, field in self.fields.items() if isinstance(field, Param)}
        if learned is None:
            return frozenset(name for name, field in params.items() if field.learned)
        if isinstance(learned, bool):
            return frozenset(params if learned else ())
        if not isinstance(learned, Iterable):
            raise SpecError(f"{type(self).__name__}: learned={learned!r} must be True, False, or names of parameters.")
        names = frozenset([learned] if isinstance(learned, str) else learned)
        for name in sorted(names - params.keys()):
            raise SpecError(f"{type(self).__name__} has no parameter {name!r} to learn. {suggest(name, params)}")
        return names

    def reset_parameters(self) -> None:
        """Set every parameter to the initial value given at construction.

        >>> import limen
        >>> swish = limen.Swish(beta=2.0)
        >>> _ = swish.beta.data.fill_(5.0)
        >>> swish.reset_parameters()
        >>> swish
        Swish(beta=2)
        """
        with torch.no_grad():
            for name, field in self.fields.items():
                if isinstance(field, Param):
                    getattr(self, name).fill_(self.initial[name])

    def bind(self, training: bool) -> BoundFormula:
        """The formula with everything fixed but its tensors, for training or evaluation.

        >>> import limen
        >>> limen.LeakyReLU(0.1).bind(training=False).constants
        (('negative_slope', 0.1),)
        """
        values = {
            name: training if isinstance(field, Noise) else field.current(self, name)
            for name, field in self.fields.items()
            if not isinstance(field, Param)
        }
        return bind(self.formula, self.fields, values, self.channel_dim, self.plain_only)

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the bound formula takes, in its order: float, 1-D, of 1 or num_parameters values.

        >>> import limen
        >>> [tensor.shape for tensor in limen.ASH(num_parameters=3).tensors()]
        [torch.Size([3]), torch.Size([3])]
        """
        holders = self._parameters, self._buffers
        try:
            return tuple([holders[holder][name] for holder, name in self._bound_places])  # type: ignore[misc]
        except KeyError:  # a parametrised one is computed
            return tuple([getattr(self, name) for name in self.params])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the formula to an input of any shape; the output has its type, and its shape where that is kept.

        Args:
            x: any shape; float64, float32, bfloat16 or float16. Of a jagged tensor (``torch.nested``) each sample is
                taken by itself.
            mask: which positions count: bool, or 0 and 1, of the input's leading axes, such as (batch, positions), or
                of all; or whole numbers of shape (batch,): how many positions of each sample count, along axis 1. What
                does not count enters no statistic and no gradient, and its output is 0. Statistics then run on torch's
                operators, without a kernel.

        Raises:
            DtypeError: for an input of another type, and a mask of another type.
            ShapeError: for an input without the channels that the parameters are for, and a mask that does not fit it.
            SpecError: for a mask that is no tensor, or where the formula cannot heed one.

        >>> import limen
        >>> limen.ReLU().forward(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
        """
        given: Any = x
        if type(given) is Proxy:
            return self._as_one_step(given, mask)
        if mask is not None:
            return self._where(fitted(mask, x), x)
        tensors = self.tensors() if self.group_size == 1 else self._by_channel()
        return dispatch.evaluate(self._bound[self.training], x, tensors, self.channel_dim)

    def _as_one_step(self, x: Any, mask: Any) -> Tensor:
        """What torch.fx sees of an activation: one step, as torch's own are."""
        arguments = (x,) if mask is None else (x, mask)
        step: Any = x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), arguments, {})
        return step  # type: ignore[no-any-return]

    def _where(self, mask: Tensor, x: Tensor) -> Tensor:
        """The formula of what counts, and 0 elsewhere, whatever stands there."""
        if not self.heeds_mask():
            raise SpecError(
                f"{type(self).__name__} cannot heed a mask: its formula takes in other positions by its own means, or "
                "changes the shape; take statistics by limen.formula.mean, std, rms, or give samples without padding."
            )
        counting = torch.where(mask, x, 0.0)
        if self.elementwise:
            return torch.where(mask, self.forward(counting), 0.0)
        tensors = self.tensors() if self.group_size == 1 else self._by_channel()
        found = plain.evaluate(self._bound[self.training], counting, tensors, self.channel_dim, mask=mask)
        return torch.where(mask, found, 0.0)

    def heeds_mask(self) -> bool:
        """Whether ``forward`` takes a mask: where statistics are ``mean``, ``std``, ``rms``, and where there are none.

        >>> import limen
        >>> limen.ASH().heeds_mask(), limen.Maxout().heeds_mask()
        (True, False)
        """
        if not self.keeps_shape or self.elementwise or self.takes_mask:
            return self.keeps_shape
        return dispatch.is_derived(self._bound[self.training])

    def _by_channel(self) -> tuple[Tensor, ...]:
        """The tensors with one value a channel, from those with one a group."""
        return tuple(t if t.numel() == 1 else t.repeat_interleave(self.group_size) for t in self.tensors())

    def _rebind(self) -> None:
        # Set past nn.Module, whose attribute look-up would come before it in every forward.
        bound = [keeping(shared(self.bind(training)), self.memory) for training in (False, True)]
        object.__setattr__(self, "_bound", tuple(bound))
        # nn.Module's own attribute look-up would cost a small call a third of its time.
        object.__setattr__(self, "_bound_places", [(int(name in self._buffers), name) for name in self.params])
        for owner in list(self.__dict__.get("_bound_owners", ())):
            owner._rebind()

    def _tell(self, owner: Activation) -> None:
        """Let an activation that is made of this one take up what is changed here."""
        self.__dict__.setdefault("_bound_owners", WeakSet()).add(owner)

    def __setattr__(self, name: str, value: Any) -> None:
        field = self.fields.get(name)
        if field is not None and not isinstance(field, Param):
            value = field.check(type(self).__name__, name, value)
        if name == "memory" and value not in MEMORIES:
            raise SpecError(f"{type(self).__name__}: memory={value!r} is not a choice. {suggest(str(value), MEMORIES)}")
        super().__setattr__(name, value)
        if (name in ("channel_dim", "memory") or name in self.fields) and "_bound" in self.__dict__:
            self._rebind()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_bound")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._rebind()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Parameters follow their model to any device and type, but to no half type that was not asked for."""

        def kept(tensor: Tensor) -> Tensor:
            moved: Tensor = fn(tensor)
            rounded = moved.dtype in HALF_TYPES and tensor.dtype not in HALF_TYPES and moved.dtype != self.dtype_asked
            return tensor.to(moved.device, torch.float32) if rounded else moved

        return super()._apply(kept, recurse)  # type: ignore[no-untyped-call]

    def parameter_values(self) -> dict[str, Tensor]:
        """The current value of every :class:`Param` field, learned or not: float, 1-D, of 1 or num_parameters values.

        >>> import limen
        >>> limen.ASAU().parameter_values()["a"]
        tensor([0.0100])
        """
        return {name: field.current(self, name) for name, field in self.fields.items() if isinstance(field, Param)}

    def __repr__(self) -> str:
        """As torch prints modules; the name alone while torch traces, where torch.vmap asks for it."""
        return type(self).__name__ if is_compiling() else super().__repr__()

    def extra_repr(self) -> str:
        """The current values, where there are any to read, then what differs from the defaults.

        >>> import limen
        >>> limen.PReLU(num_parameters=3).extra_repr()
        'weight=0.25, num_parameters=3'
        """
        parts = []
        if all(map(_has_numbers, [*self.parameters(), *self.buffers()])):
            with torch.no_grad():
                parts = [f"{name}={_summary(value)}" for name, value in self.parameter_values().items()]
        for name, field in self.fields.items():
            if not isinstance(field, Param) and field.settable:
                value = getattr(self, name)
                parts.append(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}")
        if self.num_parameters > 1:
            parts.append(f"num_parameters={self.num_parameters}")
        if self.group_size > 1:
            parts.append(f"group_size={self.group_size}")
        if self.channel_dim != 1:
            parts.append(f"channel_dim={self.channel_dim}")
        if self.memory != "exact":
            parts.append(f"memory={self.memory!r}")
        return ", ".join(parts)


def _has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor can be read here and now, or is on meta, which says so itself.

    Not where torch vectorises, and not if it is fake, distributed, or a shard whose memory is elsewhere.
    """
    if not dispatch.is_eager(tensor):
        return False
    return tensor.is_meta or (tensor.numel() > 0 and tensor.untyped_storage().nbytes() > 0)


def _summary(value: Tensor) -> str:
    """One number as it is; one a channel as mean and range."""
    if value.is_meta:
        return "meta"
    low, high = (value.item(),) * 2 if value.numel() == 1 else (value.min().item(), value.max().item())
    if low == high:
        return f"{low:.4g}"
    return f"{value.mean().item():.4g} in [{low:.4g}, {high:.4g}]"


def _constructor_signature(cls: type[Activation]) -> inspect.Signature:
    """The constructor's signature as ``help`` shows it: own arguments or fields first, the sharing rule last.

    What a constructor hands on as ``**common`` is written out: ``torch.nn.utils.skip_init`` looks for ``device`` there.
    """
    if cls.__init__ is Activation.__init__:
        own, hands_on = _of_fields(cls.fields), True
    else:
        declared = list(inspect.signature(cls.__init__).parameters.values())[1:]
        own = [p for p in declared if p.kind is not inspect.Parameter.VAR_KEYWORD]
        hands_on = len(own) < len(declared)
    common = inspect.signature(Activation.__init__).parameters.values() if hands_on else ()
    learnable = any(isinstance(field, Param) for field in cls.fields.values())
    named = {p.name for p in own} | (set() if learnable else {"learned"})
    own += [p for p in common if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in named]
    return inspect.Signature(own)


def _of_fields(fields: Mapping[str, Field]) -> list[inspect.Parameter]:
    settable = [(name, field) for name, field in fields.items() if field.settable]
    ordered = sorted(settable, key=lambda item: item[1].keyword_only)
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY if field.keyword_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
        )
        for name, field in ordered
    ]


def _bind(owner: str, fields: Mapping[str, Field], values: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Match given values with fields, as Python would, and check each."""
    positional = [name for name, field in fields.items() if not field.keyword_only]
    settable = [name for name, field in fields.items() if field.settable]
    if len(values) > len(positional):
        raise SpecError(
            f"{owner} takes at most {len(positional)} positional values ({', '.join(positional) or 'none'}), "
            f"and {len(values)} were given."
        )
    given = dict(zip(positional, values, strict=False))
    for name, value in named.items():
        if name not in settable:
            known = [*settable, "learned", "num_parameters", "channel_dim", "group_size", "memory", "device", "dtype"]
            raise SpecError(f"{owner} has no argument {name!r}. {suggest(name, known)}")
        if name in given:
            raise SpecError(f"{owner}: {name} was given twice.")
        given[name] = value
    return {name: fields[name].check(owner, name, given.get(name, fields[name].default)) for name in settable}


def _check_formula(cls: type[Activation]) -> None:
    """The formula must take ``x`` and exactly the declared fields."""
    formula = inspect.getattr_static(cls, "formula")
    if not isinstance(formula, staticmethod):
        return
    first, *rest = inspect.signature(formula.__func__).parameters
    if set(rest) != set(cls.fields):
        raise SpecError(
            f"{cls.__name__}.formula takes ({', '.join([first, *rest])}), and the class declares the fields "
            f"({', '.join(cls.fields) or 'none'}); name one argument after each field."
        )
