"""Loading a version: real files, damaged in every way that we could think of, and the words that say so."""

import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper

from skylane import manifest as m
from skylane.manifest import BrokenVersion, IncompleteVersion, Manifest, OutputSpec, TensorSpec
from skylane.policy import Batching, Policy, Session
from skylane.server.core.types import Array
from skylane.server.repository import verified_loading
from skylane.server.repository.cost_measurement import measure_cost
from skylane.server.repository.verified_loading import load_version
from skylane.server.runtime.session import OnnxSession, graph_of
from support import models

Damage = Callable[[Path], object]


def of_its_own_sums(directory: Path) -> None:
    """Write SHA256SUMS anew, as someone who edits a version by hand would."""
    files = {name: (directory / name).read_bytes() for name in (m.MODEL_FILE, m.MANIFEST_FILE)}
    (directory / m.SUMS_FILE).write_bytes(m.sums_of(files))


def cut(name: str, size: int) -> Damage:
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:size])


def flip(name: str, place: int) -> Damage:
    def damage(directory: Path) -> None:
        content = bytearray((directory / name).read_bytes())
        content[place] ^= 0x40
        (directory / name).write_bytes(bytes(content))

    return damage


def write(name: str, content: bytes) -> Damage:
    return lambda directory: (directory / name).write_bytes(content)


def remove(name: str) -> Damage:
    return lambda directory: (directory / name).unlink()


def edit(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Edit the manifest as JSON, identity and sums included: what is wrong is its content."""

    def damage(directory: Path) -> None:
        content = msgspec.json.decode((directory / m.MANIFEST_FILE).read_bytes())
        change(content)
        content["identity"] = identity(directory, content)
        (directory / m.MANIFEST_FILE).write_bytes(msgspec.json.encode(content))
        of_its_own_sums(directory)

    return damage


def identity(directory: Path, content: dict[str, Any]) -> str:
    """Of the graph that is there and the interface of these fields."""
    graph = hashlib.sha256((directory / m.MODEL_FILE).read_bytes()).hexdigest()
    fields = [content.get(name, []) for name in ("tensors", "columns", "outputs")]
    return hashlib.sha256(msgspec.json.encode([graph, *fields])).hexdigest()


def put(*path: str | int, value: object) -> Damage:
    """Edit one place of the manifest."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return edit(change)


def add_to_sums(line: str) -> Damage:
    return lambda directory: (directory / m.SUMS_FILE).write_bytes(
        (directory / m.SUMS_FILE).read_bytes() + f"{line}\n".encode()
    )


def damaged_graph(directory: Path) -> None:
    (directory / m.MODEL_FILE).write_bytes(b"\x08\x09 this is no graph")
    edit(lambda content: None)(directory)


def pipe(name: str) -> Damage:
    """Whoever opens it for reading waits for a writer, who never comes."""

    def damage(directory: Path) -> None:
        (directory / name).unlink()
        os.mkfifo(directory / name)

    return damage


def link_outside(name: str) -> Damage:
    """The same content, behind a link that leaves the repository."""

    def damage(directory: Path) -> None:
        outside = Path(tempfile.mkdtemp(dir=directory.parents[2]))
        (directory / name).rename(outside / name)
        (directory / name).symlink_to(outside / name)

    return damage


def lie(identity: str) -> Damage:
    def damage(directory: Path) -> None:
        content = msgspec.json.decode((directory / m.MANIFEST_FILE).read_bytes())
        (directory / m.MANIFEST_FILE).write_bytes(msgspec.json.encode({**content, "identity": identity}))
        of_its_own_sums(directory)

    return damage


NO_FILE = "it is a pipe, a socket or a device, expected a regular file"

ZEROS = "0" * 64

# `linear` has a tensor `features` (any, 3) and the outputs `label` (any) and `score` (any, 1), with four golden rows.


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        # files
        pytest.param(cut(m.MODEL_FILE, 100), "model.onnx: its SHA-256 is ", id="the graph is cut short"),
        pytest.param(flip(m.MODEL_FILE, 200), "but SHA256SUMS lists ", id="one bit of the graph has flipped"),
        pytest.param(flip(m.MANIFEST_FILE, 50), "manifest.json: its SHA-256 is ", id="the manifest was edited"),
        pytest.param(remove(m.MODEL_FILE), "model.onnx: cannot be read: No such file", id="there is no graph"),
        pytest.param(remove(m.MANIFEST_FILE), "manifest.json: cannot be read: No such file", id="there is no manifest"),
        pytest.param(remove(m.SUMS_FILE), "SHA256SUMS: cannot be read: ", id="there are no sums"),
        pytest.param(write(m.SUMS_FILE, b""), "SHA256SUMS: does not list model.onnx", id="the sums are empty"),
        pytest.param(write(m.SUMS_FILE, b"\xff"), "SHA256SUMS: cannot be read: ", id="the sums are not text"),
        pytest.param(
            add_to_sums("and so on"),
            "SHA256SUMS: not a line of sha256sum: 'and so on'",
            id="an unknown line in the sums",
        ),
        pytest.param(
            add_to_sums(f"{ZEROS}  ../secret"),
            f"SHA256SUMS: not a line of sha256sum: '{ZEROS}  ../secret'",
            id="the sums name a file elsewhere",
        ),
        pytest.param(
            add_to_sums(f"{ZEROS}  notes.txt"), "notes.txt: cannot be read: No such file", id="a listed file is missing"
        ),
        pytest.param(add_to_sums(f"{ZEROS}  .."), "..: cannot be read: Is a directory", id="the sums name a directory"),
        pytest.param(
            write(m.SUMS_FILE, f"{ZEROS}  model.onnx\n".encode()),
            "SHA256SUMS: does not list manifest.json",
            id="the sums leave out the manifest",
        ),
        pytest.param(damaged_graph, "model.onnx: ONNX Runtime cannot load it: ", id="the graph is none"),
        pytest.param(pipe(m.SUMS_FILE), f"SHA256SUMS: cannot be read: {NO_FILE}", id="the sums are a pipe"),
        pytest.param(pipe(m.MODEL_FILE), f"model.onnx: cannot be read: {NO_FILE}", id="the graph is a pipe"),
        pytest.param(pipe(m.MANIFEST_FILE), f"manifest.json: cannot be read: {NO_FILE}", id="the manifest is a pipe"),
        pytest.param(
            link_outside(m.MODEL_FILE), "model.onnx: it is a link that leaves the repository", id="the graph is outside"
        ),
        pytest.param(
            link_outside(m.SUMS_FILE), "SHA256SUMS: it is a link that leaves the repository", id="the sums are outside"
        ),
        pytest.param(
            write(m.SUMS_FILE, b"#" * (2**16 + 1)),
            "SHA256SUMS: cannot be read: it has 65537 bytes, expected 65536 at most",
            id="the sums have no end",
        ),
        # the manifest's own sense
        pytest.param(lie("0" * 64), "manifest.json: identity: expected ", id="an identity that is none"),
        pytest.param(lie(""), "that of its graph and interface, received …", id="an identity left empty"),
        pytest.param(
            put("model", value="other"),
            "manifest.json: it is of other version 1, not of linear version 1",
            id="the manifest of another model",
        ),
        pytest.param(
            put("version", value=2),
            "manifest.json: it is of linear version 2, not of linear version 1",
            id="the manifest of another version",
        ),
        pytest.param(put("schema", value=2), "manifest.json: Invalid", id="a manifest from the future"),
        pytest.param(
            put("more", value=1), "manifest.json: Object contains unknown field `more`", id="an unknown field"
        ),
        pytest.param(
            edit(lambda content: content.pop("golden")),
            "manifest.json: Object missing required field `golden`",
            id="a missing field",
        ),
        pytest.param(
            put("tensors", 0, "shape", value=[4, 3]),
            "manifest.json: tensors: the first dimension of 'features' must be null, the rows",
            id="a fixed number of rows",
        ),
        # the graph against the manifest
        pytest.param(
            put("outputs", 1, "name", value="scores"),
            "manifest.json: outputs: it promises ",
            id="an output under another name",
        ),
        pytest.param(put("outputs", 1, "dtype", value="float64"), "but the graph has ", id="an output of another type"),
        pytest.param(
            put("outputs", 1, "shape", value=[None, 2]),
            "manifest.json: outputs: it promises 'score' of shape [None, 2], but the graph gives [4, 1]",
            id="an output of another width",
        ),
        pytest.param(
            put("outputs", 0, "shape", value=[None, 1]),
            "manifest.json: outputs: it promises 'label' of shape [None, 1], but the graph gives [4]",
            id="an output of other dimensions",
        ),
        pytest.param(
            edit(lambda content: content["outputs"].pop()),
            "manifest.json: outputs: it promises ",
            id="an output that the manifest keeps silent about",
        ),
        pytest.param(
            put("tensors", 0, "dtype", value="float64"),
            "manifest.json: tensors: it promises ",
            id="an input of another type",
        ),
        # golden rows
        pytest.param(
            put("golden", "inputs", value={}),
            "manifest.json: golden: it has no rows for tensor 'features'",
            id="no golden rows for a tensor",
        ),
        pytest.param(
            put("golden", "inputs", "features", value=[]),
            "manifest.json: golden: it has no rows for tensor 'features'",
            id="golden rows, but none",
        ),
        pytest.param(
            put("golden", "inputs", "features", value=[[1, 2, 3], [4, 5]]),
            "manifest.json: golden: inputs of 'features': ",
            id="ragged golden rows",
        ),
        pytest.param(
            put("golden", "inputs", "features", value=[["x", "y", "z"]]),
            "manifest.json: golden: inputs of 'features': could not convert",
            id="golden rows of another type",
        ),
        pytest.param(
            put("golden", "inputs", "features", value=[[1, 2]]),
            "manifest.json: golden: inputs of 'features': cannot reshape",
            id="golden rows of another width",
        ),
        pytest.param(
            edit(lambda content: content["golden"]["outputs"].pop("score")),
            "manifest.json: golden: it has no answers for output 'score'",
            id="no golden answers for an output",
        ),
        pytest.param(
            put("golden", "outputs", "label", 0, value=7),
            "output 'label' differs from what the manifest promises, first in row 0: expected [7 ",
            id="another golden label",
        ),
        pytest.param(
            put("golden", "outputs", "score", 3, value=[0.25]),
            "output 'score' differs from what the manifest promises, first in row 3: expected [0.25], the graph",
            id="another golden score",
        ),
        pytest.param(
            edit(
                lambda content: (
                    content["golden"]["outputs"]["label"].__setitem__(2, 7),
                    content["lineage"]["libraries"].update(onnxruntime="1.2.3"),
                )
            ),
            "; it was made with ONNX Runtime 1.2.3, this is ",
            id="another golden label, and another runtime",
        ),
        pytest.param(
            put("golden", "outputs", "score", 3, value=[None]), "the graph gives [", id="a score that is a gap"
        ),
        pytest.param(
            edit(lambda content: content["golden"]["outputs"]["score"].pop()),
            "golden rows: output 'score' differs",
            id="fewer golden answers than rows",
        ),
        pytest.param(
            put("golden", "outputs", "score", value=[[1], [1, 2]]),
            "manifest.json: golden: answers of 'score': ",
            id="ragged golden answers",
        ),
        pytest.param(
            put("golden", "outputs", "label", value=["late", 0, 0, 0]),
            "manifest.json: golden: answers of 'label': ",
            id="golden answers of another type",
        ),
        pytest.param(
            put("golden", "outputs", "label", value=[None, 0, 0, 0]),
            "manifest.json: golden: answers of 'label': ",
            id="a gap where a label has none",
        ),
    ],
)
def test_a_damaged_version_is_refused(tmp_path: Path, damage: Damage, message: str) -> None:
    directory = models.linear(tmp_path / "models", features=3)
    damage(directory)
    with pytest.raises(BrokenVersion) as raised:
        load_version(directory, "linear", 1, Policy())
    assert message in str(raised.value)


GOLDEN = {"x": np.array([[1.0, 2.0]], np.float32)}
X = [TensorSpec(name="x", dtype="float32", shape=(None, 2))]
Y = [OutputSpec(name="y", dtype="float32", shape=(None, 2))]


def test_a_graph_that_fails_on_its_own_golden_rows_is_refused(tmp_path: Path) -> None:
    directory = models.touchy(tmp_path)
    put("golden", "inputs", "text", value=[["1.5"], ["late"]])(directory)
    with pytest.raises(BrokenVersion, match=r"^model\.onnx: it fails on its own golden rows: "):
        load_version(directory, "touchy", 1, Policy())


def test_a_graph_that_answers_one_row_for_any_number_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1, noop_with_empty_axes=0)]
    outputs = [OutputSpec(name="y", dtype="float32", shape=(None, 1))]
    directory = models.publish(tmp_path, "sum", 1, models.graph(nodes, X, outputs), X, outputs, GOLDEN)
    with pytest.raises(BrokenVersion) as raised:
        load_version(directory, "sum", 1, Policy())
    assert str(raised.value) == "model.onnx: output 'y' has shape (1, 1) for 2 rows: not a row each"


def test_a_graph_that_takes_one_row_only_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    directory = models.publish(tmp_path, "fixed", 1, bytes(model.SerializeToString()), X, Y, GOLDEN)
    with pytest.raises(BrokenVersion, match=r"^model\.onnx: it fails on its own golden rows: "):
        load_version(directory, "fixed", 1, Policy())


def identity_node() -> NodeProto:
    return helper.make_node("Identity", ["x"], ["y"])


def test_a_graph_that_never_ends_is_ended_and_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenVersion, match=r"golden rows and the timing of its runs have not ended after 0\.01 s$"):
        load_version(models.endless(tmp_path, "m"), "m", 1, Policy(), time_limit_s=0.01)


def test_a_graph_that_is_written_to_while_it_is_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a copy over it does: what ONNX Runtime has read need not be what was verified."""
    directory = models.linear(tmp_path)

    def made(*arguments: Any) -> OnnxSession:
        session = OnnxSession(*arguments)
        (directory / m.MODEL_FILE).write_bytes(b"the next graph")
        return session

    monkeypatch.setattr(verified_loading, "OnnxSession", made)
    with pytest.raises(IncompleteVersion, match=r"^model\.onnx: it was written to while it was loaded$"):
        load_version(directory, "linear", 1, Policy())


def test_a_graph_that_takes_the_place_of_one_that_was_verified_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a rename over it does, between its verification and its load."""
    directory = models.linear(tmp_path, features=3)

    def graph(descriptor: int, size: int, *, may_refer_to_files: bool) -> bytes | str:
        (directory / "new").write_bytes(b"another graph")
        (directory / "new").replace(directory / m.MODEL_FILE)
        return graph_of(descriptor, size, may_refer_to_files=may_refer_to_files)

    monkeypatch.setattr(verified_loading, "graph_of", graph)
    assert load_version(directory, "linear", 1, Policy()).interface.model == "linear"


def test_a_graph_with_values_in_another_file_is_refused_although_the_sums_list_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = models.publish(tmp_path, "m", 1, models.graph([identity_node()], X, Y), X, Y, GOLDEN)
    graph = models.graph([helper.make_node("Add", ["x", "w"], ["y"])], X, Y, {"w": np.zeros(256, np.float32)})
    onnx.save(
        onnx.load_from_string(graph),
        directory / m.MODEL_FILE,
        save_as_external_data=True,
        location="w",
        size_threshold=0,
    )
    edit(lambda content: None)(directory)
    files = {name: (directory / name).read_bytes() for name in (m.MODEL_FILE, m.MANIFEST_FILE, "w")}
    (directory / m.SUMS_FILE).write_bytes(m.sums_of(files))
    monkeypatch.chdir(directory)
    with pytest.raises(
        BrokenVersion, match=r"^model\.onnx: it keeps tensors in other files \(external data\), expected"
    ):
        load_version(directory, "m", 1, Policy())


def test_a_graph_that_has_the_word_of_other_files_alone_is_loaded(tmp_path: Path) -> None:
    tensors = [TensorSpec(name="location", dtype="float32", shape=(None, 2))]
    node = helper.make_node("Identity", ["location"], ["y"])
    golden = {"location": GOLDEN["x"]}
    directory = models.publish(tmp_path, "m", 1, models.graph([node], tensors, Y), tensors, Y, golden)
    assert load_version(directory, "m", 1, Policy()).interface.tensors[0].name == "location"


def test_links_inside_of_the_repository_are_followed(tmp_path: Path) -> None:
    """As a mounted configuration has, and those who swap a version by renaming a link."""
    directory = models.linear(tmp_path, features=3)
    (directory / "..data").mkdir()
    for name in (m.MODEL_FILE, m.MANIFEST_FILE):
        (directory / name).rename(directory / "..data" / name)
        (directory / name).symlink_to(f"..data/{name}")
    directory.rename(tmp_path / ".blob")
    directory.symlink_to(tmp_path / ".blob")
    assert load_version(directory, "linear", 1, Policy()).interface.version == 1


@pytest.mark.parametrize(
    ("files", "beside", "says"),
    [
        pytest.param(["model.onnx"], [], "`skylane import model.onnx --name m`", id="a plain ONNX file"),
        pytest.param(
            ["model.onnx"], ["config.pbtxt"], "`skylane import triton-repository/`", id="a repository of Triton"
        ),
        pytest.param(["saved_model.pb"], [], "TensorFlow SavedModel: convert it with tf2onnx", id="a SavedModel"),
        pytest.param(["model.pt"], [], "SHA256SUMS: cannot be read: No such file or directory", id="something else"),
    ],
)
def test_what_another_tool_wrote_is_refused_with_the_command_that_imports_it(
    tmp_path: Path, files: list[str], beside: list[str], says: str
) -> None:
    directory = tmp_path / "m" / "1"
    directory.mkdir(parents=True)
    for path in [*(directory / name for name in files), *(directory.parent / name for name in beside)]:
        path.write_bytes(b"")
    with pytest.raises(IncompleteVersion) as raised:
        load_version(directory, "m", 1, Policy())
    assert says in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_a_name_with_line_breaks_makes_no_lines_of_the_log(tmp_path: Path) -> None:
    directory = models.publish(tmp_path, "m", 1, models.graph([identity_node()], X, Y), X, Y, GOLDEN)
    node = helper.make_node("Nope", ["x"], ["y"], name="a\n2026-01-01 INFO tokens rotated")
    (directory / m.MODEL_FILE).write_bytes(models.graph([node], X, Y))
    edit(lambda content: None)(directory)
    with pytest.raises(BrokenVersion) as raised:
        load_version(directory, "m", 1, Policy())
    assert "\n" not in str(raised.value)
    assert "/proc" not in str(raised.value)


def test_a_batch_beyond_memory_is_the_versions_reason_not_the_servers_end(tmp_path: Path) -> None:
    directory = models.linear(tmp_path)
    with pytest.raises(BrokenVersion, match=r"^model\.onnx: it fails on 1 to 1000000000000000 rows: "):
        load_version(directory, "linear", 1, Policy(batching=Batching(max_batch_rows=10**15)))


@pytest.mark.parametrize(
    ("name", "publish"),
    [
        pytest.param("linear", models.linear, id="numbers"),
        pytest.param("mixed", models.mixed, id="strings, and gaps in golden rows"),
        pytest.param("touchy", models.touchy, id="strings that become numbers"),
    ],
)
def test_a_sound_version_is_loaded_with_all_that_its_manifest_promises(
    tmp_path: Path, name: str, publish: Callable[[Path], Path]
) -> None:
    directory = publish(tmp_path)
    manifest: Manifest = m.decode((directory / m.MANIFEST_FILE).read_bytes())
    model = load_version(directory, name, 1, Policy())
    assert (model.interface.model, model.interface.version) == (name, 1)
    assert (model.interface.tensors, model.interface.columns) == (manifest.tensors, manifest.columns)
    assert model.manifest_json == (directory / m.MANIFEST_FILE).read_bytes()
    assert [output.shape for output in model.empty] == [(0, *spec.shape[1:]) for spec in manifest.outputs]
    assert hashlib.sha256((directory / m.MODEL_FILE).read_bytes()).hexdigest() in (directory / m.SUMS_FILE).read_text()


def test_a_golden_answer_may_differ_as_much_as_another_cpu_makes_it(tmp_path: Path) -> None:
    directory = models.linear(tmp_path, features=3)
    score = m.decode((directory / m.MANIFEST_FILE).read_bytes()).golden.outputs["score"][0]
    assert isinstance(score, list)
    assert isinstance(score[0], float)
    put("golden", "outputs", "score", 0, value=[score[0] + 5e-5])(directory)
    load_version(directory, "linear", 1, Policy())


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_a_session_is_made_as_the_policy_says(tmp_path: Path, level: Any) -> None:
    directory = models.linear(tmp_path, features=3)
    model = load_version(directory, "linear", 1, Policy(session=Session(graph_optimization=level, intra_op_threads=2)))
    label, score = model.runner.run([np.array([[1, 2, 3], [-1, 0, 0]], np.float32)])
    assert (label.tolist(), score.tolist()) == ([1, 0], [[6.0], [-1.0]])


class Paced:
    """A runner and its clock: every run takes as long as its rows say."""

    def __init__(self, seconds_each: float) -> None:
        self.seconds_each, self.now = seconds_each, 0.0
        self.runs: list[int] = []

    def run(self, inputs: list[Array]) -> list[Array]:
        """See Runner."""
        self.runs.append(len(inputs[0]))
        self.now += len(inputs[0]) * self.seconds_each
        return inputs

    def clock(self) -> float:
        """Now."""
        return self.now


@pytest.mark.parametrize(
    ("seconds_each", "sizes", "timed"),
    [
        pytest.param(1e-3, [1, 8, 64], [1, 8, 64], id="every size"),
        pytest.param(1e-2, [1, 8, 64, 256], [1, 8, 64], id="none beyond the first that is slow"),
        pytest.param(1.0, [1, 8], [1], id="but one in any case"),
    ],
)
def test_measure_cost(seconds_each: float, sizes: list[int], timed: list[int]) -> None:
    paced = Paced(seconds_each)
    cost = measure_cost(paced.run, [np.zeros((3, 2), np.float32)], sizes, paced.clock)  # type: ignore[arg-type]
    assert [rows for rows, _ in itertools.groupby(paced.runs)] == timed
    for rows in timed:
        assert cost.seconds(rows) == pytest.approx(rows * seconds_each)
