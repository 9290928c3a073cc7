"""The command `skylane models copy`: publishes a copy of a version, for another model or as the newest version."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

import skylane.convert.publishing.card as card
from skylane import reference as references
from skylane.convert.errors import BadArgument, ConversionError, Unreadable
from skylane.convert.publishing.store import outcome, put, put_as, versions
from skylane.manifest import MANIFEST_FILE, MODEL_FILE, BrokenVersion, Manifest, Origin, decode, verify_files

POLICY: Final = "model.toml"

DESCRIPTION: Final = """\
Publish a copy of a version, for another model or as the newest version of its own.

The copy has the same graph and the same interface. Its manifest records which version it
was copied from, and keeps the original's date and lineage. model.toml, which configures
how a model is served, is not copied."""

EPILOG: Final = """\
examples:
  skylane models copy wine/3 wine_eu              promote a version to another model
  skylane models copy wine wine_eu --version 7    the newest version of wine, as version 7
  skylane models copy wine/3 wine                 roll forward: version 3 as the newest again

The exit code is 0; 2 if the version does not exist or is damaged, or its number is taken;
6 if the repository is not writable."""


def main(argv: Sequence[str]) -> int:
    """Copy a version and return the exit code."""
    options = _parser().parse_args(argv)
    try:
        print(copy(options.models, options.source, options.name, options.version))
    except ConversionError as error:
        print(f"skylane models copy: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def copy(repository: Path, source: str, name: str, version: int | None = None) -> str:
    """Publish a version again; without a number, as the next version. Returns the message to print.

    `source` is a model's name, for its newest version, or name/version. Raises ConversionError.
    """
    target, slash, version_text = name.partition("/")
    if slash:
        as_version = f" --version {version_text}" if re.fullmatch(r"[1-9][0-9]*", version_text) else ""
        raise BadArgument(
            f"{name!r}: expected the name of a model, received a name and a version: "
            f"skylane models copy {source} {target}{as_version or ' --version N'}"
        )
    versions(repository, name)  # an invalid name fails before the work, not after it
    directory = version_of(repository, source)
    original, graph = read_version(directory)
    reference = _reference(directory, original.identity)
    origin = Origin(model=original.model, version=original.version, identity=original.identity)
    lineage = msgspec.structs.replace(original.lineage, copied_from=(*original.lineage.copied_from, origin))
    manifest = msgspec.structs.replace(original, model=name, version=version or 1, lineage=lineage)
    if version is None:
        number, path, created = put(repository, graph, manifest, card.page, again=True, reference=reference)
    else:
        number = version
        path, created = put_as(repository, graph, manifest, card.page, reference=reference)
    text = f"{original.model} version {original.version}: {outcome(created=created)} {name} version {number} in {path}"
    if (repository / original.model / POLICY).exists() and not (repository / name / POLICY).exists():
        text += f"\n{name} has no {POLICY}, so the defaults apply; that of {original.model} was not copied"
    return text


def version_of(repository: Path, source: str) -> Path:
    """Directory of a version by "wine/3", or of the newest by "wine". Raises BadArgument or Unreadable."""
    name, slash, number = source.partition("/")
    if slash and not re.fullmatch(r"[1-9][0-9]*", number):
        raise BadArgument(f"{source!r}: expected a model's name, or name/version such as wine/3")
    published = dict(versions(repository, name))
    if not published:
        raise Unreadable(f"{repository / name}: no published version; choose another repository with --models")
    version = int(number) if slash else max(published)
    if version not in published:
        existing = ", ".join(map(str, sorted(published)))
        raise Unreadable(f"{repository / name}: there is no version {version}, only {existing}")
    return published[version]


def read_version(directory: Path) -> tuple[Manifest, bytes]:
    """A published version and its graph, verified. Raises Unreadable."""
    try:
        verify_files(directory)
        return decode((directory / MANIFEST_FILE).read_bytes()), (directory / MODEL_FILE).read_bytes()
    except (BrokenVersion, OSError) as error:
        raise Unreadable(f"{directory}: {error}") from error


def _reference(directory: Path, identity: str) -> bytes | None:
    """The content of a version's reference file, in its directory or beside it."""
    try:
        reference = references.read(directory, identity)
    except BrokenVersion as error:
        raise Unreadable(f"{directory}: {error}") from error
    return None if reference is None else references.encode(reference)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane models copy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="NAME[/VERSION]", help="the version to copy (default: the newest)")
    parser.add_argument("name", metavar="NAME", help="the model to publish it for")
    parser.add_argument("--version", type=version_number, metavar="N", help="number of the copy (default: the next)")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="the model repository (default: %(default)s)"
    )
    return parser


def version_number(text: str) -> int:
    """A version's number from the command line."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, received {text!r}")
    return int(text)
