"""Tensors without values, for simulations in which nothing is learnt.

They have a shape and a type, and live on torch's device "meta". What would only change values is left undone, and what
any other operation makes of a shape is worked out once: torch itself takes some 60 µs for a sum on "meta".
"""

from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

from manyhands.errors import RunError

_RESHAPING = {"t_", "transpose_", "swapaxes_", "swapdims_", "squeeze_", "unsqueeze_", "resize_", "as_strided_", "set_"}
_IN_PLACE = {name for name in dir(Tensor) if name.endswith("_") and not name.endswith("__")} - _RESHAPING
_IN_PLACE |= {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__setitem__"}
_CHANGE_VALUES = frozenset(getattr(Tensor, name) for name in _IN_PLACE)
_LOOKS = {"item", "tolist", "numpy", "nonzero", "unique", "equal", "allclose"}
_LOOKS |= {"__array__", "__bool__", "__float__", "__int__", "__index__", "__contains__"}
_NEED_VALUES = frozenset([getattr(Tensor, name) for name in _LOOKS] + [torch.equal, torch.allclose, torch.nonzero])
_PLAIN = (int, str, EllipsisType, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


class Blank(Tensor):
    """There is one of each shape, type and memory layout, made by ``blank``."""

    number: int
    sizes: torch.Size
    size_bytes: int
    parts: dict[tuple[Any, Any, Any], Any]
    """slices of it"""

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        if function in _CHANGE_VALUES:
            return arguments[0]
        if function in _told:
            return _on_meta(function, arguments, options)
        if function in _NEED_VALUES:
            raise RunError(f"{function.__name__} needs the values of a tensor: it has none where nothing is learnt")
        if options and "out" in options:
            return options["out"]
        try:
            key = (function, _key(arguments), _key(options.items()) if options else None)
        except _Unknown:
            return _work_out(function, arguments, options or {})
        if key not in _known:
            result = _work_out(function, arguments, options or {})
            if not (_holds_tensors(result) or result == ()):
                _told.add(function)
                return _on_meta(function, arguments, options)
            _known[key] = result
        return _known[key]

    # What is used most goes the short way.

    is_meta = True

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return self.sizes

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        return self.size_bytes

    def __getitem__(self, index: Any) -> Any:
        if type(index) is not slice:
            return super().__getitem__(index)
        key = index.start, index.stop, index.step
        if key not in self.parts:
            self.parts[key] = super().__getitem__(index)
        return self.parts[key]

    def clone(self, **options: Any) -> Any:
        return super().clone(**options) if options else self


def _itself(self: Blank, *_: Any, **__: Any) -> Blank:
    return self


for _name in _IN_PLACE:
    setattr(Blank, _name, _itself)

_blanks: dict[Any, Blank] = {}
_known: dict[Any, Any] = {}
"""results by function and arguments"""
_told: set[Any] = set()
"""functions that tell of a tensor, such as its size or type"""


def blank(like: Tensor) -> Blank:
    """The tensor without values of this shape, type and memory layout."""
    key = (tuple(like.shape), like.dtype, like.stride())
    if key not in _blanks:
        made = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device="meta").as_subclass(Blank)
        made.number, made.sizes, made.size_bytes, made.parts = len(_blanks), like.shape, like.nbytes, {}
        _blanks[key] = made
    return _blanks[key]


class _Unknown(Exception):
    """An argument of which is not known what depends on it."""


def _key(values: Any) -> tuple[Any, ...]:
    """All of some arguments that a result's shape can depend on. Fractions are only ever factors."""
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is Blank:
            key.append((Blank, value.number))
        elif kind is slice:
            key.append((slice, value.start, value.stop, value.step))
        elif isinstance(value, float):
            key.append(float)
        elif isinstance(value, _PLAIN):
            key.append(value)
        elif isinstance(value, Tensor):
            key.append((tuple(value.shape), value.dtype, value.stride()))
        elif isinstance(value, tuple | list):
            key.append(_key(value))
        else:
            raise _Unknown
    return tuple(key)


def _on_meta(function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any] | None) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        return function(*arguments, **(options or {}))


def _work_out(function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """What the function makes of zeros in the place of tensors, made blank."""
    with torch._C.DisableTorchFunctionSubclass():
        return _blanked(function(*_zeros(arguments), **dict(_zeros(tuple(options.items())))))


def _zeros(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype).zero_()
    return type(value)(map(_zeros, value)) if type(value) in (tuple, list) else value


def _blanked(value: Any) -> Any:
    if isinstance(value, Tensor):
        return blank(value)
    return type(value)(map(_blanked, value)) if isinstance(value, tuple | list) and _holds_tensors(value) else value


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(_holds_tensors, value)))
