"""scikit-learn pipelines → verified, timed ONNX graphs in a model repository.

    from convert import publish
    publish(pipeline, held_out_rows, name="flights_late", target=truth)

`skylane convert --help` does the same from a file. The steps, one module each: load, schema, export, candidates,
parity, timing, choose, describe, store, report; `publish` calls them.
"""

from convert.choose import Preset, Quantize
from convert.errors import (
    BadArgument,
    BadRows,
    ConversionError,
    OutOfTolerance,
    Unconvertible,
    Unreadable,
    Untrusted,
    Unwritable,
)
from convert.publish import Published, publish
from convert.report import show

__all__ = [
    "BadArgument",
    "BadRows",
    "ConversionError",
    "OutOfTolerance",
    "Preset",
    "Published",
    "Quantize",
    "Unconvertible",
    "Unreadable",
    "Untrusted",
    "Unwritable",
    "publish",
    "show",
]
