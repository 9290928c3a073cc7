"""Reads predictions of any time as one Arrow table."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from skylane.journal import layout
from skylane.journal.errors import ColumnNotKept, InvalidArgument, JournalError, JournalNotFound
from skylane.journal.layout import PREDICTIONS, Segment
from skylane.journal.predictions import COLUMNS, NAMES, TIME, Capture, as_read, capture_of, stored_names
from skylane.journal.segment_content import SegmentContent, load

Directories = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Captures = Mapping[tuple[str, int], Capture]
"""Model and version → what is journalled of it."""

STRUCTS: Final = ("inputs", "outputs")


def read(
    directory: Directories,
    model: str | None = None,
    *,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The predictions in one or several journals, in the order of their segments; docs/journal.md lists the columns.

    Without a model, those of all models. `since` and `until` bound the time of a row, `until` excluded: event_at, or
    happened_at where a row has no event_at. `columns` may name fields, such as `inputs.distance`. A segment that lies
    in two of the directories is read once. Raises JournalError.
    """
    _check_times(since, until)
    names = _top_names(columns)
    captures: dict[tuple[str, int], Capture] = {}
    parts: list[pa.Table] = []
    for content in contents(directory, model):
        capture = capture_of(content.schema)
        captures[capture.model, capture.version] = capture
        if version is None or capture.version == version:
            parts.append(_part(content, names, since, until))
    if version is not None and not any(number == version for _, number in captures):
        known = ", ".join(f"{name}/{number}" for name, number in sorted(captures))
        raise JournalNotFound(f"{_shown(directory)}: version {version} has no rows; these have: {known or 'none'}")
    table = _together([part for part in parts if part.num_rows] or parts[:1], names)
    return table if columns is None else _chosen(table, columns, captures)


def contents(directory: Directories, model: str | None = None) -> Iterator[SegmentContent]:
    """The segments of a model, or of all models, one after the other. Raises JournalError."""
    for segment in _listed(_paths(directory), model):
        content = load(segment)
        if content is not None and content.rows:
            yield content


def row_times(table: pa.Table) -> pa.ChunkedArray:
    """The time of each row: of its event if that is known, else of the answer."""
    return pc.coalesce(table.column("event_at"), table.column("happened_at"))


def missing_column(name: str, captures: Captures) -> JournalError:
    """Why the inputs have no such column: it was not kept, and which line of [monitor] keeps it; or there is none."""
    column = name.removeprefix("inputs.")
    for (model, version), capture in sorted(captures.items(), reverse=True):
        for each in capture.columns:
            if each.name == column and each.treatment == "dropped":
                return ColumnNotKept(
                    f"column {column!r} of {model}/{version} is not in the journal: {each.reason}. To keep it from now "
                    f'on, write keep = ["*", "{column}"] under [monitor] in {model}/model.toml; '
                    f'hash = ["{column}"] keeps its hashes'
                )
    fields = [f"inputs.{each.name}" for capture in captures.values() for each in capture.columns]
    close = difflib.get_close_matches(name, [*NAMES, *fields], n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return InvalidArgument(f"the journal has no column {name!r}{meant}")


def _part(content: SegmentContent, names: Sequence[str], since: datetime | None, until: datetime | None) -> pa.Table:
    """The rows of one segment. Only if a row is in time is the rest of the segment decoded."""
    mask = None
    if since is not None or until is not None:
        times = row_times(content.table(["happened_at", "event_at"]))
        mask = pc.and_(
            pc.greater_equal(times, pa.scalar(since, TIME)) if since else pc.is_valid(times),
            pc.less(times, pa.scalar(until, TIME)) if until else pc.is_valid(times),
        )
    nothing = mask is not None and not pc.any(mask).as_py()
    stored = stored_names(names)
    # Ids and versions alone have no stored column that would carry the number of rows.
    batches = [] if nothing else list(content.batches(names=stored if "call" in stored else [*stored, "call"]))
    parts = [as_read(batch, names) for batch in batches] or [as_read(content.empty(), names)]
    table = pa.Table.from_batches(parts)
    return table if mask is None or nothing else table.filter(mask)


def _together(parts: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    """One table. Versions may have different inputs: what one of them lacks is null there."""
    if not parts:
        types = COLUMNS | dict.fromkeys(STRUCTS, pa.struct([]))
        return pa.schema([pa.field(name, types[name]) for name in names]).empty_table()
    try:
        return pa.concat_tables(parts, promote_options="permissive").unify_dictionaries()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidArgument(f"{_conflict(parts) or error}: read one version at a time, with version=") from error


def _conflict(parts: Sequence[pa.Table]) -> str:
    """Which field has types that do not fit together."""
    types: dict[str, Any] = {}
    for part in parts:
        for field in _fields(part.schema):
            before = types.setdefault(field.name, field.type)
            try:
                pa.unify_schemas(
                    [pa.schema([field.with_type(before)]), pa.schema([field])], promote_options="permissive"
                )
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                return f"{field.name} is {before} in one version and {field.type} in another"
    return ""


def _fields(schema: pa.Schema) -> Iterator[pa.Field]:
    for field in schema:
        if field.name in STRUCTS:
            yield from (each.with_name(f"{field.name}.{each.name}") for each in field.type)
        else:
            yield field


def _chosen(table: pa.Table, columns: Sequence[str], captures: Captures) -> pa.Table:
    """The columns in the order in which they were named; fields of one struct stay together."""
    chosen: dict[str, pa.ChunkedArray] = {}
    for name in columns:
        top, _, _ = name.partition(".")
        if top in chosen:
            continue
        if name == top or top in columns:
            chosen[top] = table.column(top)
            continue
        chosen[top] = _fields_of(table.column(top), [each for each in columns if each.startswith(f"{top}.")], captures)
    return pa.table(chosen)


def _fields_of(column: pa.ChunkedArray, names: Sequence[str], captures: Captures) -> pa.ChunkedArray:
    wanted = [name.partition(".")[2] for name in dict.fromkeys(names)]
    if not captures:  # no rows: whether there is such a column is not known yet
        return pa.chunked_array([], pa.struct([pa.field(name, pa.null()) for name in wanted]))
    for name in wanted:
        if column.type.get_field_index(name) < 0:
            raise missing_column(names[wanted.index(name)], captures)
    fields = [column.type.field(name) for name in wanted]
    chunks = [
        pa.StructArray.from_arrays([pc.struct_field(chunk, name) for name in wanted], fields=fields)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.struct(fields))


def _top_names(columns: Sequence[str] | None) -> Sequence[str]:
    """The columns that hold these columns and fields. Raises InvalidArgument for one that no journal has."""
    if columns is None:
        return NAMES
    if isinstance(columns, str):
        raise InvalidArgument(f"columns: expected a list of names, received the text {columns!r}")
    for name in columns:
        if name not in NAMES and name.partition(".")[0] not in STRUCTS:
            raise missing_column(name, {})
    return list(dict.fromkeys(name.partition(".")[0] for name in columns))


def _check_times(since: datetime | None, until: datetime | None) -> None:
    for name, time in (("since", since), ("until", until)):
        if time is not None and time.tzinfo is None:
            raise InvalidArgument(f"{name}: expected a time with a zone, received {time.isoformat()} without one")


def _paths(directory: Directories) -> list[Path]:
    several = [directory] if isinstance(directory, str | os.PathLike) else directory
    paths = list(dict.fromkeys(Path(each) for each in several))
    if not paths:
        raise InvalidArgument("directory: expected at least one")
    for path in paths:
        if not path.is_dir():
            raise JournalNotFound(f"{path}: there is no such directory; expected that of `skylane serve --journal`")
    return paths


def _listed(paths: Sequence[Path], model: str | None) -> list[Segment]:
    """The segments by name, each once."""
    found: dict[Any, Segment] = {}
    known = sorted({name for path in paths for name in layout.models(path)})
    if model is not None and model not in known:
        there = f"it has {', '.join(known)}" if known else "it has no predictions of any model"
        raise JournalNotFound(
            f"{_shown(paths)}: there are no predictions of {model!r}; {there}. A model is journalled with "
            "journal = true under [monitor] in its model.toml"
        )
    for path in paths:
        for name in [model] if model is not None else known:
            for segment in layout.segments(path / PREDICTIONS / name):
                found.setdefault((segment.name, name), segment)
    return [found[key] for key in sorted(found)]


def _shown(directory: Directories) -> str:
    return ", ".join(map(str, [directory] if isinstance(directory, str | os.PathLike) else directory))
