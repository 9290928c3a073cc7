"""Which candidate is published. Pure: measurements in, a choice and its reasons out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from skylane.convert.errors import BadArgument, OutOfTolerance
from skylane.convert.verification.batch_mix import USUAL, Batches
from skylane.convert.verification.interface import Contract, Interface
from skylane.convert.verification.parity import Parity
from skylane.manifest import OutputSpec, Tolerance

Preset = Literal["exact", "close", "quantized"]
Quantize = Literal["auto", "never", "require"]

LIMITS: Final[dict[Preset, tuple[float, float]]] = {
    "exact": (1e-6, 0.0),
    "close": (1e-3, 0.001),
    "quantized": (0.25, 0.02),
}
"""Preset → largest difference and share of flipped labels. Differences of predictions are in standard deviations."""

METRIC_DROP_MAX: Final = 0.005
"""Default for the drop in accuracy or R² that a graph may have, if the target is known."""

TIE: Final = 0.05
"""Candidates whose times differ by less than this ratio count as equally fast: timings vary on a busy machine."""

NOISE: Final = 0.25
"""How much slower the published candidate may be measured and still be kept. Two timings of one graph on a busy machine
can differ by as much, and publishing one pipeline twice must not make two versions."""

REFUSALS_SHOWN: Final = 3
"""Candidates named in the error if none is accepted: those nearest to scikit-learn."""


@dataclass(frozen=True)
class Verdict:
    """All measurements of one candidate."""

    name: str
    bytes: int
    parity: Parity
    latency_us: Mapping[str, float]
    quantized: bool
    note: str
    outputs: tuple[OutputSpec, ...]
    contract: Contract
    """The graph's interface and candidate."""
    own: bool
    """Whether our emitters made it. skl2onnx's export has a time limit, so whether its graph exists can depend on the
    machine."""


def preset_of(text: str) -> tuple[Preset, float | None]:
    """A preset and the drop in accuracy or R² that it allows: "close", "quantized:0.01". Raises BadArgument.

    A drop of None means METRIC_DROP_MAX if the target is known.
    """
    name, colon, figure = text.partition(":")
    if name not in get_args(Preset) or (colon and name != "quantized"):
        raise BadArgument(f"tolerance {text!r} is not known: choose exact, close or quantized, such as quantized:0.01")
    try:
        drop = float(figure) if colon else None
    except ValueError:
        drop = math.nan
    if drop is not None and not 0 <= drop <= 1:
        raise BadArgument(f"tolerance {text!r}: expected what accuracy or R² may fall by, between 0 and 1: {figure!r}")
    return cast(Preset, name), drop


def tolerance_of(preset: Preset, scale: float, max_metric_drop: float | None = None) -> Tolerance:
    """The limits of a preset. `scale`: 1 for probabilities, the standard deviation for predictions."""
    max_difference, max_label_flips = LIMITS[preset]
    return Tolerance(
        preset=preset,
        max_difference=max_difference * scale,
        max_label_flips=max_label_flips,
        max_metric_drop=METRIC_DROP_MAX if max_metric_drop is None else max_metric_drop,
    )


def why_outside(parity: Parity, tolerance: Tolerance) -> str | None:
    """Why a candidate is not accepted; None if it is.

    Quantized graphs are not compared at the ends of the sample's range, because quantization clips values there.
    """
    if tolerance.preset == "quantized":
        parity = parity.usual()
    if not parity.worst_difference <= tolerance.max_difference:
        if math.isinf(parity.worst_difference):
            return f"no number where scikit-learn has one, or the other way round ({parity.worst_case})"
        return f"differs by {parity.worst_difference:.2g} ({parity.worst_case}), allowed {tolerance.max_difference:.2g}"
    if parity.decided_flips > tolerance.max_label_flips:
        return (
            f"{parity.decided_flips:.2%} of labels differ ({parity.flips_case}), "
            f"allowed {tolerance.max_label_flips:.2%}"
        )
    if parity.metric_drop is not None and parity.metric_drop > tolerance.max_metric_drop:
        return f"costs {parity.metric_drop:.4f} of accuracy or R², allowed {tolerance.max_metric_drop:g}"
    return None


def choose(
    verdicts: Sequence[Verdict],
    tolerance: Tolerance,
    quantize: Quantize,
    *,
    batches: Batches = USUAL,
    force: bool = False,
    newest: Contract | None = None,
) -> int:
    """Index of the candidate to publish. The interface is decided first, without regard to time; see `_interface`.

    It is the fastest candidate within the tolerance that has this interface; of equally fast ones the smallest, then
    the first. `newest` is the graph of the newest version: its interface is kept if possible, and its candidate unless
    another is faster by more than NOISE. With `force`, the candidate nearest to scikit-learn if none is within the
    tolerance. Raises OutOfTolerance.
    """
    eligible = [i for i, verdict in enumerate(verdicts) if quantize != "require" or verdict.quantized]
    within = [i for i in eligible if why_outside(verdicts[i].parity, tolerance) is None]
    if within:
        interface = _interface([verdicts[i] for i in within], newest)
        costs = {i: batches.cost(verdicts[i].latency_us) for i in within if verdicts[i].contract.interface == interface}
        return _fastest(verdicts, costs, newest)
    if force and eligible:
        return min(eligible, key=lambda i: (verdicts[i].parity.decided_flips, verdicts[i].parity.worst_difference, i))
    raise OutOfTolerance(_refusal([verdicts[i] for i in eligible], tolerance))


def _interface(within: Sequence[Verdict], newest: Contract | None) -> Interface:
    """The interface of the newest version if some candidate has it, else the preferred one."""
    steady = [verdict for verdict in within if verdict.own] or within
    interfaces = {verdict.contract.interface for verdict in steady}
    return newest.interface if newest is not None and newest.interface in interfaces else min(interfaces)


def _fastest(verdicts: Sequence[Verdict], costs: Mapping[int, float], newest: Contract | None) -> int:
    """Index of the candidate to publish, of those with these costs."""
    best = min(costs.values())
    if newest is not None:
        near = [i for i, cost in costs.items() if cost <= best * (1 + NOISE)]
        same = [i for i in near if verdicts[i].contract.identity == newest.identity]
        alike = [i for i in near if verdicts[i].name == newest.candidate]
        if same or alike:
            return (same or alike)[0]
    equal = [i for i, cost in costs.items() if cost <= best * (1 + TIE)]
    return min(equal, key=lambda i: (verdicts[i].bytes, i))


def _refusal(verdicts: Sequence[Verdict], tolerance: Tolerance) -> str:
    near = sorted(verdicts, key=lambda verdict: verdict.parity.worst_difference)[:REFUSALS_SHOWN]
    reasons = "; ".join(f"{verdict.name}: {why_outside(verdict.parity, tolerance)}" for verdict in near)
    others = f"; and {len(verdicts) - len(near)} others, further away" if len(verdicts) > len(near) else ""
    return (
        f"no candidate answers as scikit-learn does within tolerance {tolerance.preset!r}: {reasons}{others}. "
        f"{_advice(verdicts, tolerance)}"
    )


def _advice(verdicts: Sequence[Verdict], tolerance: Tolerance) -> str:
    nearest = min(verdicts, key=lambda verdict: verdict.parity.worst_difference).parity
    case = nearest.worst_case if nearest.held_out_difference <= tolerance.max_difference else "held-out rows"
    if case == "gaps":
        return "Gaps are converted wrongly: put a SimpleImputer first, or fill them before the pipeline"
    if case == "texts never seen":
        return "Texts never seen are converted wrongly: use OneHotEncoder(handle_unknown='ignore')"
    if "infinity" in case:
        return "Infinities are converted wrongly: clip them before the pipeline"
    return "Allow more with --tolerance, or publish it all the same with --force, which the manifest will say"
