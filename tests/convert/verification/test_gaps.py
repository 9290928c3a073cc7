"""Gaps in columns of text, in all the ways in which pandas writes them: answered as scikit-learn does, or refused.

The same tests run with the oldest pandas that is supported: see test_oldest_pandas.py.
"""

import io
import warnings
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder
from threadpoolctl import threadpool_limits

from skylane.convert.errors import BadRows
from skylane.convert.inspection.missing import VALUE_OF, Gap
from skylane.convert.inspection.schema import infer
from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.conversion import convert as run
from skylane.convert.verification.answers import by_estimator, by_graph
from skylane.convert.verification.parity import difference

pytestmark = pytest.mark.usefixtures("untimed")

ROWS: Final = 240
TRAINED_ON: Final = 160

_random = np.random.default_rng(3)
_CITIES = _random.choice(np.array(["Bern", "Oslo", "Rome"], object), ROWS)
_GAPS = _random.random(ROWS) < 0.25
_X = np.round(_random.normal(size=ROWS), 3)
TARGET: Final = (_GAPS & (_X > -1) | (_CITIES == "Rome") & (_X > 0.5)).astype(np.int64)
"""Gaps tell more than any city, so an answer to the wrong kind of gap is far off."""


def _written(value: Any, dtype: Any) -> pd.DataFrame:
    """Cities whose gaps are this value."""
    cities = pd.Series(np.where(_GAPS, value, _CITIES), dtype=object).astype(dtype)
    return pd.DataFrame({"city": cities, "x": _X})


def _read() -> pd.DataFrame:
    """As read_csv reads them: objects with NaN in pandas 2, texts in pandas 3."""
    lines = (f"{'' if gap else city},{x}" for city, gap, x in zip(_CITIES, _GAPS, _X, strict=True))
    return pd.read_csv(io.StringIO("city,x\n" + "\n".join(lines)))


FRAMES: Final[dict[str, tuple[pd.DataFrame, Gap]]] = {
    "read from CSV": (_read(), "NaN"),
    "objects with NaN": (_written(np.nan, object), "NaN"),
    "objects with None": (_written(None, object), "None"),
    "categories": (_written(np.nan, "category"), "NaN"),
    "strings with NA": (_written(pd.NA, "string"), "NA"),
}

ENCODERS: Final = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "one-hot, first dropped": OneHotEncoder(drop="first", handle_unknown="ignore"),
    "one-hot, rare ones together": OneHotEncoder(min_frequency=0.2, handle_unknown="infrequent_if_exist"),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "ordinal, gaps of their own": OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "target": TargetEncoder(random_state=0),
}


def imputed(gap: Gap, strategy: str, encoder: Any) -> Any:
    """Gaps of this kind filled first."""
    fill = {"fill_value": "unknown"} if strategy == "constant" else {}
    return make_pipeline(SimpleImputer(missing_values=VALUE_OF[gap], strategy=strategy, **fill), encoder)


def fitted(encoder: Any, frame: pd.DataFrame, model: Any = None) -> Any:
    """A pipeline of the city, encoded, and a number."""
    columns = ColumnTransformer([("city", encoder, ["city"])], remainder="passthrough")
    made = make_pipeline(columns, LogisticRegression() if model is None else model)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        return made.__sklearn_clone__().fit(frame[:TRAINED_ON], TARGET[:TRAINED_ON])


def converted(estimator: Any, held_out: pd.DataFrame) -> Conversion:
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        return run(
            estimator, held_out, target=None, tolerance="close", quantize="never", force=False, say=lambda _: None
        )


def check(found: Conversion, rows: pd.DataFrame) -> None:
    """The graph answers rows that nobody was asked about as the pipeline does."""
    layout, item = found.layout, found.tried[found.chosen]
    frame = infer(found.estimator, rows)[1]
    expected = by_estimator(found.estimator, layout, frame, "classifier")
    actual = by_graph(item.session.named(layout.tensors(frame, item.built.numbers)))
    assert difference(expected, actual).max() < 1e-3


def missing(found: Conversion) -> Any:
    """What stands for a gap in the city."""
    return next(column.missing for column in found.layout.columns if column.name == "city")


CASES: Final = [
    *((frame, encoder, None) for frame in FRAMES for encoder in ENCODERS if frame != "strings with NA"),
    *(
        (frame, encoder, strategy)
        for frame in FRAMES
        for encoder, strategy in (("one-hot", "most_frequent"), ("one-hot", "constant"), ("target", "constant"))
    ),
    *((frame, "ordinal", "most_frequent") for frame in FRAMES),
]
"""Encoders alone and behind imputers. scikit-learn trains no encoder on columns with NA."""


@pytest.mark.parametrize("held_out", ["with gaps", "without gaps"])
@pytest.mark.parametrize(("frame", "encoder", "imputer"), CASES)
def test_gaps_are_answered_as_they_were_trained(frame: str, encoder: str, imputer: str | None, held_out: str) -> None:
    rows, gap = FRAMES[frame]
    step = ENCODERS[encoder]
    # Without an imputer, the ordinal encoder keeps gaps, which linear models do not take.
    model = HistGradientBoostingClassifier(max_iter=3) if (encoder, imputer) == ("ordinal", None) else None
    estimator = fitted(step if imputer is None else imputed(gap, imputer, step), rows, model)
    sample = rows[TRAINED_ON:] if held_out == "with gaps" else rows[TRAINED_ON:].dropna()
    found = converted(estimator, sample)
    assert missing(found) is not None, found.notes
    check(found, rows[TRAINED_ON:])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(RandomForestClassifier(5, random_state=0), id="a forest"),
        pytest.param(HistGradientBoostingClassifier(max_iter=5), id="histogram boosting"),
    ],
)
@pytest.mark.parametrize("frame", ["objects with NaN", "objects with None", "read from CSV"])
def test_a_gap_and_an_unseen_text_are_two_things_to_trees(frame: str, model: Any) -> None:
    rows, _ = FRAMES[frame]
    encoder = ENCODERS["ordinal, gaps of their own"]
    found = converted(fitted(encoder, rows, model), rows[TRAINED_ON:].dropna())
    check(found, rows[TRAINED_ON:])


BOTH: Final = _written(np.nan, object).assign(
    city=lambda frame: frame["city"].where(~(_GAPS & (np.arange(ROWS) % 2 == 0)), None)
)
"""Every second gap is None, the others NaN."""


def test_gaps_of_two_kinds_in_the_rows_are_refused_by_name() -> None:
    with pytest.raises(BadRows, match=r"column 'city' has gaps that are \w+ and \w+, .*: make them one kind"):
        converted(fitted(ENCODERS["one-hot"], BOTH), BOTH[TRAINED_ON:])


def test_without_gaps_in_the_rows_two_kinds_of_training_are_refused() -> None:
    found = converted(fitted(ENCODERS["one-hot"], BOTH), BOTH[TRAINED_ON:].dropna())
    assert missing(found) is None
    assert any("gaps in 'city' will be refused: the pipeline answers NaN and None" in note for note in found.notes)


@pytest.mark.parametrize("gap", ["NaN", "None"])
def test_of_two_kinds_of_training_the_rows_tell_which_is_meant(gap: Gap) -> None:
    rows = BOTH[TRAINED_ON:].assign(city=lambda frame: frame["city"].where(frame["city"].notna(), VALUE_OF[gap]))
    found = converted(fitted(ENCODERS["one-hot"], BOTH), rows)
    check(found, rows)


def test_what_the_training_had_is_told_where_the_rows_have_no_gaps() -> None:
    rows, _ = FRAMES["objects with None"]
    found = converted(fitted(ENCODERS["one-hot"], rows), rows[TRAINED_ON:].dropna())
    assert "gaps in 'city' are answered as None, as in training; scikit-learn tells others apart" in found.notes


def test_trained_on_a_database_and_held_out_as_text() -> None:
    """Held-out rows that pandas read as texts can hold no None, which the training had."""
    rows, _ = FRAMES["objects with None"]
    held_out = rows[TRAINED_ON:].dropna().astype({"city": "str"})
    check(converted(fitted(ENCODERS["one-hot"], rows), held_out), rows[TRAINED_ON:])


@pytest.mark.parametrize("frame", FRAMES)
def test_a_column_of_gaps_alone_is_still_text(frame: str) -> None:
    rows, gap = FRAMES[frame]
    estimator = fitted(imputed(gap, "constant", ENCODERS["one-hot"]), rows)
    empty = rows[TRAINED_ON:].loc[rows["city"].isna()]
    found = converted(estimator, empty)
    check(found, empty)


YES: Final = pd.Series(np.where(_GAPS, np.nan, _CITIES == "Rome"), dtype=object).map(
    lambda value: value if value != value else bool(value)
)
"""Booleans with gaps, as pandas reads them: True, False, NaN."""


@pytest.mark.parametrize("gap", ["NaN", "None"])
@pytest.mark.parametrize(
    "encoder",
    [
        pytest.param(OneHotEncoder(handle_unknown="ignore"), id="one-hot"),
        pytest.param(
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2), id="ordinal"
        ),
    ],
)
def test_booleans_with_gaps_are_numbers(encoder: Any, gap: Gap) -> None:
    rows = answered_yes_or_no(gap)
    estimator = fitted(encoder, rows)
    check(converted(estimator, rows[TRAINED_ON:]), rows[TRAINED_ON:])


def answered_yes_or_no(gap: Gap) -> pd.DataFrame:
    """Booleans with gaps of this kind."""
    values = [VALUE_OF[gap] if value != value else value for value in YES]
    return pd.DataFrame({"city": pd.Series(values, dtype=object), "x": _X})


def test_booleans_whose_gaps_an_imputer_overlooks_are_refused_by_name() -> None:
    """To scikit-learn None is no gap there; to a graph, which takes numbers, it is one."""
    rows = answered_yes_or_no("None")
    estimator = fitted(imputed("NaN", "most_frequent", OneHotEncoder()), rows)
    with pytest.raises(BadRows, match=r"column 'city' has gaps that are None, which only a graph takes for NaN"):
        converted(estimator, rows[TRAINED_ON:])


def test_nullable_numbers_go_straight_into_trees() -> None:
    rows = pd.DataFrame({"seats": pd.array(_random.integers(1, 9, ROWS), dtype="Int64"), "x": pd.array(_X, "Float64")})
    rows.loc[_GAPS, "seats"] = pd.NA
    with threadpool_limits(1):
        estimator = HistGradientBoostingClassifier(max_iter=5).fit(rows[:TRAINED_ON], TARGET[:TRAINED_ON])
    check(converted(estimator, rows[TRAINED_ON:]), rows[TRAINED_ON:])
