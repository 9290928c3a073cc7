"""Patches for bugs of skl2onnx that make an export fail or hang. Wrong results are fixed in the exported graph."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import numpy as np
import onnx.helper
from skl2onnx.common import tree_ensemble
from skl2onnx.common._container import ModelComponentContainer

PLAIN: Final = frozenset({int, float, str, bytes})

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Overdue(Exception):
    """An export exceeded its time limit."""


@contextmanager
def mended(until: float | None = None) -> Iterator[None]:
    """In this context, exports neither hang on infinite thresholds nor fail on NumPy's scalars.

    They raise Overdue after `until`, an instant of `time.monotonic`.
    """
    with ExitStack() as stack:
        stack.enter_context(_wrapped(tree_ensemble, "sklearn_threshold", _finite_only))
        stack.enter_context(_wrapped(onnx.helper, "make_attribute", _plain_values))
        if until is not None:
            stack.enter_context(_wrapped(ModelComponentContainer, "add_node", lambda add: _in_time(add, until)))
        yield


@contextmanager
def _wrapped(module: Any, name: str, wrap: Wrap) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, wrap(original))
    try:
        yield
    finally:
        setattr(module, name, original)


def _in_time(add: Callable[..., Any], until: float) -> Callable[..., Any]:
    """skl2onnx's time for quantiles grows with the square of their number: the default, a thousand, takes minutes."""

    def in_time(*arguments: Any, **named: Any) -> Any:
        if time.monotonic() > until:
            raise Overdue
        return add(*arguments, **named)

    return in_time


def _finite_only(threshold: Callable[..., Any]) -> Callable[..., Any]:
    """A split of missing values from all others has an infinite threshold, whose neighbours in float64 are NaN.

    skl2onnx would bisect between these for ever. An infinity is the same in float32, so no search is needed.
    """

    def finite_only(value: Any, dtype: Any, mode: str) -> Any:
        return threshold(value, dtype, mode) if np.isfinite(value) else np.float64(value)

    return finite_only


def _plain_values(make: Callable[..., Any]) -> Callable[..., Any]:
    """protobuf 7 accepts neither booleans nor NumPy's integers as int; histogram boosting is exported with both."""

    def plain_values(key: str, value: Any, *others: Any, **named: Any) -> Any:
        return make(key, _plain(value), *others, **named)

    return plain_values


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        # A forest has millions of numbers, nearly all plain: checking each took longer than the rest of the export.
        return value if PLAIN.issuperset(map(type, value)) else [_plain(item) for item in value]
    return int(value) if isinstance(value, bool) else value
