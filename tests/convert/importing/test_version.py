"""Importing graphs: every one that is published is served as ONNX Runtime answers it, others are refused in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto

from skylane.convert.errors import BadArgument, BadRows, ConversionError
from skylane.convert.importing.version import ImportedVersion
from skylane.manifest import decode, verify_files
from skylane.onnx_runtime import onnxruntime as ort
from skylane.policy import Policy
from skylane.server.repository.verified_loading import load_version
from support import graphs

Made = Callable[[], onnx.ModelProto]
Importing = Callable[..., ImportedVersion]


def loaded(imported: ImportedVersion) -> Any:
    """The version as a server loads it: verified, golden rows answered, timed."""
    return load_version(imported.path, imported.name, imported.version, Policy())


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(graphs.affine, id="a matrix"),
        pytest.param(lambda: graphs.affine(batch=1), id="a batch dimension fixed to 1"),
        pytest.param(lambda: graphs.affine(batch=7), id="a batch dimension fixed to 7"),
        pytest.param(graphs.two_inputs, id="several inputs and outputs, of integers, floats and texts"),
        pytest.param(graphs.pooled, id="sequences of any length"),
        pytest.param(lambda: graphs.zipmapped(("a", "b")), id="a ZipMap of texts"),
        pytest.param(lambda: graphs.zipmapped((3, 5)), id="a ZipMap of integers"),
        pytest.param(lambda: graphs.typed(graphs.FLOAT, ["N", 2, 3]), id="three dimensions"),
        pytest.param(lambda: graphs.typed(graphs.FLOAT, ["N", "a", "b"]), id="two open dimensions"),
        pytest.param(lambda: graphs.typed(graphs.FLOAT, ["N"]), id="one dimension"),
        *(
            pytest.param(lambda number=number: graphs.typed(number), id=TensorProto.DataType.Name(number).lower())
            for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
        ),
    ],
)
def test_what_is_imported_is_served(made: Made, importing: Importing) -> None:
    imported = importing(made())
    verify_files(imported.path)
    model = loaded(imported)
    manifest = imported.manifest
    assert decode((imported.path / "manifest.json").read_bytes()) == manifest
    assert manifest.imported is not None
    assert (manifest.imported.rows, manifest.imported.rows_independent) == ("random", True)
    assert manifest.profile is None, "random rows tell nothing about real ones"
    assert any("no sample was given" in note for note in manifest.notes)
    assert [spec.name for spec in model.interface.outputs] == [each.name for each in made().graph.output]


def test_random_rows_are_the_same_each_time(importing: Importing, tmp_path: Path) -> None:
    first = importing(graphs.affine())
    again = importing(graphs.affine())
    assert (again.created, again.version) == (False, 1)
    other = importing(graphs.affine(), version=5)
    assert other.created
    assert other.manifest.golden == first.manifest.golden


@pytest.mark.parametrize("made", [graphs.zipmapped, lambda: graphs.affine(batch=1)], ids=["ZipMap", "fixed batch"])
def test_a_graph_that_is_changed_is_changed_alike_each_time(made: Made, importing: Importing) -> None:
    assert importing(made()).created
    assert not importing(made()).created


def test_golden_rows_are_nested_as_their_tensors_are(importing: Importing) -> None:
    golden = importing(graphs.typed(graphs.FLOAT, ["N", 2, "open"])).manifest.golden
    assert np.array(golden.inputs["x"]).shape == np.array(golden.outputs["y"]).shape == (8, 2, 4)
    assert np.array(importing(graphs.typed(graphs.FLOAT, ["N"])).manifest.golden.inputs["x"]).shape == (8,)


def test_golden_rows_and_profile_come_from_the_sample(importing: Importing) -> None:
    rows = np.arange(400, dtype=np.float64).reshape(100, 4)
    manifest = importing(graphs.affine(), {"x": rows}).manifest
    assert manifest.imported is not None
    assert (manifest.imported.rows, manifest.imported.verified_rows) == ("sample", 16)
    assert manifest.golden.inputs["x"][0] == [0.0, 1.0, 2.0, 3.0]
    assert manifest.golden.outputs["y"][0] == [13.0, 13.0, 13.0]
    assert manifest.profile is not None
    assert list(manifest.profile.columns) == ["0", "1", "2", "3"]
    assert manifest.notes == ()


def test_columns_have_the_names_of_the_sample(importing: Importing) -> None:
    frame = pd.DataFrame({name: np.arange(20.0) for name in ("age", "height", "weight", "pulse")})
    manifest = importing(graphs.affine(), frame).manifest
    assert [column.name for column in manifest.columns] == list(frame.columns)
    assert manifest.profile is not None
    assert list(manifest.profile.columns) == list(frame.columns)


def test_inputs_of_a_single_column_are_columns(importing: Importing) -> None:
    manifest = importing(graphs.two_inputs()).manifest
    assert [(column.name, column.dtype, column.missing) for column in manifest.columns] == [
        ("id", "int64", None),
        ("weight", "float32", "NaN"),
        ("city", "string", None),
    ]


def test_a_classifier_has_its_roles_and_labels(importing: Importing) -> None:
    manifest = importing(graphs.zipmapped()).manifest
    assert manifest.task == "classifier"
    assert [(spec.name, spec.role, spec.classes) for spec in manifest.outputs] == [
        ("label", "label", ()),
        ("probabilities", "probabilities", ("no", "yes")),
    ]


def test_the_model_card_says_what_was_verified_and_changed(importing: Importing) -> None:
    card = (importing(graphs.zipmapped()).path / "card.html").read_text()
    assert "Imported from model.onnx (onnx). Verified on 16 random rows: each got the same answer alone" in card
    assert "ZipMap removed" in card
    assert "scikit-learn" not in card


def test_golden_rows_of_large_tensors_are_few(importing: Importing) -> None:
    made = graphs.typed(graphs.FLOAT, ["N", 3, 200, 200])
    manifest = importing(made).manifest
    assert len(manifest.golden.inputs["x"]) == 1


def test_answers_of_infinity_are_no_golden_rows(importing: Importing) -> None:
    rows = np.ones((20, 2), np.float32)
    rows[::2] = np.inf
    rows[1] = np.nan
    imported = importing(graphs.typed(graphs.FLOAT), {"x": rows})
    loaded(imported)
    with pytest.raises(BadRows, match="every row has an infinity"):
        importing(graphs.typed(graphs.FLOAT), {"x": rows[::2]})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(
            lambda: graphs.reshaping(1),
            "exported for batches of 1 rows only (on 16 rows it fails: The input tensor cannot be reshaped",
            id="a batch of 1 inside",
        ),
        pytest.param(
            lambda: graphs.reshaping(8),
            "torch.onnx.export(…, dynamic_axes={'x': {0: 'batch'}})",
            id="a batch of 8 inside: what to do",
        ),
        pytest.param(graphs.summed, "output 'y' has the shape [] for 1 row, not a row each", id="one for all rows"),
        pytest.param(graphs.centred, "a row's answer depends on the other rows of its batch", id="rows depend"),
        pytest.param(graphs.quantized, "it is quantized dynamically", id="rows depend by quantization: why"),
        pytest.param(graphs.noisy, "output 'y' differs between runs on the same rows", id="random numbers"),
    ],
)
def test_graphs_that_cannot_share_batches_are_refused(made: Made, message: str, importing: Importing) -> None:
    with pytest.raises(ConversionError) as refused:
        importing(made())
    assert message in str(refused.value)
    assert refused.value.exit_code == 4


def test_rows_that_depend_on_each_other_are_marked_if_requests_run_alone(importing: Importing) -> None:
    manifest = importing(graphs.centred(), batched=False).manifest
    assert manifest.imported is not None
    assert manifest.imported.rows_independent is False
    assert any("keep max_batch_rows = 1" in note for note in manifest.notes)


def test_rows_that_depend_on_each_other_are_marked_if_that_is_allowed(importing: Importing) -> None:
    imported = importing(graphs.quantized(), allow_dependent=True)
    assert not imported.alone
    assert imported.manifest.imported is not None
    assert imported.manifest.imported.rows_independent is False
    assert any(note.endswith("in a batch of 16 and alone), which was allowed") for note in imported.manifest.notes)
    loaded(imported)


def test_a_sample_of_one_row_verifies_no_independence_and_says_so(importing: Importing) -> None:
    manifest = importing(graphs.affine(), {"x": np.ones((1, 4))}).manifest
    assert manifest.imported is not None
    assert manifest.imported.rows_independent is None
    assert any("was not verified" in note for note in manifest.notes)


def test_a_number_that_is_taken_is_not_published_over(importing: Importing) -> None:
    assert importing(graphs.affine(), version=3).version == 3
    assert not importing(graphs.affine(), version=3).created
    with pytest.raises(BadArgument, match="m version 3 already exists with different content"):
        importing(graphs.affine(scale=9.0), version=3)


def test_the_rows_alone_are_answered_as_onnxruntime_answers_them(importing: Importing, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    runner = loaded(importing(graphs.affine(batch=1))).runner
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    expected = np.concatenate([session.run(None, {"x": row[None]})[0] for row in rows])
    np.testing.assert_allclose(runner.run([rows])[0], expected, rtol=1e-6)
