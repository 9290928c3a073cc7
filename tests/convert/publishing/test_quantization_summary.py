"""The sentence on what quantization bought."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.quantization_summary import on_quantization
from skylane.convert.verification.batch_mix import USUAL, Batches
from skylane.convert.verification.choose import Verdict, tolerance_of
from skylane.convert.verification.interface import Contract, interface_of
from skylane.convert.verification.parity import Parity
from skylane.manifest import Tolerance


def verdict(name: str, us: float, size: int = 1000, *, difference: float = 0.0, flips: float | None = 0.0) -> Verdict:
    parity = Parity(
        worst_difference=difference, worst_case="held-out rows", held_out_difference=difference,
        label_flips=flips or 0.0, decided_flips=0.0, flips_case="held-out rows",
        metric_drop=0.002 if "int8" in name else 0.0, label_flips_below=flips,
    )  # fmt: skip
    contract = Contract(interface_of((), ()), name, name)
    times = {"1": us, "64": us * 4, "1024": us * 50}
    return Verdict(name, size, parity, times, "int8" in name, "", (), contract, own=True)


QUANTIZED = tolerance_of("quantized", 1.0)


@dataclass(frozen=True)
class Found:
    """As much of a conversion as the sentence is about."""

    verdicts: tuple[Verdict, ...]
    chosen: int
    tolerance: Tolerance = QUANTIZED
    task: str = "classifier"
    batches: Batches = USUAL
    skipped: dict[str, str] = field(default_factory=dict)


FLOAT = verdict("float32", 20)
SLOW_FLOAT = verdict("float64", 80, 2000)
FAST = verdict("int8 static", 10, 250, difference=0.1, flips=0.01)
FAR = verdict("int8 dynamic", 5, 250, difference=0.6)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        pytest.param(
            Found((SLOW_FLOAT, FLOAT, FAST), 2),
            "int8 shipped (int8 static): 2.0x faster at batch 1, 2.0x faster at batch 64, 4.0x smaller, "
            "1.00% of labels changed, -0.0020 of accuracy, against float32",
            id="it won, beside the best that is not quantized",
        ),
        pytest.param(
            Found((FLOAT, verdict("int8 static", 40, 500)), 0),
            "int8: no gain here (int8 static: 2.0x slower at batch 1, 2.0x slower at batch 64, 2.0x smaller, "
            "0.00% of labels changed, -0.0020 of accuracy), float32 shipped",
            id="it is slower",
        ),
        pytest.param(
            Found((FLOAT, FAR), 0),
            "int8: outside tolerance 'quantized' (int8 dynamic: differs by 0.6 (held-out rows), allowed 0.25; "
            "4.0x faster at batch 1, 4.0x faster at batch 64, 4.0x smaller, 0.00% of labels changed, "
            "-0.0020 of accuracy), float32 shipped",
            id="it is fast and wrong",
        ),
        pytest.param(
            Found((FLOAT,), 0, skipped={"int8 dynamic": "no product", "int8 static": "no product", "float64": "x"}),
            "int8: no gain here (no product), float32 shipped", id="nothing to quantize, said once",
        ),
        pytest.param(
            Found((FLOAT, verdict("int8 static", 40, 500, flips=None)), 0, task="regressor", batches=Batches({1: 1.0})),
            "int8: no gain here (int8 static: 2.0x slower at batch 1, 2.0x smaller, -0.0020 of R²), float32 shipped",
            id="a regressor, and callers that send one row",
        ),
    ],
)  # fmt: skip
def test_on_quantization(found: Any, sentence: str) -> None:
    assert on_quantization(cast(Conversion, found)) == sentence
