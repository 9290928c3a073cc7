"""The result of a search: in words, and as model.toml."""

import os
from pathlib import Path

from skylane import policy as policies
from skylane.bench.figures import Spread
from skylane.bench.lab.output.live import rate_text
from skylane.bench.lab.tune.model_toml import changed
from skylane.bench.lab.tune.policies import Value, value_of
from skylane.bench.lab.tune.search import GENERATOR, Result
from skylane.bench.workload.golden import Unsuitable


def result_text(result: Result, target_p99_ms: float) -> str:
    """The result in a sentence or two."""
    kept = f"with a p99 of at most {target_p99_ms:g} ms"
    if result.best is not None and result.rates is not None:
        better, ratio = f"{result.best.name}: {_range(result.rates)} {kept}", result.ratio
        if ratio is None:
            return f"{better}, where no rate was kept before."
        times = f"{ratio.median:.2f} × as much ({ratio.low:.2f} to {ratio.high:.2f} in searches side by side)"
        return f"{better}, where it was {_range(result.own)} before: {times}."
    at_least = "at least " if result.why == GENERATOR else ""
    sentence = f"Keep what you have: {at_least}{_range(result.own)} {kept}; {result.why}."
    if result.runner is None or result.rates is None:
        return sentence
    return f"{sentence} The best of the others, {result.runner.name}, came to {_range(result.rates)}."


def _range(rates: Spread) -> str:
    if not rates.high:
        return "no rate"
    rate = rate_text(rates.median)
    return rate if rates.count == 1 else f"{rate} ({rate_text(rates.low)} to {rate_text(rates.high)})"


def tuned(before: str, result: Result, policy: policies.Policy, evidence: str) -> str | None:
    """model.toml as it would be better, with the evidence; None if nothing is better."""
    if result.best is None:
        return None
    was = ", ".join(f"{change.key} was {_shown(value_of(policy, change))}" for change in result.best.changes)
    after = changed(before, result.best.changes, f"{evidence} Before, {was}.")
    policies.decode(after.encode())
    return after


def _shown(value: Value | None) -> str:
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"


def write(content: str, path: Path) -> None:
    """At once, or not at all: a server may be reading it."""
    beside = path.with_name(f".{path.name}.tuned")
    try:
        beside.write_text(content, "utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise Unsuitable(f"--write: {path}: {error.strerror or error}") from error
