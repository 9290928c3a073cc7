"""W3C Trace Context: who is whose child, and who begins a trace."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.observability.tracing.context import (
    TRACESTATE_CHARACTERS_MAX,
    UNSAMPLED,
    Fields,
    Parent,
    Roots,
    parent_of,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = Parent(int(TRACE, 16), int(SPAN, 16), True)


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", PARENT, id="recorded"),
        pytest.param(f"00-{TRACE}-{SPAN}-03", PARENT, id="a flag of level 2 beside it"),
        pytest.param(f"00-{TRACE}-{SPAN}-ff", PARENT, id="flags that nobody knows yet"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", UNSAMPLED, id="not recorded"),
        pytest.param(f"00-{TRACE}-{SPAN}-02", UNSAMPLED, id="another flag alone"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", PARENT, id="a later version"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", PARENT, id="a later version that says more"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01.x", None, id="a later version, but no dash"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-more", None, id="this version says no more"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-", None, id="nor a dash"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", None, id="the version that must not be"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", None, id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="no span"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", None, id="a trace in upper case"),
        pytest.param(f"00-{TRACE}-{SPAN}-0B", None, id="flags in upper case"),
        pytest.param(f"00-{TRACE[:-1]}-{SPAN}-01", None, id="a short trace"),
        pytest.param(f"00-{TRACE}-{SPAN}1-01", None, id="a long span"),
        pytest.param(f"00-{TRACE}-{SPAN}", None, id="no flags"),
        pytest.param(f"00-{TRACE}-{SPAN}-1", None, id="half a flag"),
        pytest.param(f"00_{TRACE}_{SPAN}_01", None, id="other dashes"),
        pytest.param(f"0x-{TRACE}-{SPAN}-01", None, id="a version that is no number"),
        pytest.param(f" 00-{TRACE}-{SPAN}-01", None, id="a space before"),
        pytest.param(f"00-{TRACE}-{SPAN}-01\n", None, id="a line's end behind"),
        pytest.param("", None, id="nothing"),
        pytest.param("00-" + "٠" * 32 + f"-{SPAN}-01", None, id="digits of another script"),
    ],
)
def test_parent_of(value: str, parent: Parent | None) -> None:
    assert parent_of([("a", "b"), ("traceparent", value)]) == parent


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        pytest.param([("tracestate", "a=1,b=2")], "a=1,b=2", id="one"),
        pytest.param([("tracestate", "a=1"), ("x", "y"), ("tracestate", "b=2")], "a=1,b=2", id="several are one"),
        pytest.param(
            [("tracestate", "a=1," + "b" * (TRACESTATE_CHARACTERS_MAX - 5) + "=1")], "", id="too long to pass on"
        ),
        pytest.param([("tracestate", "a=1 ,\tb=2,,c@d= e")], "a=1,b=2,c@d= e", id="with spaces between"),
        pytest.param([("tracestate", "a=1,b")], "", id="one that is no member spoils all"),
        pytest.param([("tracestate", "a=1,a=2")], "", id="a key that appears twice"),
        pytest.param([("tracestate", "A=1")], "", id="a key in upper case"),
        pytest.param([("tracestate", "a=b=c")], "", id="a value with what parts it from its key"),
        pytest.param([("tracestate", ",".join(f"k{n}=1" for n in range(33)))], "", id="more than 32 of them"),
        pytest.param([("tracestate", "")], "", id="empty"),
        pytest.param([], "", id="none"),
    ],
)
def test_what_vendors_add_is_kept(fields: Fields, state: str) -> None:
    assert parent_of([("traceparent", f"00-{TRACE}-{SPAN}-01"), *fields]) == PARENT._replace(state=state)


@pytest.mark.parametrize("fields", [[], [("tracestate", "a=1")], [("traceparent", f"00-{TRACE}-{SPAN}-01")] * 2])
def test_no_parent_but_by_one_field(fields: Fields) -> None:
    assert parent_of(fields) is None


MEMBERS = st.from_regex(r"[a-c@/]{0,3}=?[ -~]{0,3}", fullmatch=True)


@given(st.lists(MEMBERS, max_size=4).map(",".join))
def test_what_is_kept_of_a_state_is_what_opentelemetry_keeps(said: str) -> None:
    from opentelemetry.trace.span import TraceState

    found = parent_of([("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", said)])
    assert found is not None
    assert not found.state or found.state == TraceState.from_header([said]).to_header()


@given(st.text(max_size=80))
def test_whatever_comes_is_a_parent_or_none(value: str) -> None:
    found = parent_of([("traceparent", value)])
    assert found is None or (len(value) >= 55 and (found is UNSAMPLED or f"{found.trace_id:032x}" in value))


def chosen(roots: Roots, batches: Sequence[int]) -> list[int]:
    """Places of the chosen calls, counted over all batches."""
    found, before = list[int](), 0
    for calls in batches:
        found += [before + place for place in roots.choose(calls)]
        before += calls
    return found


@given(st.lists(st.integers(0, 50), max_size=30), st.floats(0, 1), st.integers())
def test_how_calls_are_batched_does_not_change_which_are_chosen(batches: list[int], ratio: float, seed: int) -> None:
    apart = chosen(Roots(ratio, random.Random(seed)), batches)
    together = chosen(Roots(ratio, random.Random(seed)), [sum(batches)])
    one_by_one = chosen(Roots(ratio, random.Random(seed)), [1] * sum(batches))
    assert apart == together == one_by_one == sorted(set(apart))
    assert all(0 <= place < sum(batches) for place in apart)


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, []), (1.0, list(range(100)))])
def test_none_and_all(ratio: float, expected: list[int]) -> None:
    assert chosen(Roots(ratio, random.Random(1)), [40, 0, 60]) == expected


@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.5, 0.9])
def test_the_share_is_the_ratio_and_neighbours_are_independent(ratio: float) -> None:
    calls = 200_000
    found = set(chosen(Roots(ratio, random.Random(7)), [64] * (calls // 64)))
    deviation = (ratio * (1 - ratio) / calls) ** 0.5
    assert len(found) / calls == pytest.approx(ratio, abs=5 * deviation)
    both = sum(place + 1 in found for place in found)
    assert both / calls == pytest.approx(ratio**2, abs=5 * (ratio**2 / calls) ** 0.5)


@given(st.floats(0, 1, exclude_min=True), st.integers())
def test_a_sampler_by_the_ratio_of_the_id_agrees(ratio: float, seed: int) -> None:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    trace_id = Roots(ratio, random.Random(seed)).trace_id()
    assert 0 < trace_id < 2**128
    decision = TraceIdRatioBased(ratio).should_sample(None, trace_id, "").decision
    assert decision is Decision.RECORD_AND_SAMPLE or ratio < 1e-15
