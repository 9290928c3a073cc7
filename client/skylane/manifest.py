"""What a published version promises: its tensors and columns, its tolerance, and who made it from what. Pure.

The converter writes it into manifest.json; client/skylane/version_files.py has the files beside it.
"""

import hashlib
import re
from typing import Annotated, Any, Final, Literal

import msgspec

from skylane.dtypes import DType
from skylane.profile import Profile
from skylane.version_files import CARD_FILE as CARD_FILE
from skylane.version_files import MANIFEST_FILE as MANIFEST_FILE
from skylane.version_files import MODEL_FILE as MODEL_FILE
from skylane.version_files import SUMS_FILE as SUMS_FILE
from skylane.version_files import BrokenVersion as BrokenVersion
from skylane.version_files import IncompleteVersion as IncompleteVersion
from skylane.version_files import sums_of as sums_of
from skylane.version_files import verify_files as verify_files

SCHEMA: Final = 1
"""Of manifests that are written now. Fields with a default may be added without a new one."""

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""What a model may be called: it is a directory's name and travels in messages and metric labels."""

type_name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


class TensorSpec(_Record, frozen=True, kw_only=True):
    """One input of the graph."""

    name: type_name
    dtype: DType
    shape: tuple[int | None, ...]
    """Sizes; None for any. The first is the rows and always None."""
    no_nan: tuple[int, ...] = ()
    """Places along the second dimension in which the pipeline takes no gap: NaN there is refused, in every form."""
    no_inf: tuple[int, ...] = ()
    """Places along the second dimension in which the pipeline takes no infinity: one there is refused."""


class ColumnSpec(_Record, frozen=True, kw_only=True):
    """One feature as the pipeline knows it, and where it lies in the tensors."""

    name: type_name
    dtype: DType
    tensor: str
    """Name of the tensor that holds it; that tensor's shape is (rows, columns)."""
    index: int
    """Which column of the tensor."""
    missing: float | str | None = None
    """What stands in the tensor for a gap: "NaN" for numbers, some string for strings. None: gaps are refused."""


class OutputSpec(_Record, frozen=True, kw_only=True):
    """One output of the graph."""

    name: type_name
    dtype: DType
    shape: tuple[int | None, ...]
    role: Literal["label", "probabilities", "prediction", "other"] = "other"
    classes: tuple[str | int | bool, ...] = ()
    """For probabilities: the label of each column."""


class Candidate(_Record, frozen=True, kw_only=True):
    """One graph that the converter tried."""

    name: str
    bytes: int
    """Size of the file."""
    worst_difference: float
    """Largest absolute difference of a numeric output to scikit-learn in float64, on held-out rows and probes."""
    label_flips: float
    """Share of held-out rows whose label differs from scikit-learn's."""
    label_flips_below: float | None = None
    """With 95 % confidence, fewer labels than this share differ among all rows such as the held-out ones."""
    p99_difference: float = 0.0
    """99 % of the held-out rows differ by no more."""
    bad_rows: float = 0.0
    """Share of held-out rows that differ by more than the tolerance allows."""
    metric_drop: float | None = None
    """How much of accuracy or R² is lost on the held-out rows; null where the target was not given."""
    latency_us: dict[str, float]
    """Rows of a batch ("1", "64", …) → median microseconds of one run on the machine that converted."""
    chosen: bool
    outside: str | None = None
    """Why it is outside the tolerance; null if it is within, or nobody recorded it."""
    note: str
    """What was changed and what came of it, in one sentence."""


class Tolerance(_Record, frozen=True, kw_only=True):
    """What the version was accepted under."""

    preset: Literal["exact", "close", "quantized"]
    max_difference: float
    max_label_flips: float
    max_metric_drop: float = 0.005
    """What it may cost of accuracy or R², where the target was known."""
    forced: bool = False
    """True if it was published although it is outside."""


class Origin(_Record, frozen=True, kw_only=True):
    """A version that was copied."""

    model: type_name
    version: Annotated[int, msgspec.Meta(ge=1)]
    identity: str


class Lineage(_Record, frozen=True, kw_only=True):
    """Who made the version, from what, when."""

    created_at: str
    """ISO 8601, UTC."""
    estimator: str
    """The pipeline in one line, as scikit-learn prints it."""
    pipeline_sha256: str
    """Of the file that was converted."""
    data_sha256: str | None
    """Of the training data, as the author gave it: of the file, or of the rows if they came from memory."""
    code_revision: str | None
    """Commit of the code that trained it."""
    libraries: dict[str, str]
    """Name → version, of all that made the pipeline and the graph; Python is one of them."""
    machine: str | None = None
    """On which the candidates were timed: processor, cores, system."""
    loaded: str | None = None
    """How the pipeline's file was opened, and what it could have done meanwhile."""
    metrics: dict[str, float] = {}
    """The task's own figures on held-out rows, as the author reported them ("auc", "log_loss", …)."""
    copied_from: tuple[Origin, ...] = ()
    """The versions that this one is a copy of, the first one first; empty if it was published directly."""


class Imported(_Record, frozen=True, kw_only=True):
    """What is known of a graph that was imported instead of converted."""

    source: Literal["onnx", "triton", "mlflow"]
    """What it was imported from: a file, a Triton repository, or an MLflow model."""
    file: str
    """The graph's file, relative to what was imported."""
    rows: Literal["sample", "random"]
    """Which rows it was verified on. From random rows no profile is taken."""
    verified_rows: int
    """How many rows were answered alone and in one batch."""
    rows_independent: bool | None
    """Whether the answer to a row is the same alone and in a batch; null if it could not be verified."""
    changes: tuple[str, ...] = ()
    """What was changed in the graph, in words; empty if the file is published as it was."""
    latency_us: dict[str, float] = {}
    """Rows of a batch ("1", "64") → median microseconds of one run on the machine that imported it."""


class Golden(_Record, frozen=True, kw_only=True):
    """A few rows with their answers. The server runs them before a version serves."""

    inputs: dict[str, list[Any]]
    """Tensor name → rows of values, nested as the tensor's dimensions are; NaN is written as null."""
    outputs: dict[str, list[Any]]
    """What the published graph answered when it was made, in the same form."""


class Manifest(_Record, frozen=True, kw_only=True):
    """Everything that a published version promises."""

    schema: Literal[1] = 1
    """Of this file."""
    model: type_name
    version: Annotated[int, msgspec.Meta(ge=1)]
    identity: str
    """SHA-256 over the graph and its interface: equal for equal content, whenever it was made. See `identity_of`."""
    task: Literal["classifier", "regressor", "clusterer", "outlier_detector", "transformer", "other"]
    """"other" for an imported graph that does not say."""
    tensors: Annotated[tuple[TensorSpec, ...], msgspec.Meta(min_length=1)]
    columns: tuple[ColumnSpec, ...] = ()
    """In the pipeline's order. Empty if the model takes tensors only."""
    outputs: Annotated[tuple[OutputSpec, ...], msgspec.Meta(min_length=1)]
    tolerance: Tolerance
    candidates: tuple[Candidate, ...]
    skipped: dict[str, str] = {}
    """Candidates that could not be made → why."""
    held_out_rows: int | None = None
    """Rows on which the candidates were compared with scikit-learn, besides those made to be awkward."""
    metric: float | None = None
    """Accuracy or R² of scikit-learn on them, where the truth was given."""
    batches: dict[str, float] = {}
    """Rows of a batch → its share: for which the fastest candidate was chosen."""
    quantization: str | None = None
    """What quantization bought, in one sentence."""
    notes: tuple[str, ...] = ()
    """What the author was told besides."""
    imported: Imported | None = None
    """Of an imported graph: how it was verified. It was not compared with scikit-learn and has no candidates."""
    profile: Profile | None = None
    """What the rows looked like, for drift."""
    lineage: Lineage
    golden: Golden

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(self.model):
            raise ValueError(f"model: {self.model!r} is not a model name ({MODEL_NAME.pattern})")
        for field, specs in (("tensors", self.tensors), ("columns", self.columns), ("outputs", self.outputs)):
            names = [spec.name for spec in specs]
            if len(set(names)) < len(names):
                raise ValueError(f"{field}: a name appears twice")
        tensors = {tensor.name: tensor for tensor in self.tensors}
        for tensor in self.tensors:
            if not tensor.shape or tensor.shape[0] is not None:
                raise ValueError(f"tensors: the first dimension of {tensor.name!r} must be null, the rows")
        if self.columns:
            _check_columns(self.columns, tensors)


def _check_columns(columns: tuple[ColumnSpec, ...], tensors: dict[str, TensorSpec]) -> None:
    """Every place of every tensor is filled by exactly one column of the same dtype."""
    for tensor in tensors.values():
        if len(tensor.shape) != 2 or tensor.shape[1] is None:
            raise ValueError(f"columns: tensor {tensor.name!r} must have the shape (rows, number of columns)")
    places = {
        (tensor.name, index): tensor.dtype for tensor in tensors.values() for index in range(tensor.shape[1] or 0)
    }
    if len(columns) != len(places) or {(column.tensor, column.index) for column in columns} != places.keys():
        raise ValueError("columns: they must fill every column of every tensor exactly once")
    for column in columns:
        if column.dtype != places[column.tensor, column.index]:
            raise ValueError(f"columns: {column.name!r} is {column.dtype}, but its tensor {column.tensor!r} is not")


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON, ready to write."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(content: bytes) -> Manifest:
    """Read a manifest, of this release or an earlier one. Raises BrokenVersion with the path of the offending field."""
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenVersion(f"{MANIFEST_FILE}: {error}{_advice(content, str(error))}") from error


def _advice(content: bytes, error: str) -> str:
    """What to do about a manifest that a later release wrote; nothing if it is simply wrong."""
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    upgrade = "upgrade the server or tool that reads it, or convert the model again"
    if schema != SCHEMA:
        return f"; it has schema {schema}, and this release reads {SCHEMA}: {upgrade}"
    if "unknown field" in error:
        return f"; if a later release of skylane wrote it, {upgrade}"
    return ""


class _Schema(msgspec.Struct):
    """What can be read of a manifest of any release."""

    schema: int


def identity_of(
    model_sha256: str,
    tensors: tuple[TensorSpec, ...],
    columns: tuple[ColumnSpec, ...],
    outputs: tuple[OutputSpec, ...],
) -> str:
    """What makes two publications the same: the graph's bytes and its interface, not when or how they were made."""
    content = msgspec.json.encode([model_sha256, tensors, columns, outputs], order="deterministic")
    return hashlib.sha256(content).hexdigest()


def check_identity(manifest: Manifest, content: bytes, model_sha256: str) -> None:
    """Raise BrokenVersion unless the manifest that this content holds has the identity of its graph and interface."""
    fields = msgspec.json.decode(content)  # as it was written: an earlier release wrote fewer fields of each
    written = msgspec.json.encode([model_sha256, *(fields.get(name, ()) for name in ("tensors", "columns", "outputs"))])
    actual = hashlib.sha256(written).hexdigest()
    if manifest.identity not in (
        actual,
        identity_of(model_sha256, manifest.tensors, manifest.columns, manifest.outputs),
    ):
        raise BrokenVersion(
            f"{MANIFEST_FILE}: identity: expected {actual[:12]}…, that of its graph and interface, "
            f"received {manifest.identity[:12]}…"
        )
