"""Evaluators by the kind of the view, and on-demand views."""

from collections.abc import Mapping

import numpy as np

from skylane.features.compiled import CompiledView
from skylane.features.compiled.views import WINDOW
from skylane.features.evaluation.expressions import Array, evaluate
from skylane.features.evaluation.rows import OK, Ints, SourceRows, Values
from skylane.features.evaluation.tables import TableEvaluator
from skylane.features.evaluation.windows import WindowEvaluator


def evaluator(view: CompiledView, rows: SourceRows) -> TableEvaluator | WindowEvaluator:
    """What computes the values of a view with a source."""
    return WindowEvaluator(view, rows) if view.kind == WINDOW else TableEvaluator(view, rows)


def on_demand(view: CompiledView, columns: Mapping[str, Array], instants: Ints) -> Values:
    """Values of a view without a source; `columns` are those of the request and the features of other views."""
    features = {feature.name: evaluate(feature.tree or {}, columns, instants) for feature in view.features}
    return Values(features, np.full(len(instants), OK, np.uint8), np.zeros(len(instants), np.int64))
