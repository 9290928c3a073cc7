"""The command `skylane models diff`: shows what changed between two published versions, without a server."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from skylane.cli import tables
from skylane.compare import Change, changes
from skylane.manifest import MANIFEST_FILE, MODEL_NAME, BrokenVersion, Manifest, decode, verify_files
from skylane.version_files import version_numbers

WIDTH: Final = 40
"""Characters shown of a value. Longer values are cut to the part where they begin to differ."""

EPILOG: Final = """\
examples:
  skylane models diff flights_late          the newest version, against the one before
  skylane models diff flights_late 1        the newest version, against version 1
  skylane models diff flights_late 1 3 --models /srv/models

The exit code is 0, or 2 if a version is missing or damaged. Changes marked with !
may break callers of the old version.
"""


def main(argv: Sequence[str]) -> int:
    """Compare and print. Returns 0, or 2 if there is nothing to compare."""
    options = _parser().parse_args(argv)
    try:
        old, new = _two(options.models, options.name, options.old, options.new)
    except BrokenVersion as error:
        print(f"skylane models diff: {error}", file=sys.stderr)
        return 2
    differences = changes(old, new)
    if options.format == "json":
        print(tables.json_text([asdict(change) for change in differences]))
    else:
        print(diff_text(old, new, differences))
    return 0


def diff_text(old: Manifest, new: Manifest, differences: Sequence[Change]) -> str:
    """The changes as a table, or one line if there are none."""
    versions = f"{new.model}: version {old.version} → {new.version}"
    if not differences:
        return f"{versions}: no changes except dates"
    rows = [
        ["!" if change.breaks else "", change.part, change.what, *_excerpts(change.before, change.after)]
        for change in differences
    ]
    text = tables.table(["", "PART", "WHAT", f"VERSION {old.version}", f"VERSION {new.version}"], rows)
    breaking = sum(change.breaks for change in differences)
    warning = f"\n\n{breaking} of these may break callers of version {old.version}" if breaking else ""
    return f"{versions}\n\n{text}{warning}"


def _excerpts(before: str, after: str) -> tuple[str, str]:
    """Both values, cut to the part where they begin to differ."""
    if max(len(before), len(after)) <= WIDTH:
        return before, after
    same = next((place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
    start = max(0, same - WIDTH // 4)
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    shown = text[start : start + WIDTH]
    return f"{'…' if start and shown else ''}{shown}{'…' if start + WIDTH < len(text) else ''}"


def _two(models: Path, name: str, old: int | None, new: int | None) -> tuple[Manifest, Manifest]:
    """The manifests to compare. Raises BrokenVersion if a version is missing or damaged."""
    if not MODEL_NAME.fullmatch(name):
        raise BrokenVersion(f"{name!r} is not a valid model name")
    directory = models / name
    numbers = version_numbers(directory)
    if not numbers:
        raise BrokenVersion(f"{directory}: no published version; choose another repository with --models")
    if old is None and len(numbers) < 2:
        raise BrokenVersion(f"{directory}: version {numbers[0]} is the only one; there is nothing to compare it with")
    return _read(directory, numbers[-2] if old is None else old, numbers), _read(directory, new or numbers[-1], numbers)


def _read(directory: Path, number: int, numbers: Sequence[int]) -> Manifest:
    if number not in numbers:
        raise BrokenVersion(f"{directory}: there is no version {number}, only {', '.join(map(str, numbers))}")
    try:
        verify_files(directory / str(number))
        return decode((directory / str(number) / MANIFEST_FILE).read_bytes())
    except (BrokenVersion, OSError) as error:
        raise BrokenVersion(f"{directory / str(number)}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane models diff",
        description="Show what changed between two published versions of a model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model")
    parser.add_argument(
        "old", nargs="?", type=int, metavar="OLD", help="a version (default: the one before the newest)"
    )
    parser.add_argument("new", nargs="?", type=int, metavar="NEW", help="a version (default: the newest)")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="the model repository (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="how to print it (default: table)")
    return parser
