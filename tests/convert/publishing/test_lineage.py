"""Fingerprints of rows, and the record of what made a version."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skylane.convert.publishing.lineage import fingerprint, lineage

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]})


def test_equal_rows_have_one_fingerprint() -> None:
    assert fingerprint(FRAME) == fingerprint(FRAME.copy().set_index(pd.Index([7, 8])))
    assert fingerprint(np.eye(3)) == fingerprint(np.asfortranarray(np.eye(3)))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(FRAME.rename(columns={"a": "c"}), id="another name"),
        pytest.param(FRAME.iloc[::-1], id="another order"),
        pytest.param(FRAME.assign(a=[1, 3]), id="another number"),
        pytest.param(FRAME.assign(b=["x", ""]), id="a text for a gap"),
        pytest.param(FRAME.astype({"a": "float64"}), id="another type"),
        pytest.param(np.eye(2), id="an array"),
        pytest.param(np.eye(2, dtype=np.float32), id="an array of another type"),
    ],
)
def test_other_rows_have_another_fingerprint(other: Any) -> None:
    known = (FRAME, np.eye(2, dtype=np.int64), np.zeros((2, 2)))
    assert fingerprint(other) not in [fingerprint(rows) for rows in known]


def test_the_record_tells_the_machine_python_and_every_library(linear: Any, tmp_path: Path) -> None:
    found = lineage(
        linear.estimator, pipeline_sha256=None, data_sha256=None, metrics={}, code=tmp_path, loaded="by hand"
    )
    assert {"python", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy"} <= found.libraries.keys()
    assert found.machine is not None
    assert "core" in found.machine
    assert (found.loaded, found.code_revision) == ("by hand", None)
