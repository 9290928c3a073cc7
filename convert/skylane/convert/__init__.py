"""Converts fitted scikit-learn pipelines to verified ONNX graphs, and publishes them in a model repository.

    from skylane.convert import convert_pipeline

    report = convert_pipeline(pipeline, held_out, target="late", training=train)
    report  # in a notebook: the model card
    report.publish("flights_late")

The command `skylane convert` does the same for a pipeline in a file. The packages, in the order of a conversion:

    loading       reads the pipeline and the held-out rows
    inspection    derives the input schema and the task from the pipeline
    export        builds the candidate graphs
    verification  compares them with scikit-learn, times them, and chooses one
    publishing    writes the version, its manifest and its model card
    importing     publishes ONNX files, Triton repositories and MLflow models, which need no conversion
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
