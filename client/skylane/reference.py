"""What rows of a version look like block by block of time, so that later blocks can be judged. Pure.

The converter writes it into `reference.json` of a version when it is given the time of the rows; `skylane profile`
writes it beside a version that lacks it. A reference holds no rows: numbers and texts are named only where several rows
share them. It is an optional file, so that servers that do not know it serve the version as before.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from skylane.profile import Bins, NumberProfile, Profile, Share, TextProfile
from skylane.regular_files import read_regular
from skylane.version_files import REFERENCE_FILE, BrokenVersion, verify_files

BYTES_MAX: Final = 16 * 2**20
DAY_S: Final = 86400.0
YEAR_S: Final = 365 * DAY_S

LEVELS: Final = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Of the quantiles in an OwnBlocks; the first and the last are the smallest and the largest of the blocks."""


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


class OwnBlocks(_Record, frozen=True, kw_only=True):
    """One statistic over the reference's own blocks."""

    quantiles: Annotated[tuple[float, ...], msgspec.Meta(min_length=11, max_length=11)]
    """At LEVELS."""
    tail: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Index of a Pareto tail beyond the quantile 0.9, by Hill's estimator: p = 0.1 (x / q)^(-1 / tail). 0: none."""

    @property
    def largest(self) -> float:
        """The largest of the reference's own blocks."""
        return self.quantiles[-1]

    @property
    def smallest(self) -> float:
        """The smallest of the reference's own blocks."""
        return self.quantiles[0]

    @property
    def median(self) -> float:
        """The middle of the reference's own blocks."""
        return self.quantiles[5]


class Stratum(_Record, frozen=True, kw_only=True):
    """A season, where the reference covers a year or more."""

    month: Annotated[int, msgspec.Meta(ge=1, le=12)]
    counts: tuple[float, ...]
    """Rows in each bin or of each named text."""


class NumberReference(_Record, frozen=True, kw_only=True, tag="number"):
    """One column of numbers, or one number of the answers."""

    bins: Bins | None
    """Histogram of all rows; None if there was no finite number."""
    missing: Share
    infinite: Share = 0.0
    mean: float = 0.0
    scale: float = 1.0
    """Standard deviation; 1 if the column is constant."""
    constant: bool = False
    step: float | None = None
    """All numbers are `offset` plus a whole multiple of it; None if they have no common step."""
    offset: float = 0.0
    known: tuple[float, ...] = ()
    """All values, rising, if there are few and each is shared by several rows; else empty."""
    follows_time: bool = False
    """It rises or falls with time, as a month, a counter or a date does: its drift is no news."""
    unit: str | None = None
    """A guess from the column's name and range, such as "°F"."""
    importance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Mean absolute change of the answers, in their own unit, when this column is permuted over the rows."""
    answer_by_bin: tuple[float, ...] = ()
    """Mean of the main answer over the rows of each bin."""
    own: dict[str, OwnBlocks] = {}
    """Statistic → its quantiles over the reference's own blocks: see skylane.statistics.drift.own_blocks."""
    strata: tuple[Stratum, ...] = ()


class TextReference(_Record, frozen=True, kw_only=True, tag="text"):
    """One column of texts, or the labels of the answers."""

    counts: dict[str, int]
    """Text → rows, the most frequent first; rare ones are not named."""
    other: int
    missing: Share
    gap: str | None = None
    """The text that stands for a gap in the model's input."""
    importance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """As for numbers."""
    answer_by_text: tuple[float, ...] = ()
    """Mean of the main answer over the rows of each named text, in their order."""
    own: dict[str, OwnBlocks] = {}
    strata: tuple[Stratum, ...] = ()


ColumnReference = NumberReference | TextReference


class Pair(_Record, frozen=True, kw_only=True):
    """Two columns of numbers of which one is nearly always the smaller: tells when they are swapped."""

    smaller: str
    larger: str
    own: OwnBlocks
    """Share of rows with smaller <= larger, over the reference's own blocks."""


class Reliability(_Record, frozen=True, kw_only=True):
    """How often a class was true where its probability lay in a bin, on held-out rows with a known target."""

    edges: tuple[float, ...]
    """Rising from 0 to 1, one more than rows."""
    rows: tuple[int, ...]
    predicted: tuple[float, ...]
    """Mean probability of the rows in each bin; 0 where there are none."""
    observed: tuple[float, ...]
    """Share of them that were of this class; 0 where there are none."""


class Reference(_Record, frozen=True, kw_only=True):
    """The rows of a version by blocks of time."""

    schema: Literal[1] = 1
    identity: str = ""
    """Identity of the version that it belongs to, as in its manifest; empty if it was made in memory."""
    of: Literal["training", "held-out"] = "training"
    rows: Annotated[int, msgspec.Meta(ge=1)]
    first_s: float = 0.0
    """Instant of the first row, Unix time in seconds."""
    last_s: float = 0.0
    block_s: Annotated[float, msgspec.Meta(gt=0)] = DAY_S
    """Length of a block. Blocks begin at whole multiples of it, in Unix time."""
    blocks: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Blocks with enough rows to have been measured; 0 if the times of the rows are unknown."""
    block_rows: float = 0.0
    """Median rows of a block."""
    columns: dict[str, ColumnReference]
    answers: dict[str, ColumnReference] = {}
    """"label", and each number of the answers by its name in the profile ("probabilities:late", "prediction")."""
    main_answer: str = ""
    """The number of the answers by which an effect is stated: the rarer class of two, else the first."""
    pairs: tuple[Pair, ...] = ()
    alike: tuple[tuple[str, str], ...] = ()
    """Pairs of columns that look so much alike that nothing would tell if they were swapped."""
    reliability: dict[str, Reliability] = {}
    """Class → its reliability."""
    omitted: int = 0
    """Columns beyond those that a reference has room for."""

    @property
    def covers_a_year(self) -> bool:
        """Whether season and drift can be told apart."""
        return self.blocks > 0 and self.last_s - self.first_s >= YEAR_S - 2 * self.block_s

    @staticmethod
    def from_profile(profile: Profile, identity: str = "") -> "Reference":
        """What a profile alone can say: histograms without blocks of time. Abrupt changes are then not judged."""
        columns = {name: _of_profile(column) for name, column in profile.columns.items()}
        answers: dict[str, ColumnReference] = {name: _of_bins(bins) for name, bins in profile.answers.items()}
        if profile.labels:
            answers["label"] = TextReference(counts=profile.labels, other=0, missing=0.0)
        return Reference(
            identity=identity,
            of=profile.of,
            rows=profile.rows,
            columns=columns,
            answers=answers,
            main_answer=_main_answer(profile),
            omitted=profile.omitted,
        )


def encode(reference: Reference) -> bytes:
    """The reference as JSON, ready to write."""
    return msgspec.json.format(msgspec.json.encode(reference), indent=0) + b"\n"


def decode(content: bytes, name: str = REFERENCE_FILE) -> Reference:
    """Read a reference. Raises BrokenVersion with the path of the offending field."""
    try:
        return msgspec.json.decode(content, type=Reference)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        advice = (
            "; if a later release of skylane wrote it, upgrade skylane here" if "unknown field" in str(error) else ""
        )
        raise BrokenVersion(f"{name}: {error}{advice}") from error


def with_identity(reference: Reference, identity: str) -> Reference:
    """The same reference, of the version with this identity."""
    return msgspec.structs.replace(reference, identity=identity)


def beside(version: Path) -> Path:
    """Where the reference of a version that was published without one lies: models/wine/3.reference.json."""
    if not re.fullmatch(r"[1-9][0-9]*", version.name):
        raise ValueError(f"{version}: expected the directory of a version, such as models/wine/3")
    return version.with_name(f"{version.name}.{REFERENCE_FILE}")


def read(version: Path, identity: str) -> Reference | None:
    """The reference of a published version: the file beside it, else the one in it, else None.

    The one in it is covered by SHA256SUMS; the one beside it names the version's identity. Raises BrokenVersion if a
    file is damaged, or belongs to another version.
    """
    path = beside(version)
    try:
        if not path.exists():
            path = version / REFERENCE_FILE
            if not path.exists():
                return None
            verify_files(version)
        reference = decode(read_regular(path, BYTES_MAX), path.name)
    except OSError as error:
        raise BrokenVersion(f"{path.name}: cannot be read: {error.strerror}") from error
    if reference.identity != identity:
        raise BrokenVersion(
            f"{path.name}: it belongs to a version with the identity {reference.identity[:12]}…, expected "
            f"{identity[:12]}…; `skylane profile` writes one for this version"
        )
    return reference


def _of_profile(column: NumberProfile | TextProfile) -> ColumnReference:
    if isinstance(column, TextProfile):
        return TextReference(counts=column.counts, other=column.other, missing=column.missing)
    if column.bins is None:
        return NumberReference(bins=None, missing=column.missing, infinite=column.infinite)
    return msgspec.structs.replace(_of_bins(column.bins), missing=column.missing, infinite=column.infinite)


def _of_bins(bins: Bins) -> NumberReference:
    """Mean and scale as far as bins tell them: each bin's rows lie at its middle."""
    total = sum(bins.counts) or 1
    middles = [low / 2 + high / 2 for low, high in zip(bins.edges, bins.edges[1:], strict=False)]
    mean = sum(count / total * middle for count, middle in zip(bins.counts, middles, strict=True))
    variance = sum(count / total * (middle - mean) ** 2 for count, middle in zip(bins.counts, middles, strict=True))
    constant = bins.edges[0] == bins.edges[-1]
    return NumberReference(bins=bins, missing=0.0, mean=mean, scale=variance**0.5 or 1.0, constant=constant)


def _main_answer(profile: Profile) -> str:
    """The rarer class of two, as in "late"; else the first."""
    names = list(profile.answers)
    if len(names) == 2 and profile.labels:
        return min(names, key=lambda name: profile.labels.get(name.rpartition(":")[2], 0))
    return names[0] if names else ""
