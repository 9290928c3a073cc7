"""Prints the result of a conversion: a table of all candidates, and remarks on each."""

import io
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from skylane.convert.publishing.conversion import Conversion
from skylane.convert.publishing.quantization_summary import on_quantization
from skylane.convert.verification.choose import Verdict, why_outside

LEGEND: Final = """\
  worst: largest difference to scikit-learn, on held-out rows and probes; 99 %: of 99 % of the held-out rows at most;
  bad rows: held-out rows outside the tolerance; (< …): fewer labels than that change, with 95 % confidence"""

VARIES: Final = 1e-4
"""Smallest difference that is reported as dependence on other rows of the batch; rounding errors are smaller."""


def show(conversion: Conversion, console: Console) -> None:
    """Print the table of candidates, why the others were not chosen, notes, and the result of quantization."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("candidate")
    times = (f"µs for {size}" for size in conversion.batches.sizes)
    metric = "R²" if conversion.task == "regressor" else "accuracy"
    for heading in ("size", *times, "worst", "99 %", "bad rows", "labels changed", metric):
        table.add_column(heading, justify="right")
    for index, verdict in enumerate(conversion.verdicts):
        table.add_row(*_row(conversion, index, verdict), style="bold green" if index == conversion.chosen else None)
    console.print(table)
    console.print(LEGEND, highlight=False)
    for index, verdict in enumerate(conversion.verdicts):
        console.print(f"  {verdict.name}: {_remark(conversion, index)}", highlight=False, markup=False)
    for reason in dict.fromkeys(conversion.skipped.values()):
        names = " / ".join(name for name, why in conversion.skipped.items() if why == reason)
        # Advice is for authors whose pipeline is refused; this one was converted.
        console.print(f"  {names}: not tried: {reason.partition(' What helps: ')[0]}", highlight=False, markup=False)
    for note in conversion.notes:
        console.print(f"  note: {note}", highlight=False, markup=False)
    for line in (*_on_metric(conversion), *_on_choice(conversion)):
        console.print(line, highlight=False, markup=False)
    console.print(on_quantization(conversion), highlight=False, markup=False)


def as_text(conversion: Conversion, width: int = 120) -> str:
    """What `show` prints, as plain text."""
    console = Console(width=width, color_system=None, file=io.StringIO())
    with console.capture() as captured:
        show(conversion, console)
    return captured.get()


def _row(conversion: Conversion, index: int, verdict: Verdict) -> list[str]:
    return [
        f"{verdict.name} ←" if index == conversion.chosen else verdict.name,
        _bytes(verdict.bytes),
        *(f"{verdict.latency_us[str(size)]:.1f}" for size in conversion.batches.sizes),
        f"{verdict.parity.worst_difference:.1e}",
        f"{verdict.parity.p99_difference:.1e}",
        f"{verdict.parity.bad_rows:.2%}",
        _labels(verdict),
        "–" if verdict.parity.metric_drop is None else f"{round(-verdict.parity.metric_drop, 4) + 0.0:+.4f}",
    ]


def _labels(verdict: Verdict) -> str:
    """The share of held-out rows whose label differs, and its upper bound with 95 % confidence."""
    below = verdict.parity.label_flips_below
    return "–" if below is None else f"{verdict.parity.label_flips:.2%} (< {below:.2%})"


def _remark(conversion: Conversion, index: int) -> str:
    """What was changed in the graph, and the result."""
    verdict = conversion.verdicts[index]
    outside = why_outside(verdict.parity, conversion.tolerance)
    if index == conversion.chosen:
        came = f"chosen by force although it {outside}" if outside else "chosen"
    elif outside:
        came = f"outside tolerance {conversion.tolerance.preset!r}: {outside}"
    else:
        came = _compared(conversion, verdict)
    return f"{_changed(verdict)}; {came}"


def _changed(verdict: Verdict) -> str:
    effect = verdict.parity.batch_effect
    varies = (
        f"; a row's answer varies by up to {effect:.2g} with the other rows of its batch" if effect > VARIES else ""
    )
    return f"{verdict.note}{varies}"


def _on_metric(conversion: Conversion) -> list[str]:
    """Accuracy or R² of scikit-learn and of the chosen graph; empty if the target is unknown."""
    chosen = conversion.verdicts[conversion.chosen]
    if conversion.metric is None or chosen.parity.metric_drop is None:
        return []
    name = "R²" if conversion.task == "regressor" else "accuracy"
    shipped = conversion.metric - chosen.parity.metric_drop
    return [f"{name} on the held-out rows: {conversion.metric:.4f} by scikit-learn, {shipped:.4f} by {chosen.name}"]


def _on_choice(conversion: Conversion) -> list[str]:
    """How the fastest was determined, if there was a choice."""
    if len(conversion.verdicts) < 2:
        return []
    numbers = conversion.tried[conversion.chosen].built.numbers
    return [
        f"the fastest within the tolerance that takes {numbers} is chosen (the type follows from the pipeline and the "
        f"rows, not from the times); time counts {conversion.batches}, others are for information"
    ]


def _compared(conversion: Conversion, verdict: Verdict) -> str:
    cost, chosen = conversion.batches.cost, conversion.verdicts[conversion.chosen]
    ratio = cost(verdict.latency_us) / cost(chosen.latency_us)
    if ratio > 1.0:
        return f"{ratio:.2f}x the time"
    if ratio > 0.95:
        return "no faster than what is chosen"
    why = (
        "kept to the newest"
        if verdict.contract.interface == chosen.contract.interface
        else "but its inputs or outputs differ"
    )
    return f"{1 / ratio:.2f}x as fast, {why}"


def sentence(conversion: Conversion, index: int) -> str:
    """One sentence on a candidate, for the manifest: what was changed, and the result."""
    remark = _remark(conversion, index)
    return f"{remark[:1].upper()}{remark[1:]}."


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
