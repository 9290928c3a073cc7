"""The file with the compiled views of a project. Reading it runs none of the author's Python."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skylane.features.compiled.views import CompiledView
from skylane.features.errors import DefinitionError

COMPILED: Final = "views.json"


def compiled_text(views: Sequence[CompiledView], files: Sequence[Path]) -> str:
    """The content of the file: the views, and the hashes of the Python files that they were written in."""
    form = {
        "files": {path.name: _digest(path) for path in files},
        "views": [{"hash": view.hash, "view": view.as_json()} for view in views],
    }
    return json.dumps(form, indent=1, allow_nan=False) + "\n"


def read_views(directory: str | Path) -> list[CompiledView]:
    """The compiled views of a directory. Raises DefinitionError if they are not those of its Python files."""
    folder = Path(directory)
    path = folder / COMPILED
    again = f"run skylane features check {folder}"
    try:
        form = json.loads(path.read_text())
        files, views = form["files"], [CompiledView.from_json(each["view"]) for each in form["views"]]
        hashes = [each["hash"] for each in form["views"]]
    except OSError as error:
        raise DefinitionError(f"{path}: {error.strerror}: {again}") from None
    except (ValueError, KeyError, TypeError):
        raise DefinitionError(f"{path}: expected compiled views: {again}") from None
    if files != {each.name: _digest(each) for each in sorted(folder.glob("*.py"))}:
        raise DefinitionError(f"{path}: the Python files have changed since they were checked: {again}")
    for view, written in zip(views, hashes, strict=True):
        if view.hash != written:
            raise DefinitionError(f"{path}: {view.name}: the definition does not have its hash {written[:12]}: {again}")
    return views


def select(views: Sequence[CompiledView], names: Sequence[str]) -> list[CompiledView]:
    """The views with these names, in this order. Raises DefinitionError for a name that none has."""
    by_name = {view.name: view for view in views}
    for name in names:
        if name not in by_name:
            raise DefinitionError(f"views: unknown view {name!r}, known are {', '.join(by_name)}")
    return [by_name[name] for name in names]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
