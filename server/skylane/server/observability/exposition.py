"""Metrics as text: Prometheus's format 0.0.4, or OpenMetrics if the request accepts it. Pure.

prometheus_client writes a page in one step, which takes 2.4 s for a thousand models and blocks other threads. This
module writes the text in slices.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, Literal, NamedTuple

from prometheus_client import exposition

Kind = Literal["counter", "gauge", "histogram", "info", "unknown"]

SLICE_LINES: Final = 256
"""Lines in one slice, which takes 0.2 to 0.4 ms."""

_OPEN_METRICS: Final = "application/openmetrics-text"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


class Sample(NamedTuple):
    """One line."""

    name: str
    labels: str
    """As `labelled` writes them."""
    value: float


class Family(NamedTuple):
    """One metric."""

    name: str
    """That of a counter ends with `_total`, that of an info with `_info`."""
    kind: Kind
    text: str
    samples: Iterable[Sample]


def labelled(labels: Mapping[str, str]) -> str:
    """Labels of a sample, without braces."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())


def media_type(accept: str) -> str:
    """The media type of the page for this Accept field."""
    return exposition.choose_encoder(accept)[1]


def slices(families: Iterable[Family], media_type: str) -> Iterator[bytes]:
    """The page in slices, between which the caller may let others run."""
    lines = _lines(families, open_metrics=media_type.startswith(_OPEN_METRICS))
    while piece := "".join(islice(lines, SLICE_LINES)):
        yield piece.encode()


def _lines(families: Iterable[Family], *, open_metrics: bool) -> Iterator[str]:
    for name, kind, text, samples in families:
        yield _head(name, kind, text, open_metrics)
        for sample, labels, value in samples:
            yield f"{sample}{{{labels}}} {_number(value)}\n" if labels else f"{sample} {_number(value)}\n"
    if open_metrics:
        yield "# EOF\n"


def _head(name: str, kind: Kind, text: str, open_metrics: bool) -> str:
    named: str = kind
    if open_metrics:
        name = name.removesuffix("_total" if kind == "counter" else "_info")
    else:
        named = {"info": "gauge", "unknown": "untyped"}.get(kind, kind)
    text = text.translate(_ESCAPES) if open_metrics else text.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {named}\n"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
