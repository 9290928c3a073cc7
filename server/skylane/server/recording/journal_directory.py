"""Checks the directory of the journal before the server starts. Does not import pyarrow, which may be missing."""

import importlib.util
import os
import tempfile
from pathlib import Path

from skylane.server.core.errors import CannotStart

MODE = 0o700
_OTHERS = 0o077


def check(directory: Path, models: Path) -> None:
    """Make the directory if it does not exist, and see that rows can be written. Raises CannotStart."""
    if reason := problem_of(directory, models):
        raise CannotStart(f"journal: {reason}")


def problem_of(directory: Path, models: Path, *, make: bool = True) -> str:
    """Why the journal cannot be written there; empty if it can. `make`: make the directory if it does not exist."""
    if importlib.util.find_spec("pyarrow") is None:
        return "it needs pyarrow, which is not installed: pip install 'skylane[monitor]'"
    resolved, repository = directory.resolve(), models.resolve()
    if resolved == repository or resolved.is_relative_to(repository):
        return f"expected a directory outside the model repository {models}, received {directory}"
    if repository.is_relative_to(resolved):
        return f"expected a directory that does not contain the model repository {models}, received {directory}"
    if not make and not directory.exists():
        return ""
    try:
        directory.mkdir(MODE, parents=True, exist_ok=True)
        mode = directory.stat().st_mode & 0o777
        if mode & _OTHERS:
            return (
                f"expected {directory} to be for its owner alone, since it holds what was asked of models; "
                f"its mode is {mode:03o}: chmod 700 {directory}, or name a directory in it, which is then made so"
            )
        with tempfile.TemporaryFile(dir=directory) as file:
            os.write(file.fileno(), b"\0")
    except FileExistsError:
        return f"expected a directory, received the file {directory}"
    except OSError as error:
        return f"expected a directory that can be written, but {directory}: {error.strerror or error}"
    return ""
