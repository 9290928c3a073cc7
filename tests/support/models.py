"""Small graphs, written as published versions. Made with onnx's own helpers: no estimator, no converter."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skylane import manifest as m
from skylane.dtypes import DType
from skylane.manifest import ColumnSpec, Golden, Lineage, Manifest, OutputSpec, TensorSpec, Tolerance
from skylane.onnx_runtime import onnxruntime as ort

_ONNX: dict[str, int] = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[OutputSpec],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
) -> bytes:
    """An ONNX file."""
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(i.name, _ONNX[i.dtype], [d or "rows" for d in i.shape]) for i in inputs],
        [helper.make_tensor_value_info(o.name, _ONNX[o.dtype], [d or "rows" for d in o.shape]) for o in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def publish(
    root: Path,
    name: str,
    version: int,
    onnx_file: bytes,
    tensors: Sequence[TensorSpec],
    outputs: Sequence[OutputSpec],
    golden: dict[str, np.ndarray[Any, Any]],
    columns: Sequence[ColumnSpec] = (),
) -> Path:
    """Write root/name/version as the converter would, with golden answers from the graph itself."""
    session = ort.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    answers = session.run([spec.name for spec in outputs], golden)
    manifest = Manifest(
        model=name,
        version=version,
        identity=m.identity_of(hashlib.sha256(onnx_file).hexdigest(), tuple(tensors), tuple(columns), tuple(outputs)),
        task="classifier",
        tensors=tuple(tensors),
        columns=tuple(columns),
        outputs=tuple(outputs),
        tolerance=Tolerance(preset="exact", max_difference=0, max_label_flips=0),
        candidates=(),
        lineage=Lineage(
            created_at="2026-01-01T00:00:00Z",
            estimator="made by hand",
            pipeline_sha256="0" * 64,
            data_sha256=None,
            code_revision=None,
            libraries={},
        ),
        golden=Golden(
            inputs={key: _json(value) for key, value in golden.items()},
            outputs={spec.name: _json(value) for spec, value in zip(outputs, answers, strict=True)},
        ),
    )
    files = {m.MODEL_FILE: onnx_file, m.MANIFEST_FILE: m.encode(manifest)}
    directory = root / name / str(version)
    staging = root / name / f".staging-{version}"
    staging.mkdir(parents=True)
    for file, content in {**files, m.SUMS_FILE: m.sums_of(files)}.items():
        (staging / file).write_bytes(content)
    staging.rename(directory)
    return directory


def _json(array: Any) -> Any:
    values = np.asarray(array).astype(object)
    if values.dtype == object:
        values[values != values] = None  # NaN
    return values.tolist()


def linear(root: Path, name: str = "linear", version: int = 1, features: int = 20, bias: float = 0.0) -> Path:
    """`score` = sum of the features + bias, `label` = whether that is above 0."""
    tensors = [TensorSpec(name="features", dtype="float32", shape=(None, features))]
    outputs = [
        OutputSpec(name="label", dtype="int64", shape=(None,), role="label"),
        OutputSpec(name="score", dtype="float32", shape=(None, 1)),
    ]
    nodes = [
        helper.make_node("Gemm", ["features", "w", "b"], ["score"]),
        helper.make_node("Greater", ["score", "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["number", "flat"], ["label"]),
    ]
    constants: dict[str, np.ndarray[Any, Any]] = {
        "w": np.ones((features, 1), np.float32),
        "b": np.array([bias], np.float32),
        "zero": np.zeros((), np.float32),
        "flat": np.array([-1], np.int64),
    }
    rng = np.random.default_rng(7)
    golden = {"features": rng.normal(size=(4, features)).astype(np.float32)}
    return publish(root, name, version, graph(nodes, tensors, outputs, constants), tensors, outputs, golden)


def mixed(root: Path, name: str = "mixed", version: int = 1) -> Path:
    """Columns a, b (float32, b with gaps) and s, t (strings, t with gaps): gives both tensors back."""
    tensors = [
        TensorSpec(name="numbers", dtype="float32", shape=(None, 2)),
        TensorSpec(name="strings", dtype="string", shape=(None, 2)),
    ]
    outputs = [
        OutputSpec(name="numbers_out", dtype="float32", shape=(None, 2)),
        OutputSpec(name="strings_out", dtype="string", shape=(None, 2)),
    ]
    columns = [
        ColumnSpec(name="a", dtype="float32", tensor="numbers", index=0),
        ColumnSpec(name="s", dtype="string", tensor="strings", index=0),
        ColumnSpec(name="b", dtype="float32", tensor="numbers", index=1, missing="NaN"),
        ColumnSpec(name="t", dtype="string", tensor="strings", index=1, missing=""),
    ]
    nodes = [
        helper.make_node("Identity", ["numbers"], ["numbers_out"]),
        helper.make_node("Identity", ["strings"], ["strings_out"]),
    ]
    golden = {
        "numbers": np.array([[1, 2], [3, np.nan]], np.float32),
        "strings": np.array([["x", "y"], ["", "é"]], object),
    }
    return publish(root, name, version, graph(nodes, tensors, outputs), tensors, outputs, golden, columns)


def logistic(root: Path, name: str = "logistic", version: int = 1) -> Path:
    """A linear operator of ONNX Runtime's, which adds up a lone row in another order than several."""
    tensors = [TensorSpec(name="features", dtype="float32", shape=(None, 20))]
    outputs = [
        OutputSpec(name="label", dtype="int64", shape=(None,), role="label"),
        OutputSpec(name="probabilities", dtype="float32", shape=(None, 2), role="probabilities", classes=(0, 1)),
    ]
    weights = np.random.default_rng(1).normal(size=20)
    node = helper.make_node(
        "LinearClassifier", ["features"], ["label", "probabilities"], domain="ai.onnx.ml", classlabels_ints=[0, 1],
        coefficients=[*(-weights).tolist(), *weights.tolist()], intercepts=[0.0, 0.0], post_transform="LOGISTIC",
    )  # fmt: skip
    golden = {"features": np.random.default_rng(2).normal(size=(4, 20)).astype(np.float32)}
    return publish(root, name, version, graph([node], tensors, outputs), tensors, outputs, golden)


def touchy(root: Path, name: str = "touchy", version: int = 1) -> Path:
    """Parses strings as numbers: fails on a row that is not one, which a batch's neighbours must not feel."""
    tensors = [TensorSpec(name="text", dtype="string", shape=(None, 1))]
    outputs = [OutputSpec(name="value", dtype="float32", shape=(None, 1))]
    nodes = [helper.make_node("Cast", ["text"], ["value"], to=TensorProto.FLOAT)]
    golden = {"text": np.array([["1.5"], ["2"]], object)}
    return publish(root, name, version, graph(nodes, tensors, outputs), tensors, outputs, golden)


def echo(root: Path, dtype: DType, name: str = "echo", version: int = 1) -> Path:
    """One tensor `x` of shape (rows, 2), given back as `y`."""
    tensors = [TensorSpec(name="x", dtype=dtype, shape=(None, 2))]
    outputs = [OutputSpec(name="y", dtype=dtype, shape=(None, 2))]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    kind: Any = object if dtype == "string" else dtype
    golden = {"x": np.array([["0", "1"]] if dtype == "string" else [[0, 1]]).astype(kind)}
    return publish(root, name, version, graph(nodes, tensors, outputs), tensors, outputs, golden)


def endless(root: Path, name: str = "endless", version: int = 1) -> Path:
    """A graph that turns in a loop 2^60 times. Its golden answers are another graph's."""
    tensors = [TensorSpec(name="x", dtype="float32", shape=(None, 2))]
    outputs = [OutputSpec(name="y", dtype="float32", shape=(None, 2))]
    body = helper.make_graph(
        [helper.make_node("Identity", ["more"], ["more_out"]), helper.make_node("Identity", ["v"], ["v_out"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )
    constants: dict[str, np.ndarray[Any, Any]] = {"n": np.array(1 << 60, np.int64), "t": np.array(True)}
    looping = graph([helper.make_node("Loop", ["n", "t", "x"], ["y"], body=body)], tensors, outputs, constants)
    directory = echo(root, "float32", name, version)
    replace_graph(directory, looping)
    return directory


def replace_graph(directory: Path, onnx_file: bytes) -> None:
    """Put another graph of the same interface into a version, with its identity and sums."""
    manifest = m.decode((directory / m.MANIFEST_FILE).read_bytes())
    graph_sha256 = hashlib.sha256(onnx_file).hexdigest()
    identity = m.identity_of(graph_sha256, manifest.tensors, manifest.columns, manifest.outputs)
    files = {m.MODEL_FILE: onnx_file, m.MANIFEST_FILE: m.encode(msgspec.structs.replace(manifest, identity=identity))}
    for file, content in {**files, m.SUMS_FILE: m.sums_of(files)}.items():
        (directory / file).write_bytes(content)
