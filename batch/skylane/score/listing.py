"""Which files are scored: a file, a directory with all below it, or a glob."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

from skylane.score.selection import ScoreError
from skylane.score.sources import FORMATS, Source

_NULL_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"


def sources(pattern: str, output: str | None = None) -> list[Source]:
    """The files that a path names: a file, a directory with all below it, or a glob such as `2024/*/part-*.parquet`.

    Names that begin with `_` or `.` are left out, and what lies in `output`, where this is below the directory: it is
    what an earlier run wrote. Raises ScoreError if there is none, or one of an unknown format.
    """
    if "://" in pattern:
        raise ScoreError(f"input: expected a file, a directory or a glob of this machine, received the URL {pattern}")
    try:
        return _sources(pattern, output)
    except OSError as error:
        raise ScoreError(f"input: {error.filename or pattern}: it cannot be read: {error.strerror or error}") from error


def _sources(pattern: str, output: str | None) -> list[Source]:
    path = Path(pattern)
    if path.is_file():
        return [_source(path, path.parent)]
    if path.is_dir():
        base, found = path, sorted(_below(path))
    else:
        base = _fixed_part(pattern)
        found = sorted({each for match in glob.glob(pattern, recursive=True) for each in _files_of(Path(match))})
    # A link to nothing is an error, when it is opened: its rows would else be missing without a word.
    files = [each for each in found if (each.is_file() or each.is_symlink()) and not _is_hidden(each.relative_to(base))]
    files = _without(files, base, output)
    if not files:
        raise ScoreError(f"input: there is no file {pattern}" + (" in this directory" if path.is_dir() else ""))
    return [_source(each, base) for each in files]


def _source(path: Path, base: Path) -> Source:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ScoreError(f"{path}: expected a file that ends with {', '.join(FORMATS)}, received {ending or 'none'}")
    relative = path.relative_to(base)
    named = [part.partition("=") for part in relative.parent.parts if "=" in part]
    partitions = {name: None if value == _NULL_PARTITION else unquote(value) for name, _, value in named}
    return Source(path, PurePosixPath(relative).as_posix(), FORMATS[ending], partitions)


def _without(files: list[Path], base: Path, output: str | None) -> list[Path]:
    """The files that are not the output of an earlier run, below the directory that is scored."""
    if output is None or base.resolve() not in (written := Path(output).resolve()).parents:
        return files
    return [each for each in files if not each.resolve().is_relative_to(written)]


def _files_of(match: Path) -> Iterator[Path]:
    return _below(match) if match.is_dir() else iter([match])


def _below(directory: Path) -> Iterator[Path]:
    """All files below a directory, also behind links to directories. Raises OSError for one that cannot be read."""
    seen = set[str]()
    for place, directories, names in os.walk(directory, followlinks=True, onerror=_reraise):
        real = os.path.realpath(place)
        directories[:] = [] if real in seen else sorted(directories)
        if real not in seen:
            seen.add(real)
            yield from (Path(place, name) for name in names)


def _reraise(error: OSError) -> None:
    raise error


def _fixed_part(pattern: str) -> Path:
    """The directories of a glob before its first special character."""
    parts = Path(pattern).parts[:-1]
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.parts)
