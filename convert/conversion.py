"""From an estimator to candidates that are built, verified and timed. Knows the steps' order; writes nothing."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from convert.answers import Answers, by_estimator, by_graph
from convert.candidates import RECIPES, Built, NotApplicable, Recipe, Source
from convert.choose import Preset, Quantize, Verdict, choose, tolerance_of
from convert.errors import BadRows, OutOfTolerance, Unconvertible
from convert.gaps import settle
from convert.parity import Case, Parity, difference, measure, metric
from convert.probes import probes
from convert.schema import Array, Layout, NumberType, infer
from convert.session import Session
from convert.structure import SEVERAL_QUESTIONS, Task, compares_doubles, task_of
from convert.timing import latencies
from skylane.manifest import Tolerance

CHUNK_ROWS = 4096
ALONE_ROWS = 16
"""Held-out rows that are also run one by one: a graph whose answers depend on the batch's other rows shows it there."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tried:
    """One candidate that runs."""

    recipe: Recipe
    built: Built
    session: Session


@dataclass(frozen=True)
class Conversion:
    """Everything found out about one pipeline."""

    estimator: Any
    layout: Layout
    frame: pd.DataFrame
    task: Task
    tolerance: Tolerance
    tried: tuple[Tried, ...]
    verdicts: tuple[Verdict, ...]
    """Of the candidates tried, in their order."""
    chosen: int
    """Index of the candidate to publish."""
    skipped: dict[str, str]
    """Candidates that could not be made → why."""
    notes: tuple[str, ...]
    metric: float | None = None
    """Accuracy or R² of scikit-learn on the held-out rows, where the target is known."""


def convert(
    estimator: Any,
    rows: pd.DataFrame | Array,
    *,
    target: Array | None,
    tolerance: Preset,
    quantize: Quantize,
    force: bool,
    say: Say,
) -> Conversion:
    """Build, verify and time every candidate, and choose. Raises ConversionError."""
    task = task_of(estimator)
    if task == "transformer":
        target = None  # what is transformed has no truth
    layout, frame = infer(estimator, rows)
    say(f"asking scikit-learn about {len(frame)} held-out rows")
    expected = _expected(estimator, layout, frame, task)
    if expected.label is not None and expected.label.ndim > 1:  # a network takes several labels without saying so
        raise Unconvertible(SEVERAL_QUESTIONS)
    limits = tolerance_of(tolerance, _scale(expected, task))
    say("exporting the graph")
    source = Source(estimator, layout, task)
    layout, notes = settle(estimator, layout, frame, task, _first_graph(source), limits.max_difference)
    say("building candidates")
    built, skipped = _build(replace(source, layout=layout), quantize)
    if quantize == "require" and not any(item.recipe.quantized for item in built):
        reasons = "; ".join(skipped[recipe.name] for recipe in RECIPES if recipe.quantized)
        raise Unconvertible(f"quantization is required, but impossible here: {reasons}. Use --quantize auto")
    say(f"comparing {_count(built)} with scikit-learn")
    tried, parities, failed = _verify(built, _Asked(estimator, layout, frame, task, expected), target)
    skipped |= failed
    known = None if target is None else metric(expected, target)
    if target is not None:
        notes += _strange_target(expected, target)
    say("timing them on this machine")
    times = latencies(
        [(item.session.run, layout.tensors(frame.head(CHUNK_ROWS), item.built.numbers)) for item in tried]
    )
    verdicts = tuple(
        Verdict(item.recipe.name, len(item.built.content), parity, time, item.recipe.quantized, item.built.note)
        for item, parity, time in zip(tried, parities, times, strict=True)
    )
    try:
        chosen = choose(verdicts, limits, quantize, force=force)
    except OutOfTolerance as error:
        raise OutOfTolerance(f"{error}{_hint(estimator)}") from error
    return Conversion(
        estimator, layout, frame, task, limits, tuple(tried), verdicts, chosen, skipped, tuple(notes), known
    )


def _strange_target(expected: Answers, target: Array) -> list[str]:
    """A warning if the target cannot be what the pipeline predicts."""
    if expected.label is None:
        return []
    true = np.asarray(target)
    kind = str if "O" in (kinds := expected.label.dtype.kind + true.dtype.kind) or "U" in kinds else np.float64
    given, answered = np.unique(true.astype(kind)).tolist(), np.unique(expected.label.astype(kind)).tolist()
    if set(given) & set(answered):
        return []
    return [
        f"the target's values ({', '.join(map(str, given[:3]))}) and the pipeline's labels "
        f"({', '.join(map(str, answered[:3]))}) have none in common: is it the right column?"
    ]


def _expected(estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task) -> Answers:
    try:
        return by_estimator(estimator, layout, frame, task)
    except Exception as error:  # whatever the pipeline says to rows that it does not like
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise BadRows(f"the pipeline itself refuses the held-out rows: {said[:240]}") from error


def _scale(expected: Answers, task: Task) -> float:
    """In what unit differences are judged: probabilities as they are, other numbers by their spread."""
    if task == "classifier" or expected.numbers is None:
        return 1.0
    spread = float(np.std(expected.numbers))
    return spread if np.isfinite(spread) and spread > 0 else 1.0


def _first_graph(source: Source) -> Callable[[Layout, pd.DataFrame], Answers]:
    """Runs the first graph that can be made. Raises Unconvertible with the first candidate's reason."""
    failure: Unconvertible | None = None
    precisions: tuple[NumberType, ...] = ("float32", "float64")
    for numbers in precisions:
        try:
            session = Session(source.exported(numbers).SerializeToString())
        except Unconvertible as error:
            failure = failure or error
            continue
        return lambda layout, frame: by_graph(_named(session, layout.tensors(frame, numbers)))
    assert failure is not None, "every precision either returns or fails"
    raise failure


def _build(source: Source, quantize: Quantize) -> tuple[list[Tried], dict[str, str]]:
    tried: list[Tried] = []
    skipped: dict[str, str] = {}
    for recipe in RECIPES:
        if recipe.quantized and quantize == "never":
            skipped[recipe.name] = "not wanted (quantize: never)"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                built = recipe.build(source)
            tried.append(Tried(recipe, built, Session(built.content)))
        except (NotApplicable, Unconvertible) as error:
            skipped[recipe.name] = str(error)
    if not tried:
        raise Unconvertible("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    return tried, skipped


def _verify(
    built: Sequence[Tried], asked: "_Asked", target: Array | None
) -> tuple[list[Tried], list[Parity], dict[str, str]]:
    """The candidates that answer all rows, how well they do, and why the others do not."""
    tried: list[Tried] = []
    parities: list[Parity] = []
    failed: dict[str, str] = {}
    for item in built:
        try:
            cases = asked.cases(item)
            parity = measure(cases, target)
            among, alone = cases[0].actual, cases[1].actual
            effect = float(difference(_head(among, len(alone)), alone).max(initial=0.0))
            parities.append(replace(parity, batch_effect=effect))
            tried.append(item)
        except Unconvertible as error:
            failed[item.recipe.name] = str(error)
    if not tried:
        raise Unconvertible("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    return tried, parities, failed


def _hint(estimator: Any) -> str:
    if not compares_doubles(estimator):
        return ""
    return (
        ". For HistGradientBoosting: train it on rows.astype('float32') and without categorical features; "
        "its thresholds then fit into the graph"
    )


def _count(built: Sequence[Tried]) -> str:
    return f"{len(built)} candidates" if len(built) > 1 else "1 candidate"


@dataclass(frozen=True)
class _Asked:
    """scikit-learn's answers, asked once for all candidates."""

    estimator: Any
    layout: Layout
    frame: pd.DataFrame
    task: Task
    expected: Answers
    _probes: list[tuple[str, pd.DataFrame, Answers]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def accepts(frame: pd.DataFrame) -> bool:
            try:
                by_estimator(self.estimator, self.layout, frame, self.task)
            except Exception:  # whatever a pipeline says to rows that it refuses
                return False
            return True

        for probe in probes(self.layout, self.frame, accepts):
            answers = by_estimator(self.estimator, self.layout, probe.frame, self.task)
            self._probes.append((probe.name, probe.frame, answers))

    def cases(self, item: Tried) -> list[Case]:
        """The candidate's answers beside scikit-learn's, the held-out rows first."""

        def run(frame: pd.DataFrame, size: int) -> Answers:
            tensors = self.layout.tensors(frame, item.built.numbers)
            return _in_batches(item.session, tensors, len(frame), size)

        alone = self.frame.head(ALONE_ROWS)
        return [
            Case("held-out rows", self.expected, run(self.frame, CHUNK_ROWS)),
            Case("held-out rows, one at a time", _head(self.expected, len(alone)), run(alone, 1)),
            *(Case(name, expected, run(frame, CHUNK_ROWS)) for name, frame, expected in self._probes),
        ]


def _in_batches(session: Session, tensors: dict[str, Array], rows: int, size: int) -> Answers:
    parts = [
        _named(session, {name: array[start : start + size] for name, array in tensors.items()})
        for start in range(0, rows, size)
    ]
    return by_graph({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _named(session: Session, tensors: dict[str, Array]) -> dict[str, Array]:
    try:
        return session.named(tensors)
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise Unconvertible(f"the graph fails on rows of the sample: {' '.join(str(error).split())[:200]}") from error


def _head(answers: Answers, rows: int) -> Answers:
    return Answers(
        None if answers.label is None else answers.label[:rows],
        None if answers.numbers is None else answers.numbers[:rows],
    )
