"""Every family on every kind of rows: right on rows that no gate has seen, or refused with a reason. Never else.

By default each family is tried on two kinds of rows with one drawing of settings. All of them, five drawings each, and
the table in docs/families.md: `pytest tests/convert/test_conformance.py --exhaustive` (some minutes).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from skylane.convert import ConversionError
from support.examined import examined
from support.families import FAMILIES, KINDS, Drawn, Family, Rows, drawn

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untimed")]

DRAWINGS: Final = 5
INTRODUCTION: Final = """\
# Estimator families

For each family of scikit-learn's estimators: whether it converts, and how closely the graph agrees with scikit-learn,
or why it is refused. Written by `pytest tests/convert/test_conformance.py --exhaustive`, which draws settings and data
{drawings} times for each cell, converts with the tolerance `close`, and compares the graph with scikit-learn on rows
that were not used in the conversion. With {versions}.

*right, 1e-07*: the largest difference of a probability, or of another number in standard deviations. *tame* rows are
normally distributed; *hard* ones contain seconds since 1970, ids up to 2^31 and numbers that hardly differ; *gaps* are
NaN in a tenth of the places, filled by an imputer if the family accepts no missing values; *strings* are a data frame
of texts, codes, numbers and missing values, or texts in several alphabets. Tree families are drawn with or without a
scaler.
"""

TABLE: Final = Path(__file__).parents[2] / "docs" / "families.md"


@dataclass
class Found:
    """What came of one family on one kind of rows."""

    right: int = 0
    worst: float = 0.0
    """Largest difference on fresh rows: of a probability, or of a number in standard deviations."""
    chosen: set[str] = field(default_factory=set)
    refusals: dict[str, int] = field(default_factory=dict)


Table = dict[tuple[str, Rows], Found]


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Collects what was found; written to the docs after an exhaustive run."""
    found: Table = {}
    yield found
    if request.config.getoption("--exhaustive") and len({name for name, _ in found}) == len(FAMILIES):
        TABLE.write_text(page(found), encoding="utf-8")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Large numbers and one other kind of rows for each family; all kinds if wanted."""
    exhaustive = metafunc.config.getoption("--exhaustive")
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize(
            ("family", "kind"),
            [
                pytest.param(family, kind, id=f"{family.name} on {kind} rows")
                for place, family in enumerate(FAMILIES)
                for kind in family.kinds
                if exhaustive or kind in ("hard", family.kinds[place % len(family.kinds)])
            ],
        )


def test_right_or_refused(family: Family, kind: Rows, table: Table, request: pytest.FixtureRequest) -> None:
    exhaustive = request.config.getoption("--exhaustive")
    found = table.setdefault((family.name, kind), Found())

    @settings(
        max_examples=DRAWINGS if exhaustive else 1,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.data())
    def every_drawing(data: st.DataObject) -> None:
        with threadpool_limits(1):
            examine(drawn(family, kind, data.draw), found)

    every_drawing()


def examine(case: Drawn, found: Found) -> None:
    """Convert, and compare on rows that the conversion has not seen."""
    try:
        made, gap = examined(case.estimator, case.held_out, case.fresh)
    except ConversionError as refused:
        found.refusals[str(refused)] = found.refusals.get(str(refused), 0) + 1
        return
    found.right, found.worst = found.right + 1, max(found.worst, gap)
    found.chosen.add(made.tried[made.chosen].recipe.name)


def page(found: Table) -> str:
    """The table for people: each kind of rows a column, each reason of a refusal a note below."""
    reasons: list[str] = []
    lines = [f"| {' | '.join(('family', *KINDS, 'graphs'))} |", "|---" * (len(KINDS) + 2) + "|"]
    for family in FAMILIES:
        cells = [_cell(found.get((family.name, kind)), reasons) for kind in KINDS]
        chosen = sorted({name for kind in KINDS if (one := found.get((family.name, kind))) for name in one.chosen})
        lines.append(f"| {' | '.join((family.name, *cells, ', '.join(chosen) or '–'))} |")
    notes = [f"{place}. {reason.replace('|', ' ')}" for place, reason in enumerate(reasons, 1)]
    versions = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "onnxruntime", "skl2onnx"))
    return (
        "\n".join(
            (
                INTRODUCTION.format(drawings=DRAWINGS, versions=versions),
                *lines,
                "",
                "Reasons for refusal:",
                "",
                *notes,
            )
        )
        + "\n"
    )


def _cell(one: Found | None, reasons: list[str]) -> str:
    if one is None:
        return "–"
    notes = []
    for text in one.refusals:
        reason = re.sub(r"\d\.\d+(e-?\d+)?|\d+ rows", "…", text)  # what differs from drawing to drawing
        if reason not in reasons:
            reasons.append(reason)
        notes.append(f"[{reasons.index(reason) + 1}]")
    refused = f"refused {', '.join(dict.fromkeys(notes))}" if notes else ""
    if not one.right:
        return refused
    right = f"right, {one.worst:.0e}"
    return f"{right}; {sum(one.refusals.values())} of {DRAWINGS} {refused}" if refused else right
