"""Which file goes where: outputs, rejected rows, records. Pure but for a look at what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from skylane.score.row_sources import Source
from skylane.score.selection import ScoreError
from skylane.score.sources import FORMATS, Format

RECORDS: Final = "_skylane"
REJECTED: Final = "_rejected"
"""Directories below the output's. Spark, pyarrow and polars leave out names that begin with an underscore."""

OTHER_ENDINGS: Final = frozenset(
    {".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".gz", ".zst", ".zip", ".xlsx", ".orc", ".avro"}
)
"""Of names that are meant as those of files."""


@dataclass(frozen=True)
class Layout:
    """Where a run writes."""

    output: Path
    """The directory of all outputs."""
    records: Path
    format: Format | None = None
    """Of the outputs; None: that of each input."""

    def format_of(self, source: Source) -> Format:
        """Of a file's output."""
        return self.format or source.format

    def name(self, source: Source) -> str:
        """The output of a file, relative to `output`: its own name, with the ending of the output's format."""
        ending = PurePosixPath(source.relative).suffix.lower()
        if FORMATS.get(ending) == self.format_of(source):
            return source.relative
        return str(PurePosixPath(source.relative).with_suffix(f".{self.format_of(source)}"))

    def target(self, source: Source) -> Path:
        """The output of a file."""
        return self.output / self.name(source)

    def rejected(self, source: Source) -> Path:
        """The rows of a file that the model did not take."""
        name = PurePosixPath(source.relative)
        return self.output / REJECTED / (name if name.suffix == ".parquet" else name.with_name(f"{name.name}.parquet"))


def layout(files: Sequence[Source], target: str, form: Format | None = None) -> tuple[Layout, list[Source]]:
    """Where to write, and the files with the names that they get there.

    One file may go to a file, as `out.parquet`; the records are then of this file alone. Raises ScoreError.
    """
    if "://" in target:
        raise ScoreError(f"output: expected a directory or file of this machine, received the URL {target}")
    path = Path(target)
    ending = FORMATS.get(path.suffix.lower())
    if ending is None or path.is_dir():
        _refuse_no_directory(path)
        planned = Layout(path, path / RECORDS, form)
        _refuse_clashes(planned, files)
        return planned, list(files)
    if len(files) > 1:
        raise ScoreError(f"output: expected a directory for {len(files)} files, received the file {target}")
    if form not in (None, ending):
        raise ScoreError(f"output: expected a name that ends with .{form}, as --format says, received {target}")
    planned = Layout(path.parent, path.parent / RECORDS / path.name, ending)
    only = files[0].renamed(path.name)
    _refuse_clashes(planned, [only])
    return planned, [only]


def _refuse_no_directory(path: Path) -> None:
    """Raise ScoreError for a name that is that of a file, but of none that can be written."""
    if path.is_file() or (not path.exists() and path.suffix.lower() in OTHER_ENDINGS):
        raise ScoreError(
            f"output: expected a directory, or a file that ends with {', '.join(FORMATS)}, received {path}"
        )


def _refuse_clashes(planned: Layout, files: Sequence[Source]) -> None:
    """No output may be an input, or another's output."""
    inputs = {each.path.resolve(): each.path for each in files}
    targets: dict[Path, Source] = {}
    for each in files:
        target = planned.target(each).resolve()
        if target.is_dir():
            raise ScoreError(f"output: expected a file or nothing at {planned.target(each)}, found a directory")
        for path in (target, planned.rejected(each).resolve()):
            if path in inputs:
                raise ScoreError(f"output: {inputs[path]} would be overwritten: name another directory or file")
            other = targets.setdefault(path, each)
            if other is not each:
                raise ScoreError(f"output: {other.path} and {each.path} would both become {path}")
