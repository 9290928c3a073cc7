"""Every estimator of scikit-learn as it is without settings: right, or refused. Never wrong, never a traceback.

A tenth of them; the others in `tasks.py soak`, or with `pytest -m "" tests/convert/test_every_estimator.py`. What a new
release of scikit-learn brings is asked about without anybody adding it.
"""

from contextlib import suppress
from typing import Any, Final

import numpy as np
import pytest
from sklearn.utils import all_estimators, get_tags
from threadpoolctl import threadpool_limits

from skylane.convert import ConversionError
from support.reported import NOBODY, PAIR, THREE, TRAINED_ON, TWO, VALUES, Sample, verdict

pytestmark = pytest.mark.usefixtures("untimed")

TENTH: Final = 10

SLOW: Final = ("IsolationForest", "GammaRegressor")
"""Over whose default settings skl2onnx, or scikit-learn, takes seconds: only in a soak."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All of them; most are for a soak."""
    families = all_estimators()
    cut = [name for name, _ in families[::TENTH] if name not in SLOW]
    metafunc.parametrize(
        "family",
        [pytest.param(family, id=name, marks=[] if name in cut else [pytest.mark.soak]) for name, family in families],
    )


@pytest.mark.filterwarnings("ignore")  # of estimators that like neither these rows nor their own defaults
def test_right_or_refused(family: Any) -> None:
    try:
        estimator = family()
        sample = _rows(get_tags(estimator))
    except (TypeError, AttributeError):
        return  # it is made of others, which the conformance suite draws
    with threadpool_limits(1):
        try:
            estimator.fit(sample.rows[:TRAINED_ON], None if sample.target is None else sample.target[:TRAINED_ON])
        except (ValueError, TypeError, AttributeError):
            return  # texts, kernels or pairs of tables are what it takes
        with suppress(ConversionError):
            verdict(estimator, sample)


def _rows(tags: Any) -> Sample:
    """Of the kind that such an estimator takes."""
    sample = {"classifier": THREE, "regressor": VALUES}.get(tags.estimator_type, NOBODY)
    if tags.estimator_type == "classifier" and not tags.classifier_tags.multi_class:
        sample = TWO
    elif tags.target_tags.multi_output and not tags.target_tags.single_output:
        sample = PAIR
    elif tags.estimator_type is None and tags.target_tags.required:
        sample = THREE
    rows = np.abs(sample.rows) if tags.input_tags.positive_only else sample.rows
    return Sample(rows, np.exp(sample.target) if tags.target_tags.positive_only else sample.target)
