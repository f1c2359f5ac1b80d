"""Results that the next layer does not keep for the backward pass: they are made again in it from what is kept anyway.

A result that is to be made again is a tensor of a class of its own, so that an operator of torch's that takes it can be
seen: whatever that saves of its memory is replaced by how to make it again. It is an ordinary tensor in all else.
Whatever is not known to do with it only what autograd sees ends that, and from then on it is kept like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_USES = """
linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul mm bmm mv addmm baddbmm
einsum __matmul__ __rmatmul__ batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm max_pool1d
max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
interpolate pad dropout dropout1d dropout2d dropout3d add sub mul div __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__
__truediv__ mean sum gelu silu mish cat stack square mse_loss
"""
"""Operators that read a tensor, hand its memory to nobody, and keep nothing that they give: whether that was changed
since cannot be seen where there are hooks on what is kept."""
_VIEWS = """
view reshape flatten unflatten transpose permute t swapaxes movedim unsqueeze squeeze contiguous narrow select chunk
split unbind expand expand_as view_as reshape_as to float half bfloat16 __getitem__
"""
"""Those whose result may be the tensor's own memory."""
_QUESTIONS = """
size dim stride numel nelement ndimension storage_offset is_contiguous is_floating_point is_complex get_device type_as
element_size register_hook retain_grad backward __len__ __repr__ __str__ __format__ __hash__ __reduce_ex__ has_names
is_same_size type
"""
"""Methods that leave the elements alone."""
_ATTRIBUTES = """
shape dtype device layout ndim requires_grad is_leaf grad grad_fn itemsize nbytes is_cuda is_cpu is_meta is_nested
is_sparse is_quantized is_mkldnn is_mps is_xpu _version names output_nr retains_grad
"""
_PLACES = (torch, F, Tensor)
_autograd: Any = torch._C._autograd  # of which torch's own types leave half out


def _named(names: str) -> frozenset[Any]:
    return frozenset(getattr(place, name) for place in _PLACES for name in names.split() if hasattr(place, name))


USES, VIEWS = _named(_USES), _named(_VIEWS) | {Tensor.T.__get__, Tensor.mT.__get__}  # type: ignore[attr-defined]
HARMLESS = _named(_QUESTIONS) | {getattr(Tensor, name).__get__ for name in _ATTRIBUTES.split() if hasattr(Tensor, name)}


class _Hooks(NamedTuple):
    """What is done to a tensor that is saved, and to what that gives when it is wanted back."""

    pack: Callable[[Tensor], Any]
    unpack: Callable[[Any], Tensor]


class _Versioned(NamedTuple):
    """A tensor as it is saved where nobody has hooks on that."""

    tensor: Tensor
    version: int


def _plainly_unpacked(saved: _Versioned) -> Tensor:
    if saved.tensor._version != saved.version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: a tensor "
            f"of shape {tuple(saved.tensor.shape)} beside an activation with memory='recompute' is at version "
            f"{saved.tensor._version}; expected version {saved.version} instead."
        )
    return saved.tensor


_PLAIN = _Hooks(lambda tensor: _Versioned(tensor, tensor._version), _plainly_unpacked)


def _hooks_in_force() -> _Hooks:
    """Those of checkpointing, of offloading, or of someone who counts; else none."""
    found = _autograd._top_saved_tensors_default_hooks(True)
    return _PLAIN if found is None else _Hooks(*found)


class Recipe:
    """How a result is made again, from tensors that its own backward pass keeps too."""

    def __init__(self, make: Callable[..., Tensor], tensors: Sequence[Tensor], result: Tensor) -> None:
        self.make = make
        self.tensors = [tensor.detach() for tensor in tensors]
        self.versions = [tensor._version for tensor in tensors]
        self.result_version = result._version
        self.place, self.dtype = result.untyped_storage().data_ptr(), result.dtype
        self.layout = tuple(result.shape), tuple(result.stride())
        self.ended = False
        self._saved: tuple[_Hooks, _Saved] | None = None

    def saved(self, hooks: _Hooks) -> _Saved:
        """The recipe as a program of autograd keeps it; once for all that need it."""
        if self._saved is None or self._saved[0] != hooks:
            self._saved = hooks, _Saved(self.make, [hooks.pack(t) for t in self.tensors], hooks.unpack, self.layout)
        return self._saved[1]

    def holds(self, result: Tensor) -> bool:
        """Whether the recipe still gives what the result holds."""
        same = all(t._version == version for t, version in zip(self.tensors, self.versions, strict=True))
        return not self.ended and result._version == self.result_version and same


class _Saved(NamedTuple):
    """What is kept in the place of a result."""

    make: Callable[..., Tensor]
    tensors: list[Any]
    unpack: Callable[[Any], Tensor]
    layout: tuple[tuple[int, ...], tuple[int, ...]]

    def again(self) -> Tensor:
        with torch.no_grad():
            made = self.make(*map(self.unpack, self.tensors))
            shape, strides = self.layout
            if made.stride() != strides or made.storage_offset():
                made = torch.empty_strided(shape, strides, dtype=made.dtype, device=made.device).copy_(made)
        return made


class _Piece(NamedTuple):
    """What is kept in the place of a result or a view of it."""

    of: _Saved
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def again(self) -> Tensor:
        made = self.of.again()
        if (self.size, self.stride, self.offset) == (*self.of.layout, 0):
            return made
        with torch.no_grad():
            return made.as_strided(self.size, self.stride, self.offset)


class Remade(Tensor):
    """A result that is made again in the backward pass."""

    _recipe: Recipe

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What torch calls in the place of each of its operators that is given one."""
        kwargs = kwargs or {}
        if function in HARMLESS:
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **kwargs)
        given = list(_found((*args, *kwargs.values())))
        with torch._C.DisableTorchFunctionSubclass():
            if function in USES or function in VIEWS:
                return _watched(function, args, kwargs, given)
            for tensor in given:
                tensor._recipe.ended = True
            return function(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As an ordinary tensor."""
        return ordinary(self).__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def __deepcopy__(self, memo: Any) -> Any:
        return ordinary(self).__deepcopy__(memo)  # type: ignore[no-untyped-call]

    def __repr__(self, **named: Any) -> str:  # type: ignore[override]
        return repr(ordinary(self))


def ordinary(x: Tensor) -> Tensor:
    """The same memory as a tensor of torch's own class."""
    with torch._C.DisableTorchFunctionSubclass():
        return x.as_subclass(Tensor)


def remade(result: Tensor, make: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """A result that autograd recorded, from now on made again by ``make`` of the tensors where it would be kept."""
    place = result.untyped_storage().data_ptr()
    shared = any(tensor.untyped_storage().data_ptr() == place for tensor in tensors)
    alone = place and not shared and not result.storage_offset()
    if not alone or not _autograd._saved_tensors_hooks_is_enabled():
        return result
    return _as_remade(result, Recipe(make, tensors, result))


def _as_remade(result: Tensor, recipe: Recipe) -> Tensor:
    if not _torch_knows and "torch._dynamo" in sys.modules:
        _tell_dynamo()
    as_it_is: Any = result
    as_it_is.__class__ = Remade  # no alias, which autograd would record
    as_it_is._recipe = recipe
    return result


_torch_knows: set[str] = set()


def _tell_dynamo() -> None:
    """Let a compiled program that is given one call torch's operators for it, as it does for all that it cannot follow.

    It would raise when it is first called: what looks into that call knows torch's own classes alone.
    """
    import torch._dynamo.config as config

    config.nontraceable_tensor_subclasses.add(Remade)
    seen: Any = Remade
    disable: Any = torch.compiler.disable
    seen.__torch_function__ = classmethod(disable(seen.__torch_function__.__func__))
    _torch_knows.add("torch._dynamo")


def through(function: Callable[..., Any], *args: Any) -> Any:
    """Call what records the use of some results that are made again, which are handed to it as ordinary tensors."""
    given = [argument for argument in args if type(argument) is Remade]
    plain = [ordinary(argument) if type(argument) is Remade else argument for argument in args]
    return _watched(function, plain, {}, given)


def _watched(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], given: Iterable[Remade]) -> Any:
    """Call a function and keep, of what it saves, no memory of the given results."""
    recorded = torch.is_grad_enabled() and _autograd._saved_tensors_hooks_is_enabled()
    known = {tensor._recipe.place: tensor for tensor in given if recorded and tensor._recipe.holds(tensor)}
    if not known:
        return function(*args, **kwargs)
    hooks = _hooks_in_force()

    def pack(tensor: Tensor) -> Any:
        held = known.get(tensor.untyped_storage().data_ptr())
        if held is None or tensor.dtype != held._recipe.dtype or not held._recipe.holds(held) or tensor.is_neg():
            return hooks.pack(tensor)
        saved = held._recipe.saved(hooks)
        return _Piece(saved, tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()))

    def unpack(saved: Any) -> Tensor:
        return saved.again() if isinstance(saved, _Piece) else hooks.unpack(saved)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        result = function(*args, **kwargs)
    found = _views_of(known, result) if function in VIEWS else result
    known.clear()  # autograd holds on to ``pack``, which would hold on to the results
    return found


def _views_of(known: Mapping[int, Remade], result: Any) -> Any:
    """What a function gave, in which views of results are results themselves."""
    if isinstance(result, (tuple, list)):
        return type(result)(_views_of(known, item) for item in result)
    held = known.get(result.untyped_storage().data_ptr()) if type(result) is Tensor else None
    if held is not None and result.requires_grad and held._recipe.holds(held):
        return _as_remade(result, held._recipe)
    return result


def _found(values: Iterable[Any]) -> Iterator[Remade]:
    """The results among arguments, in lists of them too."""
    for value in values:
        if type(value) is Remade:
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _found(value)
