"""The decision which candidate is published."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.convert.errors import BadArgument, OutOfTolerance
from skylane.convert.inspection.schema import NumberType
from skylane.convert.verification.batch_mix import USUAL, batches_of
from skylane.convert.verification.choose import Preset, Quantize, Verdict, choose, preset_of, tolerance_of, why_outside
from skylane.convert.verification.interface import Contract, Interface, interface_of
from skylane.convert.verification.parity import Parity
from skylane.manifest import OutputSpec, TensorSpec


def parity(difference: float = 0.0, flips: float = 0.0, **other: Any) -> Parity:
    fields: dict[str, Any] = {"worst_case": "held-out rows", "flips_case": "held-out rows", "label_flips": flips}
    fields |= {"held_out_difference": difference, "metric_drop": None} | other
    return Parity(worst_difference=difference, decided_flips=flips, **fields)


def interface(numbers: NumberType, answers: NumberType = "float32") -> Interface:
    return interface_of(
        (TensorSpec(name="features", dtype=numbers, shape=(None, 2)),),
        (OutputSpec(name="label", dtype="int64", shape=(None,)), OutputSpec(name="p", dtype=answers, shape=(None, 2))),
    )


SINGLE, DOUBLE, MIXED = interface("float32"), interface("float64", "float64"), interface("float64")


def verdict(
    name: str,
    us: float,
    size: int = 1000,
    difference: float = 0.0,
    flips: float = 0.0,
    quantized: bool = False,
    types: Interface = SINGLE,
    own: bool = True,
    **other: Any,
) -> Verdict:
    return Verdict(
        name,
        size,
        other.get("parity", parity(difference, flips)),
        other.get("times", {"1": us, "64": us, "1024": us}),
        quantized,
        "as exported",
        (),
        Contract(types, name, name),
        own,
    )


FAST_INT8 = verdict("int8", 5, 300, difference=0.1, flips=0.01, quantized=True)
FLOAT = verdict("float32", 10)


@pytest.mark.parametrize(
    ("verdicts", "preset", "quantize", "chosen"),
    [
        pytest.param([FLOAT, verdict("b", 20)], "close", "auto", "float32", id="the fastest wins"),
        pytest.param([FLOAT, verdict("b", 9.8, size=500)], "close", "auto", "b", id="a tie: the smaller wins"),
        pytest.param([FLOAT, verdict("b", 9.8, size=2000)], "close", "auto", "float32", id="a tie: not the larger"),
        pytest.param([FLOAT, verdict("b", 10)], "close", "auto", "float32", id="equal: the first wins"),
        pytest.param([FLOAT, FAST_INT8], "close", "auto", "float32", id="outside the tolerance: however fast, not it"),
        pytest.param([FLOAT, FAST_INT8], "quantized", "auto", "int8", id="inside a wider tolerance: the fast one"),
        pytest.param(
            [FLOAT, verdict("int8", 50, quantized=True)], "close", "require", "int8", id="required: however slow, int8"
        ),
        pytest.param(
            [verdict("float32", 10, difference=1e-4), verdict("float64", 15, types=DOUBLE)], "exact", "auto", "float64",
            id="exact: doubles where single precision is not enough",
        ),
        pytest.param(
            [verdict("double", 1, types=DOUBLE), verdict("mixed", 5, types=MIXED), FLOAT], "close", "auto", "float32",
            id="single precision within the tolerance: no double is fast enough",
        ),
        pytest.param(
            [verdict("double", 1, types=DOUBLE), verdict("mixed", 5, types=MIXED)], "close", "auto", "mixed",
            id="doubles in: rather single precision out",
        ),
        pytest.param(
            [verdict("exported", 1, own=False), verdict("double", 5, types=DOUBLE)], "close", "auto", "double",
            id="a graph that may be missing on a slower machine decides no types",
        ),
    ],
)  # fmt: skip
def test_choose(verdicts: list[Verdict], preset: Preset, quantize: Quantize, chosen: str) -> None:
    assert verdicts[choose(verdicts, tolerance_of(preset, 1.0), quantize)].name == chosen


@pytest.mark.parametrize(
    ("found", "preset", "reason"),
    [
        pytest.param(parity(), "exact", None, id="no difference is within everything"),
        pytest.param(parity(9e-4), "close", None, id="rounding is close"),
        pytest.param(parity(2e-3), "close", "differs by 0.002 (held-out rows)", id="beyond rounding is not"),
        pytest.param(parity(math.inf), "quantized", "no number where", id="infinitely far is outside"),
        pytest.param(parity(math.nan), "quantized", "differs by nan", id="not a number is outside"),
        pytest.param(parity(flips=0.002), "close", "0.20% of labels differ", id="labels count where numbers do not"),
        pytest.param(
            parity(0.1, metric_drop=0.01), "quantized", "costs 0.0100", id="the task's own figure counts"
        ),
        pytest.param(parity(0.1, metric_drop=-0.01), "quantized", None, id="a better figure is welcome"),
    ],
)  # fmt: skip
def test_why_outside(found: Parity, preset: Preset, reason: str | None) -> None:
    said = why_outside(found, tolerance_of(preset, 1.0))
    assert said is None if reason is None else reason in str(said)


@pytest.mark.parametrize(
    ("text", "preset", "drop"),
    [
        pytest.param("exact", "exact", None, id="a name"),
        pytest.param("quantized", "quantized", None, id="quantized, as little as usual"),
        pytest.param("quantized:0.01", "quantized", 0.01, id="quantized, one percent of accuracy"),
    ],
)
def test_preset_of(text: str, preset: Preset, drop: float | None) -> None:
    assert preset_of(text) == (preset, drop)


@pytest.mark.parametrize("text", ["loose", "", "close:0.1", "quantized:", "quantized:much", "quantized:nan"])
def test_other_tolerances_are_refused(text: str) -> None:
    with pytest.raises(BadArgument, match="tolerance"):
        preset_of(text)


@pytest.mark.parametrize(("drop", "inside"), [(None, False), (0.02, True), (0.009, False)])
def test_what_quantization_may_cost_is_the_authors_to_say(drop: float | None, inside: bool) -> None:
    found = parity(0.1, metric_drop=0.01)
    assert (why_outside(found, tolerance_of("quantized", 1.0, drop)) is None) == inside


@pytest.mark.parametrize(
    ("profile", "chosen"),
    [
        pytest.param("1", "alone", id="one row at a time"),
        pytest.param("1024", "many", id="large batches"),
        pytest.param("1:90,1024:10", "alone", id="mostly alone"),
    ],
)
def test_the_fastest_for_the_authors_batches_wins(profile: str, chosen: str) -> None:
    alone = verdict("alone", 0, times={"1": 10.0, "1024": 300.0})
    many = verdict("many", 0, times={"1": 20.0, "1024": 100.0})
    found = [alone, many]
    assert found[choose(found, tolerance_of("close", 1.0), "auto", batches=batches_of(profile))].name == chosen


def test_differences_of_predictions_are_counted_in_their_spread() -> None:
    assert why_outside(parity(0.04), tolerance_of("close", 77.0)) is None


@pytest.mark.parametrize(
    ("case", "advice"),
    [
        ("gaps", "SimpleImputer"),
        ("texts never seen", "handle_unknown='ignore'"),
        ("infinity", "clip them"),
        ("highest values", "--force"),
    ],
)
def test_a_refusal_says_what_to_do(case: str, advice: str) -> None:
    wrong = parity(0.5, worst_case=case, held_out_difference=0.0)
    bad = verdict("float32", 1, parity=wrong)
    with pytest.raises(OutOfTolerance, match=r"differs by 0\.5") as refused:
        choose([bad], tolerance_of("close", 1.0), "auto")
    assert advice in str(refused.value)


def test_a_refusal_names_the_nearest_candidates_not_all() -> None:
    bad = [verdict(f"c{place}", 1, difference=0.1 * (5 - place)) for place in range(5)]
    with pytest.raises(OutOfTolerance, match=r"c4: differs by 0\.1 .*; c3: .*; c2: .*; and 2 others, further away"):
        choose(bad, tolerance_of("close", 1.0), "auto")


def test_force_publishes_the_nearest_when_none_is_within() -> None:
    bad = [verdict("far", 1, difference=0.9), verdict("near", 9, difference=0.2)]
    assert choose(bad, tolerance_of("close", 1.0), "auto", force=True) == 1


@pytest.mark.parametrize(
    ("newest", "chosen"),
    [
        pytest.param(None, "fast", id="nothing published: the fastest"),
        pytest.param(Contract(SINGLE, "slow", "slow"), "slow", id="published, and slower by noise: kept"),
        pytest.param(Contract(SINGLE, "lost", "slow"), "slow", id="trained again, slower by noise: the same candidate"),
        pytest.param(Contract(SINGLE, "slower", "slower"), "fast", id="slower by more than noise: not kept"),
        pytest.param(Contract(DOUBLE, "lost", "lost"), "double", id="published with doubles: callers keep them"),
        pytest.param(
            Contract(MIXED, "lost", "lost"), "fast", id="published with types that no graph has: the preferred"
        ),
    ],
)
def test_what_is_published_is_kept(newest: Contract | None, chosen: str) -> None:
    found = [verdict("slow", 12), verdict("fast", 10), verdict("slower", 20), verdict("double", 90, types=DOUBLE)]
    assert found[choose(found, tolerance_of("close", 1.0), "auto", newest=newest)].name == chosen


verdicts = st.builds(
    verdict,
    name=st.sampled_from("abcdef"),
    us=st.floats(0.1, 1e5),
    size=st.integers(1, 10**6),
    difference=st.sampled_from([0.0, 1e-4, 0.1, math.inf]),
    flips=st.sampled_from([0.0, 1e-4, 0.5]),
    quantized=st.booleans(),
    types=st.sampled_from([SINGLE, DOUBLE, MIXED]),
    own=st.booleans(),
)
presets: st.SearchStrategy[Preset] = st.sampled_from(["exact", "close", "quantized"])
newest_versions = st.none() | st.builds(
    Contract, st.sampled_from([SINGLE, DOUBLE, MIXED]), st.sampled_from("abcdefg"), st.sampled_from("abcdefg")
)


@given(st.lists(verdicts, min_size=1, max_size=6), presets)
def test_law_nothing_outside_is_chosen_and_nothing_alike_much_faster_is_left(
    found: list[Verdict], preset: Preset
) -> None:
    tolerance = tolerance_of(preset, 1.0)
    within = [item for item in found if why_outside(item.parity, tolerance) is None]
    if not within:
        with pytest.raises(OutOfTolerance):
            choose(found, tolerance, "auto")
        return
    chosen = found[choose(found, tolerance, "auto")]
    assert chosen in within
    alike = [item for item in within if item.contract.interface == chosen.contract.interface]
    assert USUAL.cost(chosen.latency_us) <= 1.051 * min(USUAL.cost(item.latency_us) for item in alike)


@given(st.lists(st.tuples(verdicts, st.floats(0.1, 1e5)), min_size=1, max_size=6), presets, newest_versions)
def test_law_the_interface_is_the_same_whatever_the_clock_says(
    timed: list[tuple[Verdict, float]], preset: Preset, newest: Contract | None
) -> None:
    tolerance = tolerance_of(preset, 1.0)
    first = [item for item, _ in timed]
    again = [replace(item, latency_us={"1": us, "64": us, "1024": us}) for item, us in timed]
    if not any(why_outside(item.parity, tolerance) is None for item in first):
        return
    interfaces = {items[choose(items, tolerance, "auto", newest=newest)].contract.interface for items in (first, again)}
    assert len(interfaces) == 1
