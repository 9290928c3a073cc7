"""Graphs of our own emitters: scalers are folded into the next step, and one product replaces ten nodes of skl2onnx."""

from typing import Final

from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate
from skylane.convert.inspection.schema import NumberType
from skylane.convert.inspection.structure import parts, rounds_first

SCALERS: Final = (MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler)
"""Steps for which our emitters add no node."""


@candidate("emitted float32")
def emitted_float32(source: Source) -> Built:
    """float32 input and computation: the fastest, and accurate if float32 can represent the input."""
    return _built(source, "float32", "float32", "")


@candidate("emitted mixed")
def emitted_mixed(source: Source) -> Built:
    """float64 input, centred and then computed in float32: accurate for large numbers such as seconds since 1970."""
    return _built(source, "float64", "float32", "; doubles are centred, then computed in single precision")


@candidate("emitted float64")
def emitted_float64(source: Source) -> Built:
    """float64 throughout, as scikit-learn computes."""
    return _built(source, "float64", "float64", "; computed in doubles")


def _built(source: Source, numbers: NumberType, precision: NumberType, how: str) -> Built:
    if numbers == "float64" and all(column.kind == "string" for column in source.layout.columns):
        raise NotApplicable("the pipeline takes no numbers")
    if numbers == "float64" and source.large and rounds_first(source.estimator):
        raise NotApplicable(f"{source.large}, which round their input to single precision: doubles would gain nothing")
    content = source.emitted(numbers, precision)
    folded = ", scalers folded in" if any(isinstance(part, SCALERS) for part in parts(source.estimator)) else ""
    return Built(content, numbers, f"emitted anew{folded}{how}")
