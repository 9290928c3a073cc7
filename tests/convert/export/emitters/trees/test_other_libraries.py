"""LightGBM and XGBoost, alone and in pipelines: exact where their thresholds are, refused where there is no graph."""

from collections.abc import Iterator
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from skylane.convert.errors import Refused
from skylane.convert.export.emitters import emit
from skylane.convert.export.emitters.trees import lightgbm as light
from skylane.convert.export.emitters.trees import xgboost as extreme
from skylane.convert.export.emitters.trees.tree_table import TreeTable
from skylane.convert.inspection.schema import infer
from skylane.convert.inspection.structure import Task
from support.trees import around, assert_same, compare, frame_of, with_ends

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 5))
FAR = X * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]
GAPS = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
TWO = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = TWO + (X[:, 2] > 0)
NUMBERS = X[:, 0] * 3 + np.sin(X[:, 1])

DOUBLES = [("float64", "float32"), ("float64", "float64")]


def of_light(kind: str, **told: Any) -> Any:
    return getattr(lightgbm, f"LGBM{kind}")(n_estimators=6, min_child_samples=5, verbose=-1, n_jobs=1, **told)


def of_extreme(kind: str, **told: Any) -> Any:
    return getattr(xgboost, f"XGB{kind}")(**{"n_estimators": 6, "n_jobs": 1, **told})


def cuts_of(forest: TreeTable, scale: Any = None) -> Iterator[tuple[int, float]]:
    for node in np.flatnonzero(~forest.leaves):
        feature, cut = int(forest.feature[node]), float(forest.threshold[node])
        if node in forest.members or not np.isfinite(cut):
            continue
        if scale is not None:
            cut = cut * scale.scale_[feature] + scale.mean_[feature]
        yield feature, cut
        if forest.single and scale is None:
            for single in (np.float32(cut), np.nextafter(np.float32(cut), np.float32(np.inf))):
                yield feature, float(single)
            yield feature, (float(single) + cut) / 2


@pytest.mark.parametrize(("numbers", "precision"), DOUBLES)
@pytest.mark.parametrize(
    ("estimator", "rows", "target"),
    [
        pytest.param(of_light("Classifier"), FAR, TWO + 5, id="two classes"),
        pytest.param(of_light("Classifier"), GAPS, THREE, id="three classes with gaps"),
        pytest.param(of_light("Classifier", use_missing=False), GAPS, TWO, id="gaps that count as nought"),
        pytest.param(of_light("Regressor"), X, NUMBERS, id="rows that met no gap"),
        pytest.param(of_light("Regressor", objective="poisson"), GAPS, np.exp(NUMBERS), id="counts, with a link"),
        pytest.param(
            of_light("Regressor", boosting_type="rf", subsample=0.5, subsample_freq=1), X, NUMBERS, id="a forest"
        ),
        pytest.param(of_light("Regressor", boosting_type="dart"), X, NUMBERS, id="with dropouts"),
    ],
)
def test_lightgbm_on_both_sides_of_every_threshold(
    estimator: Any, rows: Any, target: Any, numbers: Any, precision: Any
) -> None:
    frame = frame_of(rows)
    estimator.fit(frame, target)
    asked = with_ends(around(rows, cuts_of(light.forest_of(estimator))), infinite=True)
    assert_same(*compare(estimator, frame, frame_of(asked), numbers, precision)[:2])


@pytest.mark.parametrize(("numbers", "precision"), [("float32", "float32"), *DOUBLES])
@pytest.mark.parametrize(
    ("estimator", "rows", "target"),
    [
        pytest.param(of_extreme("Classifier"), X, TWO, id="two classes"),
        pytest.param(of_extreme("Classifier"), GAPS, THREE, id="three classes with gaps"),
        pytest.param(of_extreme("Regressor"), GAPS, NUMBERS, id="numbers"),
        pytest.param(of_extreme("Regressor", base_score=0.5, tree_method="exact"), X, NUMBERS, id="own guess"),
        pytest.param(of_extreme("Regressor", objective="count:poisson"), X, np.exp(NUMBERS), id="counts, with a link"),
        pytest.param(of_extreme("Regressor", objective="reg:logistic"), X, TWO * 0.9, id="shares"),
        pytest.param(of_extreme("RFClassifier", n_estimators=9), X, TWO, id="a forest"),
    ],
)  # fmt: skip
def test_xgboost_on_both_sides_of_every_threshold(
    estimator: Any, rows: Any, target: Any, numbers: Any, precision: Any
) -> None:
    estimator.fit(rows, target)
    asked = with_ends(around(rows, cuts_of(extreme.forest_of(estimator))), infinite=False)
    assert_same(*compare(estimator, rows, asked, numbers, precision)[:2], 2e-6)


@pytest.mark.parametrize(("numbers", "precision"), DOUBLES)
@pytest.mark.parametrize(
    ("model", "read"),
    [
        pytest.param(of_light("Regressor"), light.forest_of, id="LightGBM"),
        pytest.param(of_extreme("Regressor"), extreme.forest_of, id="XGBoost"),
    ],
)
def test_a_scaler_in_front_moves_no_row(model: Any, read: Any, numbers: Any, precision: Any) -> None:
    estimator = make_pipeline(StandardScaler(), model).fit(FAR, NUMBERS)
    asked = around(FAR, cuts_of(read(model), estimator[0]))
    asked = np.vstack([asked, np.nextafter(asked, np.inf), np.nextafter(asked, -np.inf)])
    assert_same(*compare(estimator, FAR, asked, numbers, precision)[:2])


@pytest.mark.filterwarnings("ignore:The argument 'eval_set'")  # the other name is too new for older versions
def test_stopped_early_only_the_best_trees_answer() -> None:
    """Trees after the best one are in the model, and are left out by the library, too."""
    noise = RANDOM.integers(0, 2, 400)
    xgb = of_extreme("Classifier", n_estimators=30, early_stopping_rounds=3)
    xgb.fit(X[:200], noise[:200], eval_set=[(X[200:], noise[200:])], verbose=False)
    assert xgb.best_iteration < 29
    assert_same(*compare(xgb, X, X, "float32", "float32")[:2])
    lgb = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1, n_jobs=1)
    stop = lightgbm.early_stopping(3, verbose=False)
    lgb.fit(frame_of(X[:200]), noise[:200], eval_set=[(frame_of(X[200:]), noise[200:])], callbacks=[stop])
    assert lgb.best_iteration_ < 29
    assert_same(*compare(lgb, frame_of(X), frame_of(X), "float64", "float32")[:2])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(of_light("Classifier"), id="LightGBM"),
        pytest.param(of_extreme("Classifier"), id="XGBoost"),
    ],
)
@pytest.mark.parametrize(
    "around_it",
    [
        pytest.param(OneVsRestClassifier, id="one against the rest"),
        pytest.param(OneVsOneClassifier, id="one against one"),
        pytest.param(CalibratedClassifierCV, id="calibrated"),
    ],
)
def test_inside_other_estimators_they_answer_what_these_ask(around_it: Any, model: Any) -> None:
    """Scores where the library has them, else probabilities."""
    frame = frame_of(X)
    assert_same(*compare(around_it(model).fit(frame, THREE), frame, frame, "float64", "float32")[:2])


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([3, 17, 40, 200]), gaps=st.sampled_from([0.0, 0.2]))
def test_law_categories_of_lightgbm_go_where_they_went(seed: int, count: int, gaps: float) -> None:
    """Known ones, unknown ones, what is cut off behind the point, and none at all."""
    random = np.random.default_rng(seed)
    codes = random.permutation(np.arange(400) % count) * 1.0
    effect = random.normal(size=count)[codes.astype(int)]
    codes[random.random(400) < gaps] = np.nan
    rows = np.column_stack([random.normal(size=400), codes])
    model = of_light("Regressor", min_data_per_group=1, cat_smooth=1.0, max_cat_to_onehot=1)
    model.fit(frame_of(rows), effect, categorical_feature=[1])
    asked = np.vstack(
        [rows, rows[:50] + np.array([0, 0.5]), rows[:50] * np.array([1, -0.4]), rows[:9] + np.array([0, 300])]
    )
    assert_same(*compare(model, frame_of(rows), frame_of(asked), "float64", "float32")[:2])


def test_words_of_a_data_frame_behind_an_encoder() -> None:
    words = np.array(["x", "y", "z"])[RANDOM.integers(0, 3, 400)]
    frame = pd.DataFrame({"word": words, "number": X[:, 0]})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    estimator = make_pipeline(
        ColumnTransformer([("words", encoder, ["word"])], remainder="passthrough"), of_extreme("Classifier")
    ).fit(frame, (words == "y") ^ (X[:, 0] > 0))
    asked = pd.concat([frame, frame.head(5).assign(word="never seen")], ignore_index=True)
    assert_same(*compare(estimator, frame, asked, "float64", "float32")[:2])


@pytest.mark.parametrize(
    ("estimator", "told", "message"),
    [
        pytest.param(of_light("Regressor", linear_tree=True), {}, "linear models in its leaves.*linear_tree=False",
                     id="LightGBM, linear leaves"),
        pytest.param(of_light("Regressor", zero_as_missing=True), {}, "noughts for gaps", id="LightGBM, noughts"),
        pytest.param(of_light("Classifier", objective="multiclassova"), {}, "the objective 'multiclassova'",
                     id="LightGBM, one against the rest"),
        pytest.param(of_light("Regressor", reg_sqrt=True), {}, "the objective 'regression sqrt'", id="LightGBM, roots"),
        pytest.param(of_extreme("Regressor", booster="gblinear"), {}, "use booster='gbtree'", id="XGBoost, linear"),
        pytest.param(of_extreme("Regressor", booster="dart"), {}, "the booster dart", id="XGBoost, dropouts"),
        pytest.param(of_extreme("Regressor", missing=-1.0), {}, "takes -1.0 for a gap.*use NaN", id="own gaps"),
        pytest.param(of_extreme("Classifier", objective="binary:hinge"), {}, "the objective 'binary:hinge'",
                     id="XGBoost, hinge"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_refused_with_a_reason(estimator: Any, told: Any, message: str) -> None:
    task: Task = "classifier" if "Classifier" in type(estimator).__name__ else "regressor"
    target = THREE if estimator.objective == "multiclassova" else TWO
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, target)
    name = pipeline.steps[-1][0]
    with pytest.raises(Refused, match=f"the step {name} .*{message}"):
        emit(pipeline, infer(pipeline, X)[0], "float64", task)


def test_categories_of_a_frame_are_refused_with_a_way_out() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "c": pd.Categorical(RANDOM.integers(0, 5, 400))})
    model = of_light("Regressor", min_data_per_group=1).fit(frame, NUMBERS)
    with pytest.raises(Refused, match="the step LGBMRegressor was trained on a data frame's categories: put"):
        emit(model, infer(model, frame)[0], "float64", "regressor")
