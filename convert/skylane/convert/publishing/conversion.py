"""Runs the steps of a conversion in order: infer the schema, build, verify and time the candidates, choose one."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from skylane.convert.errors import Refused, Unconvertible
from skylane.convert.export.candidates import RECIPES, Built, NotApplicable, Recipe, Source
from skylane.convert.export.export import unknown_class
from skylane.convert.export.onnx_graph import serialized
from skylane.convert.export.other_libraries import library_advice
from skylane.convert.export.session import Session
from skylane.convert.export.size_limits import available_bytes, check_size
from skylane.convert.inspection.schema import Array, Layout, NumberType, infer
from skylane.convert.inspection.structure import SEVERAL_QUESTIONS, Task, rounds_first, task_of
from skylane.convert.publishing.refusal import most_telling
from skylane.convert.verification.answers import Answers
from skylane.convert.verification.batch_mix import USUAL, Batches
from skylane.convert.verification.choose import Preset, Quantize, Verdict, choose, tolerance_of
from skylane.convert.verification.gaps import settle
from skylane.convert.verification.gate import CHUNK_ROWS, Gate, expected_of, in_batches, scale_of
from skylane.convert.verification.interface import Contract, contract_of, outputs_of
from skylane.convert.verification.parity import Parity, metric
from skylane.convert.verification.target import doubts, truth_of
from skylane.convert.verification.timing import latencies
from skylane.manifest import Tolerance

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tried:
    """A candidate whose graph loads, with its session."""

    recipe: Recipe
    built: Built
    session: Session


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion: candidates, their verdicts, and the choice."""

    estimator: Any
    layout: Layout
    frame: pd.DataFrame
    task: Task
    tolerance: Tolerance
    tried: tuple[Tried, ...]
    verdicts: tuple[Verdict, ...]
    """One for each of the candidates tried, in the same order."""
    chosen: int
    """Index of the candidate to publish."""
    skipped: dict[str, str]
    """Candidates that could not be built → the reason."""
    notes: tuple[str, ...]
    metric: float | None = None
    """Accuracy or R² of scikit-learn on the held-out rows, where the target is known."""
    batches: Batches = USUAL
    """The batch sizes for which the fastest candidate was chosen."""
    quantize: Quantize = "auto"
    force: bool = False


def convert(
    estimator: Any,
    rows: pd.DataFrame | Array,
    *,
    target: Array | None,
    tolerance: Preset,
    quantize: Quantize,
    force: bool,
    say: Say,
    max_metric_drop: float | None = None,
    batches: Batches = USUAL,
) -> Conversion:
    """Build, verify and time every candidate, and choose. Raises ConversionError."""
    task = task_of(estimator)
    if advice := library_advice(estimator):  # first, because its error is clearer than one about the form of the rows
        raise Unconvertible(unknown_class(type(estimator).__name__, advice))
    check_size(estimator, available_bytes())
    target = None if task == "transformer" else truth_of(target, task)  # transformers have no labels
    layout, frame = infer(estimator, rows)
    say(f"predicting {len(frame)} held-out rows with scikit-learn")
    expected = expected_of(estimator, layout, frame, task)
    # A multi-layer perceptron accepts several labels without declaring it.
    if expected.label is not None and expected.label.ndim > 1:
        raise Unconvertible(SEVERAL_QUESTIONS)
    scale = scale_of(expected, task)
    limits = tolerance_of(tolerance, scale, max_metric_drop)
    source = Source(estimator, layout, task, frame)
    say(f"exporting the graph: {source.large}" if source.large else "exporting the graph")
    first, session, numbers = _first_graph(source)
    layout, notes = settle(estimator, layout, frame, task, _asking(session, numbers), limits.max_difference)
    say("building candidate graphs")
    source = replace(source, layout=layout)
    built, skipped = _build(source, quantize, {first: session})
    if quantize == "require" and not any(item.recipe.quantized for item in built):
        reasons = "; ".join(dict.fromkeys(skipped[recipe.name] for recipe in RECIPES if recipe.quantized))
        raise Unconvertible(f"quantization is required, but impossible here: {reasons}. Use --quantize auto")
    say(f"comparing {_count(built)} with scikit-learn")
    gate = Gate(estimator, layout, frame, task, expected, scale)
    tried, parities, failed = _verify(built, gate, target, limits.max_difference)
    skipped |= failed
    accuracy = None if target is None else metric(expected, target)
    if target is not None:
        notes += doubts(expected, target)
    say("timing the candidates on this machine")
    times = latencies(
        [(item.session.run, layout.tensors(frame.head(CHUNK_ROWS), item.built.numbers)) for item in tried],
        batches.sizes,
    )
    verdicts = tuple(
        _verdict(item, parity, time, source, frame) for item, parity, time in zip(tried, parities, times, strict=True)
    )
    chosen = choose(verdicts, limits, quantize, batches=batches, force=force)
    return Conversion(
        estimator,
        layout,
        frame,
        task,
        limits,
        tuple(tried),
        verdicts,
        chosen,
        skipped,
        tuple(notes),
        accuracy,
        batches,
        quantize,
        force,
    )


def with_newest(conversion: Conversion, newest: Contract) -> Conversion:
    """The same conversion, with a choice that takes the newest published version into account."""
    chosen = choose(
        conversion.verdicts,
        conversion.tolerance,
        conversion.quantize,
        batches=conversion.batches,
        force=conversion.force,
        newest=newest,
    )
    return replace(conversion, chosen=chosen)


def _verdict(item: Tried, parity: Parity, time: Mapping[str, float], source: Source, frame: pd.DataFrame) -> Verdict:
    built, name, layout = item.built, item.recipe.name, source.layout
    outputs = outputs_of(item.session, layout, frame, built.numbers, source.estimator, source.task)
    return Verdict(
        name,
        len(built.content),
        parity,
        time,
        item.recipe.quantized,
        built.note,
        outputs,
        contract_of(built.content, name, layout, built.numbers, outputs),
        own=name.startswith("emitted"),
    )


def _asking(session: Session, numbers: NumberType) -> Callable[[Layout, pd.DataFrame], Answers]:
    return lambda layout, frame: in_batches(session, layout.tensors(frame, numbers), len(frame), len(frame))


def _first_graph(source: Source) -> tuple[bytes, Session, NumberType]:
    """The first graph that can be built, the most accurate first. Raises Unconvertible with skl2onnx's reason."""
    failures: list[Unconvertible] = []
    makers: tuple[tuple[NumberType, Callable[[], bytes]], ...] = (
        ("float64", lambda: source.emitted("float64", "float64")),
        ("float32", lambda: source.emitted("float32", "float32")),
        ("float32", lambda: serialized(source.exported("float32"))),
        ("float64", lambda: serialized(source.exported("float64"))),
    )
    if rounds_first(source.estimator):  # float32 is as accurate, and is a candidate even for large forests
        makers = makers[1:2] + makers[:1] + makers[2:]
    for numbers, make in makers:
        try:
            content = make()
            session = Session(content)
        except Refused:
            raise
        except Unconvertible as error:
            failures.append(error)
            continue
        return content, session, numbers
    raise most_telling(failures, source.estimator)


def _build(source: Source, quantize: Quantize, opened: Mapping[bytes, Session]) -> tuple[list[Tried], dict[str, str]]:
    """The candidates that load, and why the others do not. `opened`: graphs that are already loaded."""
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
            same = next((item.recipe.name for item in tried if item.built.content == built.content), None)
            if same is not None:
                raise NotApplicable(f"it is the same graph as {same}")
            tried.append(Tried(recipe, built, opened.get(built.content) or Session(built.content)))
        except (NotApplicable, Unconvertible) as error:
            skipped[recipe.name] = str(error)
    if not tried:
        raise Unconvertible("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    return tried, skipped


def _verify(
    built: Sequence[Tried], gate: Gate, target: Array | None, allowed: float
) -> tuple[list[Tried], list[Parity], dict[str, str]]:
    """The candidates that answer all rows, with their parity, and why the others do not."""
    tried: list[Tried] = []
    parities: list[Parity] = []
    failed: dict[str, str] = {}
    failures: list[Unconvertible] = []
    for item in built:
        try:
            parities.append(gate.judge(item.built, item.session, target, allowed))
            tried.append(item)
        except Unconvertible as error:
            failed[item.recipe.name] = str(error)
            failures.append(error)
    if not tried:
        raise most_telling(failures, gate.estimator)
    return tried, parities, failed


def _count(built: Sequence[Tried]) -> str:
    return f"{len(built)} candidates" if len(built) > 1 else "1 candidate"
