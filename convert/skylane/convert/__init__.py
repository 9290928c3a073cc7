"""scikit-learn pipelines → verified, timed ONNX graphs in a model repository.

    from skylane.convert import convert_pipeline
    report = convert_pipeline(pipeline, held_out, target="late", training=train)
    report  # in a notebook: the model card
    report.publish("flights_late")

`skylane convert --help` does the same from a file. The steps, one module each: load, schema, export, candidates,
parity, timing, choose, profile, describe, store, report, card; `publish` calls them.
"""

from skylane.convert.errors import (
    BadArgument,
    BadRows,
    ConversionError,
    OutOfTolerance,
    Unconvertible,
    Unreadable,
    Untrusted,
    Unwritable,
)
from skylane.convert.publishing.publish import Published, Report, convert_pipeline, publish
from skylane.convert.publishing.report import show
from skylane.convert.verification.choose import Preset, Quantize

__all__ = [
    "BadArgument",
    "BadRows",
    "ConversionError",
    "OutOfTolerance",
    "Preset",
    "Published",
    "Quantize",
    "Report",
    "Unconvertible",
    "Unreadable",
    "Untrusted",
    "Unwritable",
    "convert_pipeline",
    "publish",
    "show",
]
