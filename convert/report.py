"""What the author sees: every candidate, losers too, and what quantization bought. Text and tables; decides nothing."""

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from convert.choose import Verdict, why_outside
from convert.conversion import Conversion

VARIES: Final = 1e-4
"""From which difference on it is worth saying that a row's answer depends on its neighbours; rounding is below."""


def show(conversion: Conversion, console: Console) -> None:
    """Print the table of candidates, why the others lost, notes, and the verdict on quantization."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("candidate")
    times = (f"µs, {size} row{'s' * (size != 1)}" for size in conversion.batches.sizes)
    for heading in ("size", *times, "worst difference", "labels changed"):
        table.add_column(heading, justify="right")
    for index, verdict in enumerate(conversion.verdicts):
        table.add_row(*_row(conversion, index, verdict), style="bold green" if index == conversion.chosen else None)
    for name in conversion.skipped:
        table.add_row(name, *["–"] * (len(conversion.batches.sizes) + 3), style="dim")
    console.print(table)
    for index, verdict in enumerate(conversion.verdicts):
        # What came of int8 is the last sentence.
        told = _changed(verdict) if verdict.quantized and index != conversion.chosen else _remark(conversion, index)
        console.print(f"  {verdict.name}: {told}", highlight=False, markup=False)
    for name, reason in conversion.skipped.items():
        if not name.startswith("int8"):
            console.print(f"  {name}: not tried: {reason}", highlight=False, markup=False)
    for note in conversion.notes:
        console.print(f"  note: {note}", highlight=False, markup=False)
    for line in (*_on_metric(conversion), *_on_choice(conversion)):
        console.print(line, highlight=False, markup=False)
    console.print(on_quantization(conversion), highlight=False, markup=False)


def _row(conversion: Conversion, index: int, verdict: Verdict) -> list[str]:
    return [
        f"{verdict.name} ←" if index == conversion.chosen else verdict.name,
        _bytes(verdict.bytes),
        *(f"{verdict.latency_us[str(size)]:.1f}" for size in conversion.batches.sizes),
        f"{verdict.parity.worst_difference:.1e}",
        f"{verdict.parity.label_flips:.2%}",
    ]


def _remark(conversion: Conversion, index: int) -> str:
    """What was changed and what came of it."""
    verdict = conversion.verdicts[index]
    outside = why_outside(verdict.parity, conversion.tolerance)
    if index == conversion.chosen:
        came = f"published by force although it {outside}" if outside else "published"
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
    """The task's own figure, of scikit-learn and of what is shipped; nothing if the target is not known."""
    chosen = conversion.verdicts[conversion.chosen]
    if conversion.metric is None or chosen.parity.metric_drop is None:
        return []
    name = "R²" if conversion.task == "regressor" else "accuracy"
    shipped = conversion.metric - chosen.parity.metric_drop
    return [f"{name} on the held-out rows: {conversion.metric:.4f} by scikit-learn, {shipped:.4f} by {chosen.name}"]


def _on_choice(conversion: Conversion) -> list[str]:
    """How the fastest was found, where there was a choice."""
    if len(conversion.verdicts) < 2:
        return []
    return [
        f"the fastest within the tolerance is published; time counts {conversion.batches}, others are for information"
    ]


def _compared(conversion: Conversion, verdict: Verdict) -> str:
    cost = conversion.batches.cost
    ratio = cost(verdict.latency_us) / cost(conversion.verdicts[conversion.chosen].latency_us)
    if ratio <= 1.0:
        return "no faster than what is published" if ratio > 0.95 else f"{1 / ratio:.2f}x as fast, kept to the newest"
    return f"{ratio:.2f}x the time"


def sentence(conversion: Conversion, index: int) -> str:
    """One sentence on a candidate, for the manifest: what was changed, and what came of it."""
    remark = _remark(conversion, index)
    return f"{remark[:1].upper()}{remark[1:]}."


def on_quantization(conversion: Conversion) -> str:
    """One sentence on what quantization bought, also when that is nothing."""
    chosen = conversion.verdicts[conversion.chosen]
    quantized = next((verdict for verdict in conversion.verdicts if verdict.quantized), None)
    if quantized is None:
        reason = next((reason for name, reason in conversion.skipped.items() if name.startswith("int8")), "not tried")
        return f"int8: no gain here ({reason}), {chosen.name} shipped"
    base = next((verdict for verdict in conversion.verdicts if verdict.name == "float32"), chosen)
    gains = (
        f"{_times(base.latency_us['1'] / quantized.latency_us['1'])} at batch 1, "
        f"{_times(base.latency_us['64'] / quantized.latency_us['64'])} at 64, "
        f"{base.bytes / quantized.bytes:.1f}x smaller, {quantized.parity.label_flips:.2%} of labels changed"
    )
    if quantized is chosen:
        return f"int8 shipped: {gains}, against {base.name}"
    outside = why_outside(quantized.parity, conversion.tolerance)
    if outside:
        return f"int8: outside tolerance {conversion.tolerance.preset!r} ({outside}; {gains}), {chosen.name} shipped"
    return f"int8: no gain here ({gains}), {chosen.name} shipped"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
