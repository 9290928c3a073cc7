"""Static quantization: int8 weights and activations, with scales calibrated on rows of the sample.

Scales are fixed, so a row's answer does not depend on the rest of its batch; but values beyond those of the
calibration rows are clipped. Calibration uses the minimum and the maximum: entropy and percentile calibration differ
from it only by noise, and fail if the last batch is smaller than the others (measured).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx

from skylane.convert.export.candidates.quantizer import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from skylane.convert.export.candidates.registry import Built, Source, candidate
from skylane.convert.export.matrix_products import FLOAT, OPERATORS, inner, quantizable, rewritten, worth_it
from skylane.convert.export.onnx_graph import fuse_products, operators
from skylane.convert.inspection.schema import Array

CALIBRATION_ROWS: Final = 2048
"""Rows for calibration, at most half of the sample, so that candidates are verified on other rows as well.

Fewer are not enough: with scales from 100 of 400 rows, clipping moved another row's answer by 0.4 standard deviations.
"""

BATCH_ROWS: Final = 32


@candidate("int8 static", quantized=True)
def int8_static(source: Source) -> Built:
    """Unsigned activations, signed weights with a scale for each output channel, and float32 outputs of each product.

    That is 1.2 times as fast as quantizing the outputs too, and changes fewer labels (1.1 % against 1.9 %, measured).
    """
    model = source.exported("float32")
    fuse_products(model)
    quantizable(model)
    return _built(source, model, (), {"OpTypesToExcludeOutputQuantization": list(OPERATORS)})


@candidate("int8 static, inner", quantized=True)
def int8_static_inner(source: Source) -> Built:
    """The first and the last product stay float32.

    Outputs of the others are quantized: without that, ONNX Runtime has no kernel here, and takes 20 times as long.
    """
    model = source.exported("float32")
    fuse_products(model)
    kept = inner(quantizable(model))
    worth_it(model)
    return _built(source, model, kept, {})


def _built(source: Source, model: onnx.ModelProto, kept: Sequence[str], options: Mapping[str, Any]) -> Built:
    before, touched = operators(model).total(), len(quantizable(model)) - len(kept)
    rows = source.sample(CALIBRATION_ROWS, "float32")
    quantized = rewritten(
        model,
        lambda model, path: quantize_static(
            model,
            path,
            _Rows(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            extra_options={**FLOAT, **options},
        ),
    )
    left = f", the first and the last of {touched + len(kept)} products left as they are" if kept else ""
    count = len(next(iter(rows.values())))
    return Built(
        quantized.SerializeToString(deterministic=True),
        "float32",
        f"{touched} of {before} nodes quantized, scales from {count} rows, the scaler kept{left}",
        quantized_nodes=touched,
    )


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # of a package without types
    """Batches of the sample, all of the same size."""

    def __init__(self, rows: Mapping[str, Array]) -> None:
        self._batches = self._cut(rows)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)

    @staticmethod
    def _cut(rows: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        count = len(next(iter(rows.values())))
        for start in range(0, count, BATCH_ROWS):
            places = np.arange(start, start + BATCH_ROWS) % count  # the last batch is filled up from the start
            yield {name: array[places] for name, array in rows.items()}
