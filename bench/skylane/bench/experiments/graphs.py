"""Graphs of our emitters beside those that skl2onnx makes: size, time to load, latency.

    python -m skylane.bench.experiments.graphs --help

All graphs of a family are timed interleaved in one process, on rotating rows; a ratio above 1 is in our favour.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from skylane.bench.host.machine import commit, libraries, machine
from skylane.convert.errors import Unconvertible
from skylane.convert.export.emitters.emit import answers_in_one_node, emit
from skylane.convert.export.export import export
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import NumberType, infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.verification.timing import SIZES, Rows, Run, latencies

ROWS, FEATURES, ASKED = 4000, 18, 1100
LOADS: Final = 5

TAKES: Final = 7
"""Of single rows: some microseconds each, of which noise takes its share."""
TAKES_OF_BATCHES: Final = 3

LARGEST: Final = ("nearest neighbours, 4000 rows", "Gaussian process, 1000 rows", "isolation forest of 100")
"""Pipelines with factors so large that they need a word."""

WAYS: Final[tuple[tuple[str, NumberType, NumberType, bool], ...]] = (
    ("float32", "float32", "float32", False),
    ("mixed", "float64", "float32", False),
    ("float64", "float64", "float64", False),
    ("float32, one node", "float32", "float32", True),
    ("mixed, one node", "float64", "float32", True),
)
"""A name, the types of numbers as they come in and as they are computed, and whether trees answer in one node."""


@dataclass(frozen=True)
class Subject:
    """A pipeline to be converted twice."""

    name: str
    estimator: Any
    target: str = "classes"
    rows: int = ROWS


def _scaled(*steps: Any) -> Any:
    return make_pipeline(StandardScaler(), *steps)


SUBJECTS: Final = (
    Subject("logistic regression", _scaled(LogisticRegression())),
    Subject("Ridge", _scaled(Ridge()), "numbers"),
    Subject("PCA, logistic regression", _scaled(PCA(6), LogisticRegression())),
    Subject("SGD", _scaled(SGDClassifier(loss="log_loss", random_state=0))),
    Subject("network of 128 and 64", _scaled(MLPClassifier((128, 64), max_iter=3, random_state=0))),
    Subject("nearest neighbours, 4000 rows", _scaled(KNeighborsClassifier())),
    Subject("nearest neighbours, regression", _scaled(KNeighborsRegressor()), "numbers"),
    Subject(
        "Gaussian process, 1000 rows",
        _scaled(GaussianProcessRegressor(RBF(4.0) + WhiteKernel(0.1), optimizer=None)),
        "numbers",
        1000,
    ),
    Subject("SVM", _scaled(SVC())),
    Subject("SVM, regression", _scaled(SVR()), "numbers"),
    Subject("Gaussian naive Bayes", _scaled(GaussianNB())),
    Subject("quadratic discriminants", _scaled(QuadraticDiscriminantAnalysis())),
    Subject("k-means", _scaled(KMeans(8, n_init=1, random_state=0)), "nothing"),
    Subject("calibrated logistic regression", _scaled(CalibratedClassifierCV(LogisticRegression(), cv=3))),
    Subject("bagged logistic regression", _scaled(BaggingClassifier(LogisticRegression(), 10, random_state=0))),
    Subject("polynomial features, Ridge", _scaled(PolynomialFeatures(2), Ridge()), "numbers"),
    Subject("bins", make_pipeline(KBinsDiscretizer(5, encode="onehot-dense", quantile_method="linear"),
                                  LogisticRegression())),
    Subject("random forest of 50", RandomForestClassifier(50, max_depth=8, random_state=0)),
    Subject("gradient boosting of 50", GradientBoostingClassifier(n_estimators=50, random_state=0)),
    Subject("random forest of 100, two classes", RandomForestClassifier(100, random_state=0), "halves"),
    Subject("scaler, forest of 100, two classes", _scaled(RandomForestClassifier(100, random_state=0)), "halves"),
    Subject("random forest of 30, numbers", RandomForestRegressor(30, random_state=0), "numbers"),
    Subject("gradient boosting of 100, two classes", GradientBoostingClassifier(random_state=0), "halves"),
    Subject("histogram boosting, two classes", HistGradientBoostingClassifier(random_state=0), "halves"),
    Subject("bagging of 20 trees", BaggingClassifier(DecisionTreeClassifier(), 20, random_state=0), "halves"),
    Subject("AdaBoost of 50 trees", AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), random_state=0), "halves"),
    Subject("isolation forest of 100", IsolationForest(random_state=0), "nothing"),
)  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """One of our graphs beside skl2onnx's graph in single precision."""

    size: float
    load: float
    latency: tuple[float, ...]
    """For each size of batch."""

    def cells(self) -> tuple[str, ...]:
        return tuple(
            f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" for ratio in (self.size, self.load, *self.latency)
        )


def measure(subject: Subject) -> dict[str, Ratio]:
    """Our graphs by the types of their numbers, and what each is to skl2onnx's."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(ROWS, FEATURES)) * random.uniform(0.5, 3, FEATURES)
    signal = rows[:, :4].sum(axis=1)
    targets = {
        "classes": (signal > 0).astype(int) + (signal > 2),
        "halves": (signal + random.normal(size=ROWS) > 0).astype(int),
        "numbers": signal + np.sin(rows[:, 5]),
    }
    target = targets.get(subject.target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of networks that are not trained to the end
        subject.estimator.fit(rows[: subject.rows], None if target is None else target[: subject.rows])
    layout, frame = infer(subject.estimator, rows[:ASKED])
    task = task_of(subject.estimator)
    made = [("", "float32", export(subject.estimator, layout, "float32", task).SerializeToString())]
    for name, numbers, precision, in_one_node in WAYS:
        if in_one_node and not (task == "classifier" and answers_in_one_node(subject.estimator)):
            continue
        ask = partial(emit, subject.estimator, layout, numbers, task, precision, in_one_node=in_one_node)
        graph = _made(ask)
        if graph is not None:
            made.append((name, numbers, graph))
    sessions = [Session(graph) for _, _, graph in made]
    inputs = [layout.tensors(frame, numbers) for _, numbers, _ in made]  # type: ignore[arg-type]
    ratios = _latency_ratios([(session.run, tensors) for session, tensors in zip(sessions, inputs, strict=True)])
    loads = [_load_s(graph) for _, _, graph in made]
    return {
        name: Ratio(
            len(made[0][2]) / len(graph),
            loads[0] / load_s,
            ratio,
        )
        for (name, _, graph), load_s, ratio in list(zip(made, loads, ratios, strict=True))[1:]
    }


def _latency_ratios(graphs: Sequence[tuple[Run, Rows]]) -> list[tuple[float, ...]]:
    """Of each graph, for each size of batch, how many times it is as fast as the first: the median of some takes."""
    found: list[list[float]] = [[] for _ in graphs]
    for size in SIZES:
        takes = [latencies(graphs, (size,)) for _ in range(TAKES if size == 1 else TAKES_OF_BATCHES)]
        for graph, ratios in enumerate(found):
            ratios.append(statistics.median(took[0][str(size)] / took[graph][str(size)] for took in takes))
    return [tuple(ratios) for ratios in found]


def _made(make: Callable[[], onnx.ModelProto]) -> bytes | None:
    """None where there is no graph, or none that loads."""
    try:
        graph = make().SerializeToString()
        Session(graph)
    except Unconvertible:
        return None
    return bytes(graph)


def _load_s(graph: bytes) -> float:
    took = []
    for _ in range(LOADS):
        started_at = time.perf_counter()
        Session(graph)
        took.append(time.perf_counter() - started_at)
    return min(took)


def page(found: dict[str, dict[str, Ratio]], raw: str) -> str:
    """The table for people, with a link to the file that has all digits."""
    heads = ("pipeline", "numbers", "smaller", "loads faster", *(f"faster, {size} rows" for size in SIZES))
    lines = [_row(*heads), "|---" * len(heads) + "|"]
    for name, ratios in found.items():
        lines += [_row(name, numbers, *ratio.cells()) for numbers, ratio in ratios.items()]
    text = (
        "# Graphs of our emitters beside skl2onnx's\n",
        "Written by `python -m skylane.bench.experiments.graphs --write`. Ratios to skl2onnx's graph in single",
        "precision, all graphs of a pipeline timed interleaved in one process on rotating rows, one thread, CPU time:",
        f"above 1 is in our favour. {FEATURES} normal features, {ROWS} rows. Numbers: as they come in and are",
        "computed; *mixed* takes doubles and computes in single precision behind the first subtraction. *One node*:",
        "label and probabilities from a single node of trees, as skl2onnx has them, where the others have more. Each",
        "of these is a candidate of the converter, and so is what skl2onnx makes: the fastest right one is chosen.\n",
        f"{_machine()} [All digits]({raw}).\n",
    )
    return "\n".join((*text, *lines, *_reach(found))) + "\n"


def _reach(found: dict[str, dict[str, Ratio]]) -> list[str]:
    """How far the large factors reach: they are those of single rows."""
    factors = [
        f"{name} {', '.join(f'{ratio:.0f}' for ratio in found[name]['float32'].latency)}"
        for name in LARGEST
        if "float32" in found.get(name, {})
    ]
    if not factors:
        return []
    return [
        "",
        f"At {', '.join(map(str, SIZES))} rows, in single precision: {'; '.join(factors)} times as fast.",
        "Factors of fifty and of a hundred are those of single rows. What skl2onnx writes goes through the training",
        "rows, or from tree to tree, once for a batch, however many rows it has: the more share that, the less each",
        "pays. What remains is the arithmetic itself, which both graphs do.",
    ]


def record(found: dict[str, dict[str, Ratio]]) -> dict[str, Any]:
    """All ratios, unrounded, with what they depend on."""
    return {
        "commit": commit(),
        "machine": msgspec.structs.asdict(machine()),
        "libraries": libraries(),
        "batches": list(SIZES),
        "ratios": {
            name: {numbers: asdict(ratio) for numbers, ratio in graphs.items()} for name, graphs in found.items()
        },
    }


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _machine() -> str:
    here, known = machine(), libraries()
    used = ", ".join(f"{name} {known[name]}" for name in ("onnxruntime", "skl2onnx", "scikit-learn"))
    return f"{here.cpu}, {here.cores} cores; {used}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all pipelines, or those whose name contains a word."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.experiments.graphs", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="measure only pipelines whose name contains this")
    parser.add_argument(
        "--write", action="store_true", help="write docs/graphs.md and a file in bench/results, from the repository"
    )
    chosen = parser.parse_args(arguments)
    found = {}
    for subject in SUBJECTS:
        if chosen.word in subject.name:
            found[subject.name] = measure(subject)
            for numbers, ratio in found[subject.name].items():
                print(_row(subject.name, numbers, *ratio.cells()), flush=True)
    if chosen.write:
        content = record(found)
        name = f"graphs-{date.today()}-{content['commit'].rstrip('+')}.json"
        Path("bench/results", name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        Path("docs/graphs.md").write_text(page(found, f"../bench/results/{name}"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
