"""What a conversion is worth: asked about rows that neither the pipeline nor the converter has seen."""

import warnings
from typing import Any

import numpy as np

from skylane.convert.inspection.schema import infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.publishing import conversion
from skylane.convert.publishing.conversion import Conversion
from skylane.convert.verification.answers import by_estimator, by_graph
from skylane.convert.verification.parity import TIE, difference, flips


def examined(estimator: Any, held_out: Any, fresh: Any) -> tuple[Conversion, float]:
    """Convert, and compare on the fresh rows: what came of it, and the largest difference there.

    Of a probability, or of a number in standard deviations. Raises ConversionError if it is refused, AssertionError if
    it is silently wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn to authors, about settings that were drawn or reported
        made = conversion.convert(
            estimator,
            held_out,
            target=None,
            tolerance="close",
            quantize="never",
            force=False,
            say=lambda _: None,
        )
        item, task = made.tried[made.chosen], task_of(estimator)
        rows = infer(estimator, fresh)[1]
        expected = by_estimator(estimator, made.layout, rows, task)
    actual = by_graph(item.session.named(made.layout.tensors(rows, item.built.numbers)))
    gap = float(difference(expected, actual).max(initial=0.0))
    assert gap <= made.tolerance.max_difference, f"{item.recipe.name} is silently wrong: {estimator}"
    assert not (flips(expected, actual) & ~_tied(expected.numbers)).any(), f"labels of {item.recipe.name} differ"
    return made, gap / (made.tolerance.max_difference / 1e-3)


def _tied(numbers: Any) -> Any:
    if numbers is None or numbers.shape[1] < 2:
        return np.False_
    ordered = np.sort(numbers, axis=1)
    return ordered[:, -1] - ordered[:, -2] <= TIE
