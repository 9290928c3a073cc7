"""Summarizes in one sentence what quantization gained, or why it gained nothing."""

from skylane.convert.publishing.conversion import Conversion
from skylane.convert.verification.choose import Verdict, why_outside


def on_quantization(conversion: Conversion) -> str:
    """The best quantized graph beside the best that is not: how much faster and smaller, and how many labels changed.

    Such as "int8: no gain here (1.2x slower at batch 1, 1.0x smaller, …), float32 shipped".
    """
    chosen = conversion.verdicts[conversion.chosen]
    quantized = [verdict for verdict in conversion.verdicts if verdict.quantized]
    if not quantized:
        return f"int8: no gain here ({_why_none(conversion)}), {chosen.name} shipped"
    best = chosen if chosen.quantized else _best(conversion, quantized)
    others = [verdict for verdict in conversion.verdicts if not verdict.quantized]
    base = chosen if not chosen.quantized else _best(conversion, others) if others else best
    gains = _gains(conversion, best, base)
    if best is chosen:
        return f"int8 shipped ({best.name}): {gains}, against {base.name}"
    outside = why_outside(best.parity, conversion.tolerance)
    if outside:
        preset = conversion.tolerance.preset
        return f"int8: outside tolerance {preset!r} ({best.name}: {outside}; {gains}), {chosen.name} shipped"
    return f"int8: no gain here ({best.name}: {gains}), {chosen.name} shipped"


def _why_none(conversion: Conversion) -> str:
    """Each reason once, because all quantized candidates usually fail for the same one."""
    reasons = [reason for name, reason in conversion.skipped.items() if name.startswith("int8")]
    return "; ".join(dict.fromkeys(reasons)) or "not tried"


def _best(conversion: Conversion, verdicts: list[Verdict]) -> Verdict:
    """The fastest candidate within the tolerance, or the fastest of all if none is."""
    within = [verdict for verdict in verdicts if why_outside(verdict.parity, conversion.tolerance) is None]
    return min(within or verdicts, key=lambda verdict: conversion.batches.cost(verdict.latency_us))


def _gains(conversion: Conversion, one: Verdict, base: Verdict) -> str:
    times = (
        f"{_times(base.latency_us[str(size)] / one.latency_us[str(size)])} at batch {size}"
        for size in sorted(conversion.batches.shares)
    )
    smaller = f"{base.bytes / one.bytes:.1f}x smaller"
    changed = f"{one.parity.label_flips:.2%} of labels changed"
    metric = one.parity.metric_drop
    figure = "R²" if conversion.task == "regressor" else "accuracy"
    cost = () if metric is None else (f"{round(-metric, 4) + 0.0:+.4f} of {figure}",)
    labels = () if one.parity.label_flips_below is None else (changed,)
    return ", ".join((*times, smaller, *labels, *cost))


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"
