"""models/<name>/model.toml: how a model is served. It may change at any time without a new version.

Every key may be left out; without the file, the defaults hold. What a server does while it cannot be used is in
docs/repository.md. Pure: text in, `Policy` out.
"""

import difflib
import re
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class BadPolicy(Exception):
    """model.toml cannot be used; the message names the key, what was expected and what came."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: immutable, and unknown keys are errors."""


class Batching(_Section, frozen=True, kw_only=True):
    """How requests are grouped into runs."""

    max_batch_rows: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    """Largest number of rows (not requests) of a run. A single request with more rows runs alone."""
    max_queue_delay_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0.0
    """How long the oldest request waits for others. With 0, a batch is whatever arrived during the previous run."""
    max_queue_rows: Positive = 8192
    """Rows that may wait; a request that would go beyond is refused with RESOURCE_EXHAUSTED."""
    max_request_rows: Positive = 8192
    """Rows of one request; more is refused with INVALID_ARGUMENT."""
    target_p99_ms: Annotated[float, msgspec.Meta(gt=0, le=600_000)] | None = None
    """Latency to hold at any load, from a request's arrival to its answer. Runs get fewer rows, so that one takes two
    fifths of it at most, and a request that is predicted to be answered later, because of those before it, is refused
    with RESOURCE_EXHAUSTED. Must be several times what a run of one request takes. Left out: no such limit."""
    instances: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Largest number of concurrent runs."""

    def __post_init__(self) -> None:
        if self.max_request_rows > self.max_queue_rows:
            raise ValueError("max_request_rows is above max_queue_rows: such a request could never be admitted")


class Cache(_Section, frozen=True, kw_only=True):
    """Whether answers are cached for equal requests."""

    enabled: bool = False
    max_mb: Annotated[float, msgspec.Meta(gt=0)] = 64.0
    """Bound in MiB on keys and replies together, for each loaded version."""
    ttl_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    """How long an answer is cached at most."""


class Session(_Section, frozen=True, kw_only=True):
    """Options of the ONNX Runtime session."""

    intra_op_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    """Threads inside one run. 1 is right for small models: parallelism comes from instances and workers."""
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"


class Versions(_Section, frozen=True, kw_only=True):
    """Which versions are loaded."""

    keep: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """How many of the newest versions stay loaded."""
    pinned: tuple[Positive, ...] = ()
    """Versions that stay loaded besides, however old."""
    latest: Positive | None = None
    """The version for requests that name none. Left out: the newest that is ready. Set it to roll back."""
    labels: dict[str, Positive] = {}
    """Label → version; these stay loaded as well."""


_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration_s(text: str) -> int:
    """Seconds of "30s", "15m", "8h" or "1d". Raises ValueError saying what was expected and received."""
    matched = _DURATION.fullmatch(text)
    if matched is None:
        raise ValueError(f'expected a whole number and one of s, m, h, d, such as "8h"; received {text!r}')
    return int(matched[1]) * _SECONDS[matched[2]]


class Monitor(_Section, frozen=True, kw_only=True):
    """What is recorded of the model's predictions, and how they are evaluated. docs/journal.md describes it."""

    journal: bool = False
    """Whether predictions are recorded, by a server that was started with --journal DIR."""
    rows_per_second: Annotated[float, msgspec.Meta(gt=0, le=10_000_000)] = 2000.0
    """Rows that one worker records in a second. If more are predicted, calls are sampled, and each recorded row carries
    the probability with which it was chosen."""
    keep: tuple[str, ...] = ("*",)
    """Columns whose values are recorded: names or patterns with * and ?. A column of texts only by its own name."""
    drop: tuple[str, ...] = ()
    """Columns whose values are not recorded, whatever `keep` and `hash` say: names or patterns."""
    hash: tuple[str, ...] = ()
    """Columns of which a keyed hash is recorded instead of the value: names or patterns."""
    max_mb: Annotated[float, msgspec.Meta(gt=0)] = 1024.0
    """Bound in MiB on this model's segments in one directory; the oldest are removed."""
    max_age_days: Annotated[float, msgspec.Meta(gt=0)] = 90.0
    """Age at which segments are removed."""
    entity: str | None = None
    """The column that names whom or what a row is about, for outcomes that have no prediction id."""
    event_time: str | None = None
    """The column with the instant that a row is about: ISO 8601 with a zone, or seconds since 1970."""
    classes: tuple[str, ...] | None = None
    """The labels of a classifier in the order of its probabilities. Left out: from the version's manifest."""
    positive: str | None = None
    """The label that a binary classifier's figures are about. Left out: the last of the classes."""
    segments: tuple[str, ...] = ()
    """Columns by whose values performance is shown apart."""
    block: str = "1d"
    """The length of time over which figures are computed: the unit of every test."""
    thresholds: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = {}
    """Column → threshold of its drift, instead of the one from the version's profile."""
    horizon: str | None = None
    """How long after a prediction its outcome is known. Left out: learnt from the outcomes."""

    def __post_init__(self) -> None:
        for key in ("block", "horizon"):
            if (text := getattr(self, key)) is not None:
                try:
                    duration_s(text)
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from error
        for key in ("entity", "event_time", "positive"):
            if getattr(self, key) == "":
                raise ValueError(f"{key}: expected a name, received an empty text")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError(f"classes: expected two or more different labels, received {list(self.classes)}")
        if self.positive is not None and self.classes is not None and self.positive not in self.classes:
            raise ValueError(f"positive: expected one of the classes {list(self.classes)}, received {self.positive!r}")
        for key in ("entity", "event_time"):
            name = getattr(self, key)
            if name is not None and _matches(name, self.drop):
                raise ValueError(f"{key}: expected a column that is recorded, received {name!r}, which drop names")
        if self.event_time is not None and _matches(self.event_time, self.hash):
            raise ValueError(f"event_time: expected a column that is not hashed, received {self.event_time!r}")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is one of these, or fits one of these patterns."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


class Policy(_Section, frozen=True, kw_only=True):
    """Everything in model.toml."""

    batching: Batching = Batching()
    cache: Cache = Cache()
    session: Session = Session()
    versions: Versions = Versions()
    monitor: Monitor = Monitor()


_SECTIONS: Final = msgspec.structs.fields(Policy)


def decode(content: bytes) -> Policy:
    """Read model.toml. Raises BadPolicy naming the key that is wrong."""
    try:
        return msgspec.toml.decode(content, type=Policy)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPolicy(f"model.toml: {_error_text(str(error))}") from error


_PLACED: Final = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_TYPES: Final = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "object": "a table",
    "array": "a list",
}  # fmt: skip
"""Type name in msgspec's errors → plain English."""


def _error_text(error: str) -> str:
    """msgspec's error, with keys and types as they are written in TOML."""
    placed = _PLACED.fullmatch(error)
    assert placed, "it takes any text"
    what, path = placed[1], placed[2] or ""
    section, _, key = path.partition(".")
    if unknown := _UNKNOWN.fullmatch(what):
        return _unknown(unknown[1], section)
    what = re.sub(r"`([a-z |]+)`", _type_text, what)
    for theirs, ours in (("Expected", "expected"), (", got ", ", received "), ("Invalid enum value", "unknown value")):
        what = what.replace(theirs, ours)
    place = f"[{section}] {key}".rstrip()
    return f"{place}: {what}" if path else what


def _type_text(match: re.Match[str]) -> str:
    return " or ".join(_TYPES.get(name, name) for name in match[1].split(" | ") if name != "null")


def _unknown(name: str, section: str) -> str:
    sections = {each.name: [key.name for key in msgspec.structs.fields(each.type)] for each in _SECTIONS}
    if section in sections:
        what, known = f"[{section}]: unknown key {name!r}", ", ".join(sections[section])
        meant = [repr(key) for key in difflib.get_close_matches(name, sections[section], n=1)]
    else:
        what, known = f"unknown section or key {name!r}", ", ".join(f"[{each}]" for each in sections)
        meant = [f"[{each}] {name}" for each, keys in sections.items() if name in keys]
        meant += [f"[{each}]" for each in difflib.get_close_matches(name, sections, n=1)]
    likely = f"; did you mean {meant[0]}?" if meant else ""
    return f"{what}{likely} (known: {known}); if a later release of skylane introduced it, upgrade the server"
