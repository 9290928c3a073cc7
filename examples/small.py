"""Four small models from scikit-learn's own data sets, one for each family of estimators: trained and published.

python -m examples.small [digits] [breast_cancer] [wine] [diabetes]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skylane.convert import ConversionError, Preset, Published, publish
from skylane.convert.console import Reporter

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Example:
    """A trained estimator and what the converter needs beside it."""

    estimator: Any
    rows: "pd.DataFrame | Array"
    """Held out: the estimator has not seen them."""
    target: Array
    """The truth about the held-out rows."""
    metrics: dict[str, float]
    """The task's own figures on the held-out rows."""
    tolerance: Preset = "close"


def digits() -> Example:
    """Images of 8 × 8 pixels → the digit. Wide layers, so that int8 weights have something to win.

    Trained on an array: the graph takes one tensor and has no columns.
    """
    pixels, digit = load_digits(return_X_y=True)
    train, rows, train_digit, target = _split(pixels, digit)
    network = MLPClassifier(
        (512, 256), learning_rate_init=2e-3, max_iter=60, tol=1e-3, n_iter_no_change=5, random_state=0
    )
    # Products this small gain nothing from threads; with other work on two cores they took 13 s instead of 2.
    with threadpool_limits(1):
        estimator = make_pipeline(StandardScaler(), network).fit(train, train_digit)
    return Example(estimator, rows, target, _classified(estimator, rows, target), tolerance="quantized")


def breast_cancer() -> Example:
    """Thirty measurements of cell nuclei → benign or malignant. A linear model, trained on a data frame."""
    measured, benign = load_breast_cancer(return_X_y=True, as_frame=True)
    train, rows, train_benign, target = _split(measured, np.where(benign == 1, "benign", "malignant"))
    estimator = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(train, train_benign)
    return Example(estimator, rows, target, _classified(estimator, rows, target))


def wine() -> Example:
    """Thirteen chemical measurements → which of three growers. A random forest, trained on a data frame."""
    measured, grower = load_wine(return_X_y=True, as_frame=True)
    train, rows, train_grower, target = _split(measured, grower.to_numpy())
    estimator = RandomForestClassifier(100, min_samples_leaf=2, random_state=0).fit(train, train_grower)
    return Example(estimator, rows, target, _classified(estimator, rows, target))


def diabetes() -> Example:
    """Ten measurements of a patient → progression after a year, between 25 and 346. A regression on a data frame."""
    measured, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    train, rows, train_progression, target = _split(measured, progression.to_numpy())
    estimator = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(train, train_progression)
    predicted = estimator.predict(rows)
    metrics = {"r2": r2_score(target, predicted), "rmse": root_mean_squared_error(target, predicted)}
    return Example(estimator, rows, target, metrics)


EXAMPLES: Final[dict[str, Callable[[], Example]]] = {
    "digits": digits,
    "breast_cancer": breast_cancer,
    "wine": wine,
    "diabetes": diabetes,
}


def train(name: str) -> Example:
    """Train one of the examples; each takes under a few seconds. Raises KeyError for any other name."""
    return EXAMPLES[name]()


def publish_example(
    name: str, repository: Path = Path("models"), reporter: Reporter | None = None, rows: Path | None = None
) -> Published:
    """Train one of the examples and publish it; write its held-out rows to a CSV file in `rows`.

    Raises ConversionError.
    """
    reporter = reporter or Reporter(quiet=True)
    with reporter.working(name):
        reporter.say("training")
        example = train(name)
        published = publish(
            example.estimator,
            example.rows,
            name=name,
            repository=repository,
            target=example.target,
            tolerance=example.tolerance,
            metrics=example.metrics,
            say=reporter.say,
        )
    reporter.published(published)
    if rows is not None:
        rows.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(example.rows).to_csv(rows / f"{name}.csv", index=False)
    return published


def _split(rows: Any, target: Any) -> Any:
    return train_test_split(rows, target, test_size=0.25, random_state=0)


def _classified(estimator: Any, rows: Any, target: Array) -> dict[str, float]:
    return {
        "accuracy": float(estimator.score(rows, target)),
        "log_loss": float(log_loss(target, estimator.predict_proba(rows), labels=estimator.classes_)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Train and publish the examples that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m examples.small", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(EXAMPLES)} (default: all)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="model repository (default: %(default)s)")
    parser.add_argument("--rows", type=Path, metavar="DIR", help="write the held-out rows to DIR/<name>.csv as well")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in EXAMPLES]
    if unknown:
        parser.error(f"there is no example {unknown[0]!r}: choose from {', '.join(EXAMPLES)}")
    reporter = Reporter()
    for name in arguments.names or EXAMPLES:
        try:
            publish_example(name, arguments.models, reporter, arguments.rows)
        except ConversionError as error:
            reporter.failed(f"{name}: {error}")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
