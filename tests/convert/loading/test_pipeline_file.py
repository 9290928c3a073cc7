"""Loading files: what is safe, what is refused, and what is said."""

import io
import json
import pickle
import re
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import pytest
import sklearn
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from skylane.convert.errors import Unreadable, Untrusted
from skylane.convert.loading.pipeline_file import load


class Bomb:
    """Its pickle writes a file when it is loaded: what a stranger's file could do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def saved(path: Path, estimator: Any) -> Path:
    if path.suffix == ".skops":
        skops.io.dump(estimator, path)
    elif path.suffix == ".joblib":
        joblib.dump(estimator, path, compress=3)
    else:
        path.write_bytes(pickle.dumps(estimator))
    return path


def test_a_skops_file_needs_no_trust(tmp_path: Path, linear: Any) -> None:
    loaded = load(saved(tmp_path / "p.skops", linear.estimator))
    assert loaded.estimator.predict(linear.rows).tolist() == linear.estimator.predict(linear.rows).tolist()
    assert re.fullmatch("[0-9a-f]{64}", loaded.sha256)
    assert loaded.notes == ()


@pytest.mark.parametrize("suffix", [".pkl", ".joblib"])
def test_pickle_and_joblib_are_loaded_with_trust_alone(tmp_path: Path, linear: Any, suffix: str) -> None:
    path = saved(tmp_path / f"p{suffix}", linear.estimator)
    with pytest.raises(Untrusted, match=r"can run any code while it is loaded.*pass --trust"):
        load(path)
    loaded = load(path, trust=True)
    assert hasattr(loaded.estimator, "predict")
    assert loaded.how == "pickle or joblib file, in the process that converted it, with all its rights"


def test_nothing_runs_before_trust_is_given(tmp_path: Path) -> None:
    path = saved(tmp_path / "bomb.pkl", Bomb(tmp_path / "ran"))
    with pytest.raises(Untrusted):
        load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(RandomForestClassifier(2), id="a forest"),
        pytest.param(HistGradientBoostingClassifier(max_iter=2), id="histogram boosting"),
        pytest.param(KNeighborsClassifier(algorithm="kd_tree"), id="nearest neighbours"),
        pytest.param(GaussianProcessClassifier(), id="kernels of a Gaussian process"),
    ],
)
def test_scikit_learns_own_types_need_no_trust(tmp_path: Path, linear: Any, estimator: Any) -> None:
    with threadpool_limits(1):
        path = saved(tmp_path / "p.skops", estimator.fit(linear.rows, linear.target))
        assert load(path).estimator.predict(linear.rows).tolist() == estimator.predict(linear.rows).tolist()


class Doubled(FunctionTransformer):  # type: ignore[misc]  # scikit-learn has no types
    """A transformer of the author's own."""


def doubled(rows: Any) -> Any:
    """A function of the author's own."""
    return rows * 2


def test_unknown_types_are_named_and_can_be_trusted_by_name(tmp_path: Path, linear: Any) -> None:
    path = saved(tmp_path / "own.skops", make_pipeline(Doubled(), DecisionTreeClassifier()).fit(linear.rows, [0] * 200))
    own = f"{Doubled.__module__}.Doubled"
    with pytest.raises(Untrusted, match=rf"--trust-types {re.escape(own)};"):
        load(path)
    with pytest.raises(Untrusted):
        load(path, trust_types=["another.Type"])
    assert hasattr(load(path, trust_types=[own]).estimator, "predict")
    assert hasattr(load(path, trust=True).estimator, "predict")


def test_the_step_that_needs_an_unknown_type_is_named(tmp_path: Path, linear: Any) -> None:
    inner = Pipeline([("own", Doubled()), ("scaled", StandardScaler())])
    columns = ColumnTransformer([("some", inner, [0, 1]), ("rest", FunctionTransformer(doubled), [2, 3])])
    pipeline = Pipeline([("columns", columns), ("model", DecisionTreeClassifier())])
    path = saved(tmp_path / "own.skops", pipeline.fit(linear.rows, linear.target))
    with pytest.raises(Untrusted) as refused:
        load(path)
    assert f"{Doubled.__module__}.Doubled (in the step columns/some/own)" in str(refused.value)
    assert f"{doubled.__module__}.doubled (in the step columns/rest)" in str(refused.value)


def test_code_that_is_missing_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ModuleType("gone")
    monkeypatch.setitem(sys.modules, "gone", gone)
    gone.Doubled = type("Doubled", (FunctionTransformer,), {"__module__": "gone"})  # type: ignore[attr-defined]
    paths = [saved(tmp_path / name, gone.Doubled()) for name in ("p.skops", "p.pkl")]
    monkeypatch.delitem(sys.modules, "gone")
    for path in paths:
        with pytest.raises(Unreadable, match="install 'gone', or put the folder that has it into PYTHONPATH"):
            load(path, trust=True)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param("sklearn.base", "clone", id="a function"),
        pytest.param("sklearn.utils._testing", "TempMemmap", id="a class for tests, which writes files"),
        pytest.param("sklearn.calibration", "Real", id="a class from elsewhere"),
        pytest.param("sklearn.nowhere", "Thing", id="a module that is none"),
        pytest.param("numpy", "memmap", id="a file of numpy's"),
        pytest.param("sklearnish", "Thing", id="a package of a similar name"),
    ],
)
def test_a_name_in_scikit_learn_is_not_enough(tmp_path: Path, module: str, name: str) -> None:
    """What such a file asks for is made from a list of arguments that its author chose."""
    content = skops.io.dumps(DecisionTreeClassifier())
    path = tmp_path / "forged.skops"
    with zipfile.ZipFile(io.BytesIO(content)) as original, zipfile.ZipFile(path, "w") as forged:
        schema = json.loads(original.read("schema.json"))
        schema["__module__"], schema["__class__"] = module, name
        forged.writestr("schema.json", json.dumps(schema))
    with pytest.raises(Untrusted, match=re.escape(f"{module}.{name}")):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "No such file", id="no file"),
        pytest.param(b"", "not a usable pickle", id="an empty file"),
        pytest.param(pickle.dumps([1, 2])[:-3], "not a usable pickle", id="half a pickle"),
        pytest.param(pickle.dumps({"coef": 1}), "it holds a dict, not a scikit-learn estimator", id="no estimator"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "p.pkl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unreadable, match=message) as refused:
        load(path, trust=True)
    assert "\n" not in str(refused.value)


def test_a_damaged_skops_file(tmp_path: Path, linear: Any) -> None:
    path = saved(tmp_path / "p.skops", linear.estimator)
    content = bytearray(path.read_bytes())
    start = content.index(b'"__class__"')
    content[start : start + 11] = b"x" * 11
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="not a usable skops file"):
        load(path, trust=True)


def test_another_version_of_scikit_learn_is_worth_a_note(tmp_path: Path, linear: Any) -> None:
    state = pickle.dumps(linear.estimator)
    version = sklearn.__version__.encode()
    path = tmp_path / "old.pkl"
    path.write_bytes(state.replace(version, b"0" * (len(version) - 2) + b".1"))
    assert "loaded with" in load(path, trust=True).notes[0]
