"""Views of a project: Python files that are run when they are checked, and the data that everything else reads."""

import runpy
from pathlib import Path

from skylane.features.authoring.view import View
from skylane.features.compiled import CompiledView
from skylane.features.compiled.project import COMPILED, compiled_text
from skylane.features.errors import DefinitionError


def check(directory: str | Path) -> list[CompiledView]:
    """Run the Python files of a directory and write their views as data beside them. Raises DefinitionError."""
    folder = Path(directory)
    files = sorted(folder.glob("*.py"))
    if not files:
        raise DefinitionError(f"{folder}: expected Python files with views, there are none")
    views: dict[str, CompiledView] = {}
    for path in files:
        for view in _defined(path):
            if view.name in views and views[view.name] != view:
                raise DefinitionError(f"{path}: {view.name}: expected another name, a view has it already")
            views[view.name] = view
    if not views:
        raise DefinitionError(f"{folder}: expected variables that are a View, there are none")
    target = folder / COMPILED
    unfinished = target.with_name(f".{COMPILED}")
    unfinished.write_text(compiled_text(list(views.values()), files))
    unfinished.replace(target)
    return list(views.values())


def _defined(path: Path) -> list[CompiledView]:
    try:
        names = runpy.run_path(str(path))
    except Exception as error:  # whatever the author's file raises is reported with its name
        raise DefinitionError(f"{path}: {error if isinstance(error, DefinitionError) else repr(error)}") from error
    return [value.compiled for value in names.values() if isinstance(value, View)]
