"""Reading ONNX files: what is changed, what is refused by name, and what the interface is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from skylane.convert.errors import ConversionError, Unreadable
from skylane.convert.importing.graph import read_graph
from skylane.onnx_runtime import onnxruntime as ort
from support import graphs


def run(content: bytes, rows: graphs.Array) -> list[graphs.Array]:
    """What ONNX Runtime answers."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers: list[graphs.Array] = session.run(None, {session.get_inputs()[0].name: rows})
    return answers


def test_a_plain_graph_is_published_byte_for_byte(tmp_path: Path) -> None:
    path = graphs.save(graphs.affine(), tmp_path / "model.onnx")
    graph = read_graph(path)
    assert graph.content == path.read_bytes()
    assert graph.changes == graph.notes == ()
    assert graph.producer == "ONNX graph made by a tool (opset ai.onnx 17, ai.onnx.ml 3)"


@pytest.mark.parametrize(
    ("element", "name"),
    [
        (TensorProto.BOOL, "bool"), (TensorProto.UINT8, "uint8"), (TensorProto.UINT16, "uint16"),
        (TensorProto.UINT32, "uint32"), (TensorProto.UINT64, "uint64"), (TensorProto.INT8, "int8"),
        (TensorProto.INT16, "int16"), (TensorProto.INT32, "int32"), (TensorProto.INT64, "int64"),
        (TensorProto.FLOAT16, "float16"), (TensorProto.FLOAT, "float32"), (TensorProto.DOUBLE, "float64"),
        (TensorProto.STRING, "string"),
    ],
)  # fmt: skip
def test_every_type_that_can_be_served_has_our_name(element: int, name: str, tmp_path: Path) -> None:
    (spec,) = read_graph(graphs.save(graphs.typed(element), tmp_path / "model.onnx")).inputs
    assert (spec.name, spec.dtype, spec.shape) == ("x", name, (None, 2))


@pytest.mark.parametrize(
    ("shape", "served"),
    [
        pytest.param(["N"], (None,), id="a value for each row"),
        pytest.param(["N", 3, "height", "width"], (None, 3, None, None), id="open sizes inside stay open"),
        pytest.param(["N", -1, 4], (None, None, 4), id="-1 is an open size"),
        pytest.param([None, 4], (None, 4), id="a size that is not declared is open"),
    ],
)
def test_shapes(shape: list[graphs.Size], served: tuple[int | None, ...], tmp_path: Path) -> None:
    (spec,) = read_graph(graphs.save(graphs.typed(graphs.FLOAT, shape), tmp_path / "model.onnx")).inputs
    assert spec.shape == served


def test_weights_beside_the_graph_are_embedded(tmp_path: Path) -> None:
    path = graphs.with_weights_beside(tmp_path / "model.onnx")
    graph = read_graph(path)
    assert graph.changes == ("weights embedded from weights.bin",)
    rows = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(run(graph.content, rows)[0], np.full((2, 3), 9, np.float32))


def test_a_zipmap_becomes_a_tensor_with_a_column_for_each_class(tmp_path: Path) -> None:
    path = graphs.save(graphs.zipmapped(), tmp_path / "model.onnx")
    graph = read_graph(path)
    rows = np.array([[1, 2], [-3, 1]], np.float32)
    labels, lists = run(path.read_bytes(), rows)
    same, dense = run(graph.content, rows)
    assert graph.classes == {"probabilities": ("no", "yes")}
    assert list(same) == list(labels)
    np.testing.assert_array_equal(dense, [list(each.values()) for each in lists])


def test_a_fixed_batch_dimension_is_opened(tmp_path: Path) -> None:
    graph = read_graph(graphs.save(graphs.affine(batch=1), tmp_path / "model.onnx"))
    assert graph.inputs[0].shape == (None, 4)
    assert graph.changes == ("batch dimension opened: it was fixed to 1",)
    assert run(graph.content, np.ones((3, 4), np.float32))[0].shape == (3, 3)


def test_weights_that_old_exporters_list_as_inputs_are_none(tmp_path: Path) -> None:
    made = graphs.affine()
    made.graph.input.append(onnx.helper.make_tensor_value_info("w", graphs.FLOAT, [4, 3]))
    graph = read_graph(graphs.save(made, tmp_path / "model.onnx"))
    assert [spec.name for spec in graph.inputs] == ["x"]
    assert graph.notes == ("inputs with a default value keep it, and cannot be sent: w",)


def with_type(element: int) -> onnx.ModelProto:
    """A graph of a type that is not served."""
    return graphs.typed(element)


def without_shape() -> onnx.ModelProto:
    """An input of which not even the number of dimensions is known."""
    made = graphs.typed(graphs.FLOAT)
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


def without_inputs() -> onnx.ModelProto:
    """A graph that always answers the same."""
    node = onnx.helper.make_node("Identity", ["c"], ["y"])
    return graphs.model([node], [], [("y", graphs.FLOAT, [1])], {"c": np.ones(1, np.float32)})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(
            graphs.optional_input(),
            "input 'x' is of the type optional, and only tensors can be served: export the graph without it",
            id="optional input",
        ),
        pytest.param(with_type(TensorProto.BFLOAT16), "input 'x' is bfloat16: expected one of bool", id="bfloat16"),
        pytest.param(with_type(TensorProto.COMPLEX64), "input 'x' is complex64: expected one of bool", id="complex"),
        pytest.param(
            graphs.typed(graphs.FLOAT, ()), "input 'x' is a single value without a dimension for rows", id="scalar"
        ),
        pytest.param(without_shape(), "input 'x' has no declared shape", id="no shape"),
        pytest.param(without_inputs(), "the graph has no inputs", id="no inputs"),
    ],
)
def test_what_cannot_be_served_is_named(made: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as refused:
        read_graph(graphs.save(made, tmp_path / "model.onnx"))
    assert message in str(refused.value)
    assert refused.value.exit_code == 4


def cut_weights(path: Path) -> None:
    """Weights whose file ends too early."""
    graphs.with_weights_beside(path)
    (path.parent / "weights.bin").write_bytes(b"\0")


def lost_weights(path: Path) -> None:
    """Weights whose file was not copied."""
    graphs.with_weights_beside(path)
    (path.parent / "weights.bin").unlink()


def strayed_weights(path: Path) -> None:
    """Weights that are said to lie outside the graph's directory."""
    graphs.with_weights_beside(path)
    made = onnx.load(path, load_external_data=False)
    (path.parent.parent / "weights.bin").write_bytes(bytes(100))
    for weight in made.graph.initializer:
        weight.external_data[0].value = "../weights.bin"
    path.write_bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(lambda path: None, "cannot be read: No such file or directory", id="there is no file"),
        pytest.param(lambda path: path.write_bytes(b"PK\3\4" * 9), "not an ONNX file", id="another kind of file"),
        pytest.param(lambda path: path.write_bytes(b""), "not an ONNX file: it has no graph", id="an empty file"),
        pytest.param(
            lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "fetch that with `git lfs pull`",
            id="git has not fetched it",
        ),
        pytest.param(lost_weights, "its weights are in weights.bin, which must lie beside it", id="weights are lost"),
        pytest.param(cut_weights, "its weights in weights.bin cannot be read", id="weights are cut short"),
        pytest.param(strayed_weights, "its weights in ../weights.bin cannot be read", id="weights lie elsewhere"),
    ],
)
def test_files_that_cannot_be_read(write: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "inner" / "model.onnx"
    path.parent.mkdir()
    assert callable(write)
    write(path)
    with pytest.raises(Unreadable) as refused:
        read_graph(path)
    assert message in str(refused.value)
