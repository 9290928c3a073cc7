"""What a version's rows looked like when it was made: compact histograms, against which drift can be measured. Pure.

A profile holds no rows. Texts are named only where several rows share them; numbers only as edges of bins.
"""

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


class Bins(_Record, frozen=True, kw_only=True):
    """A histogram of numbers. Bin i holds edges[i] <= x < edges[i + 1], the last its upper edge as well."""

    edges: Annotated[tuple[float, ...], msgspec.Meta(min_length=2)]
    """Rising, one more than counts; the first and last are the smallest and the largest number seen."""
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1 or list(self.edges) != sorted(self.edges):
            raise ValueError(f"a histogram's edges must rise and be one more than its counts: {self.edges[:4]}…")


class NumberProfile(_Record, frozen=True, kw_only=True, tag="number"):
    """One column of numbers. Its edges are quantiles, so that each bin holds about as many rows as the next."""

    bins: Bins | None
    """None if there was no finite number."""
    missing: Share
    """Share of the rows that have a gap here."""
    infinite: Share = 0.0


class TextProfile(_Record, frozen=True, kw_only=True, tag="text"):
    """One column of texts."""

    counts: dict[str, int]
    """Text → rows, the most frequent first."""
    other: int
    """Rows with a text that is not named: too rare, or one too many."""
    distinct: int
    """How many texts there were, named or not."""
    missing: Share


class Profile(_Record, frozen=True, kw_only=True):
    """Inputs and answers of many rows."""

    of: Literal["training", "held-out"]
    """Which rows: training rows if the author gave them, else the held-out ones."""
    rows: Annotated[int, msgspec.Meta(ge=1)]
    columns: dict[str, NumberProfile | TextProfile]
    """By the column's name, or its place where the pipeline was trained on an array."""
    omitted: int = 0
    """Columns beyond those that a profile has room for."""
    answered_rows: int
    """Rows whose answers are counted below: all, or some from everywhere."""
    labels: dict[str, int] = {}
    """Label, as text → rows that the graph gave it."""
    answers: dict[str, Bins] = {}
    """The graph's numbers: each class's probability ("probabilities:late", edges at equal distances from 0 to 1), or
    the prediction ("prediction", or "prediction:0" of several; edges at quantiles)."""
