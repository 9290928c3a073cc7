"""Loads a fitted estimator from a file. The only module that deserializes untrusted objects.

skops files list the types in them, so they are checked before any code runs. Pickle and joblib files can run any code:
they are loaded only with the author's explicit consent.
"""

import hashlib
import importlib
import io
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import joblib
import numpy as np
import skops.io
from sklearn.exceptions import InconsistentVersionWarning

from skylane.convert.errors import Unreadable, Untrusted
from skylane.convert.loading.sandbox import how_loaded
from skylane.convert.loading.untrusted_types import steps_of
from skylane.convert.wording import one_line

INSTALLED: Final = ("sklearn.", "scipy.sparse.", "scipy.interpolate.", "scipy.spatial.")
"""Packages whose classes are trusted, because their code comes from the installation, not from the file."""

KEPT_OUT: Final = frozenset({"tests", "conftest", "_testing", "externals", "datasets"})
"""Modules of these packages that read or write files, and so are not trusted."""


@dataclass(frozen=True)
class Loaded:
    """A fitted estimator and where it came from."""

    estimator: Any
    sha256: str
    """SHA-256 of the file."""
    kind: Literal["skops file", "pickle or joblib file"] = "skops file"
    notes: tuple[str, ...] = ()
    """Warnings for the author."""
    trusted: bool = False
    """Whether the file could run any code."""

    @property
    def how(self) -> str:
        """How it was loaded, for the manifest: `convert_pipeline(..., loaded=loaded.how)`."""
        if not self.trusted:
            return f"{self.kind}, whose types were looked at first"
        return f"{self.kind}, {how_loaded() or 'in the process that converted it, with all its rights'}"


def load(path: Path, *, trust: bool = False, trust_types: Sequence[str] = ()) -> Loaded:
    """Load a fitted estimator from a skops, pickle or joblib file.

    `trust_types` are types in a skops file that are allowed although skops does not know them. `trust` allows any type,
    and is required for pickle and joblib: the file's code then runs in this process, with its network, files and
    rights. Only the command, `skylane convert --trust`, uses a separate process, because passing the loaded object back
    from there would run the code again. Raises Untrusted or Unreadable.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        skops_file = _is_skops(content)
        estimator = _skops(path, content, trust, trust_types) if skops_file else _pickle(path, content, trust)
    if not hasattr(estimator, "get_params") or not hasattr(estimator, "fit"):
        raise Unreadable(f"{path}: it holds a {type(estimator).__name__}, not a scikit-learn estimator; save that")
    return Loaded(
        estimator,
        hashlib.sha256(content).hexdigest(),
        "skops file" if skops_file else "pickle or joblib file",
        _version_notes(caught),
        trust,
    )


def _is_skops(content: bytes) -> bool:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return "schema.json" in archive.namelist()


def _skops(path: Path, content: bytes, trust: bool, trust_types: Sequence[str]) -> Any:
    try:
        unknown = sorted(skops.io.get_untrusted_types(data=content))
        refused = [name for name in unknown if name not in trust_types and not _harmless(name)]
        if refused and not trust:
            places = steps_of(_schema(content), refused)
            named = (f"{name} (in the step {places[name]})" if name in places else name for name in refused)
            raise Untrusted(
                f"{path}: it holds types that skops does not know to be safe: {', '.join(named)}. "
                f"If you know them, pass --trust-types {','.join(refused)}; to allow everything, --trust"
            )
        return skops.io.loads(content, trusted=unknown)
    except Untrusted:
        raise
    except Exception as error:  # for a damaged file skops raises errors of any type, from KeyError to BadZipFile
        advice = _advice(error) or "save the pipeline again"
        raise Unreadable(f"{path}: not a usable skops file: {one_line(error, with_type=True)}; {advice}") from error


def _schema(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read("schema.json")


def _harmless(name: str) -> bool:
    """Whether this is a class defined by scikit-learn or SciPy, or one of NumPy's number types.

    The name alone proves nothing: their modules also contain functions, and objects imported from elsewhere.
    """
    module, _, attribute = name.rpartition(".")
    if module == "numpy":
        member = getattr(np, attribute, None)
        return isinstance(member, type) and issubclass(member, np.dtype | np.generic)
    if not name.startswith(INSTALLED) or KEPT_OUT.intersection(module.split(".")):
        return False
    try:
        member = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(member, type) and member.__module__.startswith(INSTALLED)


def _pickle(path: Path, content: bytes, trust: bool) -> Any:
    if not trust:
        raise Untrusted(
            f"{path}: not a skops file; a pickle or joblib file can run any code while it is loaded. "
            f"Save the pipeline with skops.io.dump instead, or pass --trust if you know who made this file"
        )
    try:
        return joblib.load(io.BytesIO(content))
    except Exception as error:  # unpickling can raise errors of any type
        advice = f"; {advice}" if (advice := _advice(error)) else ""
        raise Unreadable(
            f"{path}: not a usable pickle or joblib file: {one_line(error, with_type=True)}{advice}"
        ) from error


def _advice(error: Exception) -> str | None:
    """Advice if code that the file refers to is missing."""
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name!r}, or put the folder that has it into PYTHONPATH"
    if isinstance(error, AttributeError) and "__main__" in str(error):
        return "it was defined in the script that saved the file: move it into a module, and save the pipeline again"
    return None


def _version_notes(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            saved, here = warning.message.original_sklearn_version, warning.message.current_sklearn_version
            return (f"saved with scikit-learn {saved}, loaded with {here}: its answers here may not be those it had",)
    return ()
