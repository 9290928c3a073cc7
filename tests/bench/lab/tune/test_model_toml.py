"""model.toml with keys changed: these, and nothing else."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skylane import policy
from skylane.bench.lab.tune.model_toml import BEGINS, CONTINUES, changed, difference
from skylane.bench.lab.tune.policies import Change

SETTABLE = {
    ("batching", "instances"): st.integers(1, 64),
    ("batching", "max_batch_rows"): st.integers(1, 65_536),
    ("batching", "max_queue_delay_ms"): st.floats(0, 60_000),
    ("batching", "target_p99_ms"): st.floats(1, 600_000),
    ("session", "intra_op_threads"): st.integers(1, 256),
    ("cache", "enabled"): st.booleans(),
}
change = st.sampled_from(list(SETTABLE)).flatmap(lambda key: st.builds(Change, *map(st.just, key), SETTABLE[key]))
changes = st.lists(change, min_size=1, max_size=6, unique_by=lambda each: (each.section, each.key))
comment = st.from_regex(r"# [a-z ]{1,20}", fullmatch=True)
evidence = st.from_regex(r"[a-z0-9,. ]{1,400}", fullmatch=True)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A valid model.toml as people write them."""
    lines = draw(st.lists(comment, max_size=3)) + [""] * draw(st.integers(0, 1))
    own = draw(st.lists(change, max_size=6, unique_by=lambda each: (each.section, each.key)))
    for section in draw(st.permutations(("batching", "cache", "session", "versions"))):
        keys = [f"{each.key} = {str(each.value).lower()}" for each in own if each.section == section]
        keys += ["labels = { stable = 2 }  # for callers"] * (section == "versions")
        if keys:
            lines += [*draw(st.lists(comment, max_size=1)), f"[{section}]"]
            lines += [line for key in keys for line in (*draw(st.lists(comment, max_size=2)), key)] + [""]
    return "\n".join(lines)


@settings(max_examples=40)
@given(files(), changes, evidence)
def test_the_keys_are_set_and_nothing_else_is(before: str, wanted: list[Change], told: str) -> None:
    after = changed(before, wanted, told)
    policy.decode(after.encode())
    right: dict[str, dict[str, Any]] = tomllib.loads(before)
    for each in wanted:
        right.setdefault(each.section, {})[each.key] = each.value
    assert tomllib.loads(after) == right


@settings(max_examples=40)
@given(files(), changes, evidence)
def test_comments_stay_in_their_order(before: str, wanted: list[Change], told: str) -> None:
    def comments(content: str) -> list[str]:
        ours = (BEGINS, CONTINUES)
        return [line for line in content.splitlines() if line.startswith("# ") and not line.startswith(ours)]

    assert comments(changed(before, wanted, told)) == comments(before)


@settings(max_examples=40)
@given(files(), changes, evidence, evidence)
def test_tuning_again_leaves_only_its_own_evidence(before: str, wanted: list[Change], first: str, second: str) -> None:
    assert changed(changed(before, wanted, first), wanted, second) == changed(before, wanted, second)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", "# T:\n#   why\n\n[batching]\ninstances = 2\n", id="no file yet"),
        pytest.param(
            "# Mine.\n\n[batching]\ninstances = 1 # few\n",
            "# Mine.\n# T:\n#   why\n\n[batching]\ninstances = 2 # few\n",
            id="below the head's comment; one beside the key stays",
        ),
        pytest.param(
            "# Of the table.\n[batching]\n",
            "# T:\n#   why\n\n# Of the table.\n[batching]\ninstances = 2\n",
            id="a comment that belongs to a table stays with it",
        ),
        pytest.param(
            "batching.max_batch_rows = 3\n",
            "# T:\n#   why\n\nbatching.max_batch_rows = 3\nbatching.instances = 2\n",
            id="dotted keys stay dotted",
        ),
    ],
)
def test_changed(before: str, after: str) -> None:
    assert changed(before, [Change("batching", "instances", 2)], "why") == after.replace("# T:", f"{BEGINS}:")


def test_the_difference_names_the_file_and_shows_both_sides() -> None:
    shown = difference("[a]\nb = 1\n", "[a]\nb = 2\n", "m/model.toml")
    assert shown.startswith("--- m/model.toml\n")
    assert "\n-b = 1\n+b = 2\n" in shown
