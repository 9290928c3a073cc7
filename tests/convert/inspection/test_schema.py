"""The columns that a pipeline takes, their positions in tensors, and the stand-ins for missing values."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from skylane.convert.errors import BadRows, ConversionError, Unconvertible
from skylane.convert.export.emitters import emit
from skylane.convert.export.export import export
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import Layout, infer
from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.conversion import convert as run
from skylane.convert.verification.answers import Answers
from skylane.convert.verification.gaps import settle

FRAME = pd.DataFrame(
    {
        "a": [1.5, 2.5, 3.0, 4.0] * 10,
        "b": [10, 20, 30, 45] * 10,
        "s": ["x", "y", "x", "z"] * 10,
        "when": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"] * 10),
    }
)
TARGET = np.arange(40.0) + FRAME["b"].to_numpy()


def fitted(*branches: Any, frame: pd.DataFrame = FRAME) -> Any:
    """A linear model behind a ColumnTransformer with these branches."""
    named = [(f"branch {index}", *branch) for index, branch in enumerate(branches)]
    return make_pipeline(ColumnTransformer(named), LinearRegression()).fit(frame, TARGET)


def convert(estimator: Any, frame: pd.DataFrame) -> Conversion:
    return run(estimator, frame, target=None, tolerance="close", quantize="never", force=False, say=lambda _: None)


def places(estimator: Any) -> dict[str, list[str]]:
    """Tensor → the names of its columns."""
    layout, _ = infer(estimator, FRAME)
    return {tensor: [layout.columns[at].name for at in positions] for tensor, positions in layout.order.items()}


@pytest.mark.parametrize(
    ("branches", "tensors"),
    [
        pytest.param([(StandardScaler(), ["a", "b"])], {"features": ["a", "b"]}, id="only numbers: one tensor"),
        pytest.param([(StandardScaler(), ["b", "a"])], {"features": ["b", "a"]}, id="one branch: its own order"),
        pytest.param([(OneHotEncoder(), ["s"])], {"strings": ["s"]}, id="only texts"),
        pytest.param(
            [(OneHotEncoder(), ["s"]), (StandardScaler(), ["a"]), (MinMaxScaler(), ["b"])],
            {"numbers": ["a", "b"], "strings": ["s"]},
            id="both: numbers first",
        ),
        pytest.param([(StandardScaler(), ["a"])], {"features": ["a"]}, id="columns that no branch reads are left out"),
        pytest.param([("passthrough", [1]), ("drop", ["a"])], {"features": ["b"]}, id="positions, and dropped columns"),
        pytest.param([(StandardScaler(), slice(0, 2))], {"features": ["a", "b"]}, id="a slice"),
        pytest.param(
            [(StandardScaler(), make_column_selector(dtype_include="number"))],
            {"features": ["a", "b"]},
            id="a selector",
        ),
        pytest.param(
            [(StandardScaler(), ["a", "b"]), (MinMaxScaler(), ["b"])], {"features": ["a", "b"]}, id="used twice"
        ),
    ],
)
def test_columns_of_a_kind_share_a_tensor_and_the_graph_finds_them(
    branches: list[Any], tensors: dict[str, list[str]]
) -> None:
    estimator = fitted(*branches)
    assert places(estimator) == tensors
    found = convert(estimator, FRAME)
    assert found.verdicts[found.chosen].parity.worst_difference <= found.tolerance.max_difference


def test_a_frame_without_texts_needs_no_column_transformer() -> None:
    estimator = make_pipeline(StandardScaler(), LinearRegression()).fit(FRAME[["b", "a"]], TARGET)
    assert places(estimator) == {"features": ["b", "a"]}, "the order of training, not of the rows given"


def test_one_tensor_in_two_orders_is_for_our_own_emitters() -> None:
    """skl2onnx would pass the tensor on unsorted to one of them, and say nothing."""
    estimator = fitted((StandardScaler(), ["a", "b"]), (MinMaxScaler(), ["b", "a"]))
    layout, frame = infer(estimator, FRAME)
    with pytest.raises(Unconvertible, match="different orders"):
        export(estimator, layout, "float64", "regressor")
    session = Session(emit(estimator, layout, "float64", "regressor").SerializeToString())
    answers = session.named(layout.tensors(frame, "float64"))["prediction"]
    np.testing.assert_allclose(answers.ravel(), estimator.predict(FRAME))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(FRAME.iloc[:0], "there are no rows", id="no rows"),
        pytest.param(
            FRAME[["a", "s"]], "the rows lack 2 of the pipeline's 4 columns: 'b', 'when'", id="columns missing"
        ),
        pytest.param(FRAME.to_numpy(), "trained on a data frame with the columns 'a', 'b'", id="an array for a frame"),
        pytest.param(
            FRAME.assign(s=1.0), "'s' was text in training, but the rows have numbers", id="numbers for texts"
        ),
        pytest.param(FRAME.assign(a=FRAME["when"]), "'a' holds datetime64", id="dates"),
        pytest.param(FRAME.assign(a=pd.Series([(1,)] * 40)), "'a' holds object values such as \\(1,\\)", id="objects"),
    ],
)
def test_rows_that_do_not_fit(rows: Any, message: str) -> None:
    estimator = fitted((OneHotEncoder(), ["s"]), (StandardScaler(), ["a", "b"]))
    with pytest.raises(BadRows, match=message):
        infer(estimator, rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(np.zeros((2, 3)), "trained on 2 features, but the rows have 3", id="too many features"),
        pytest.param(np.zeros(2), "expected rows of numbers", id="one dimension"),
        pytest.param(np.array([["a", "b"]]), "train on a data frame", id="texts"),
        pytest.param(
            FRAME[["a", "b", "s"]],
            "knows no names, but .* no numbers: 's'; leave out .*--target",
            id="a frame with texts",
        ),
        pytest.param(
            FRAME[["a", "b"]].assign(late=True),
            "trained on 2 features, .* 3: 'a', 'b', 'late'; leave out",
            id="a frame with the truth",
        ),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(rows: Any, message: str) -> None:
    estimator = LinearRegression().fit(FRAME[["a", "b"]].to_numpy(), TARGET)
    with pytest.raises(BadRows, match=message):
        infer(estimator, rows)


def test_a_frame_for_a_pipeline_that_knows_no_names_may_have_numbers_of_any_type() -> None:
    estimator = LinearRegression().fit(FRAME[["a", "b"]].to_numpy(), TARGET)
    rows = pd.DataFrame({"yes": [True, False], "many": pd.array([1, None], dtype="Int64")})
    np.testing.assert_array_equal(infer(estimator, rows)[1].to_numpy(), [[1.0, 1.0], [0.0, np.nan]])


def with_gap(name: str) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[3::4, name] = None
    return frame


@pytest.mark.parametrize(
    ("branches", "frame", "missing"),
    [
        pytest.param([(StandardScaler(), ["a"])], FRAME, {"a": None}, id="a linear model alone refuses gaps"),
        pytest.param(
            [(make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"])], with_gap("a"), {"a": "NaN", "b": "NaN"},
            id="an imputer accepts them",
        ),
        pytest.param(
            [(OneHotEncoder(handle_unknown="ignore"), ["s"])], FRAME, {"s": ""},
            id="to an encoder that ignores the unknown, a gap is any unknown text",
        ),
        pytest.param([(OneHotEncoder(), ["s"])], FRAME, {"s": None}, id="an encoder of known texts refuses gaps"),
        pytest.param(
            [(OneHotEncoder(handle_unknown="ignore"), ["s"])], with_gap("s"), {"s": "nan"},
            id="where a gap is a category of its own, it has the name that skl2onnx gave it",
        ),
    ],
)  # fmt: skip
def test_what_stands_for_a_gap(branches: list[Any], frame: pd.DataFrame, missing: dict[str, str | None]) -> None:
    found = convert(fitted(*branches, frame=frame), frame)
    assert {column.name: column.missing for column in found.layout.column_specs("float32")} == missing


@pytest.mark.parametrize(
    ("estimator", "frame", "refused"),
    [
        pytest.param(
            make_pipeline(
                ColumnTransformer(
                    [
                        ("texts", OneHotEncoder(handle_unknown="ignore"), ["s"]),
                        ("imputed", make_pipeline(SimpleImputer(), StandardScaler()), ["b"]),
                        ("scaled", StandardScaler(), ["a"]),
                    ]
                ),
                LinearRegression(),
            ),
            FRAME[["a", "b", "s"]],
            {"numbers": ((0,), (0, 1)), "strings": ((), ())},
            id="a frame: gaps where nothing fills them, infinities everywhere",
        ),
        pytest.param(
            LinearRegression(), FRAME[["a", "b"]].to_numpy(), {"features": ((0, 1), (0, 1))}, id="an array: both"
        ),
        pytest.param(
            RandomForestRegressor(2), FRAME[["a"]].where(FRAME["a"] < 4).to_numpy(), {"features": ((), (0,))},
            id="a forest trained with gaps",
        ),
        pytest.param(
            HistGradientBoostingRegressor(max_iter=2), FRAME[["a"]].to_numpy(), {"features": ((), ())},
            id="histogram boosting takes everything",
        ),
        pytest.param(
            ColumnTransformer([("kept", "passthrough", ["a"]), ("scaled", StandardScaler(), ["b"])]), FRAME[["a", "b"]],
            {"features": ((), (1,))}, id="each column for itself",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Skipping features")
def test_where_gaps_and_infinities_are_refused(estimator: Any, frame: Any, refused: dict[str, Any]) -> None:
    with threadpool_limits(1):
        found = convert(estimator.fit(frame, TARGET), frame)
    assert {spec.name: (spec.no_nan, spec.no_inf) for spec in found.layout.tensor_specs("float32")} == refused
    assert not any("infinities" in note for note in found.notes), "that scikit-learn raises is worth no note"


def test_infinities_that_the_graph_answers_differently_are_refused() -> None:
    estimator = ColumnTransformer([("kept", "passthrough", ["a", "b"])]).fit(FRAME)
    layout, frame = infer(estimator, FRAME)

    def run(layout: Layout, rows: pd.DataFrame) -> Answers:
        """A graph that takes the infinities of one column for numbers."""
        return Answers(None, rows.assign(b=rows["b"].clip(-9.0, 99.0)).to_numpy(np.float64))

    settled, notes = settle(estimator, layout, frame, "transformer", run, 1e-3)
    assert [spec.no_inf for spec in settled.tensor_specs("float64")] == [(1,)]
    assert "infinities in 'b' will be refused: the graph would answer them differently" in notes
    frame["b"] = frame["b"].where(frame.index < 39, np.inf)
    settled, _ = settle(estimator, layout, frame, "transformer", run, 1e-3)
    assert [spec.no_inf for spec in settled.tensor_specs("float64")] == [()], (
        "where the sample itself has infinities, the gate measures how wrong they are"
    )


def test_texts_never_seen_are_part_of_the_gate() -> None:
    """The graph fails on a text that scikit-learn takes for an infrequent one; publishing it would break callers."""
    estimator = fitted((OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-5), ["s"]))
    try:
        found = convert(estimator, FRAME)
    except ConversionError:
        return  # refused is fine, wrong is not
    layout = found.layout
    strange = FRAME.assign(s="never seen")
    chosen = found.tried[found.chosen]
    answers = chosen.session.run(layout.tensors(strange, chosen.built.numbers))[0]
    np.testing.assert_allclose(np.ravel(answers), estimator.predict(strange), rtol=1e-4)
