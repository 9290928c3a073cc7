"""Files of held-out rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from convert.errors import BadRows, ConversionError, Unreadable
from convert.sample import read_sample


def write(path: Path, content: Any) -> Path:
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        path.write_bytes(content)
    return path


def test_a_csv_file_is_a_frame_and_its_target(tmp_path: Path) -> None:
    rows, target = read_sample(write(tmp_path / "r.csv", b"a,b,y\n1,x,0\n,,1\n"), "y")
    assert isinstance(rows, pd.DataFrame)
    assert target is not None
    assert (list(rows.columns), target.tolist(), rows.isna().sum().sum()) == (["a", "b"], [0, 1], 2)


def test_text_columns_stay_text_where_they_look_like_numbers(tmp_path: Path) -> None:
    rows, _ = read_sample(write(tmp_path / "r.csv", b"zip\n01234\n99\n"), None, texts={"zip"})
    assert isinstance(rows, pd.DataFrame)
    assert rows["zip"].tolist() == ["01234", "99"]


@pytest.mark.parametrize(
    ("arrays", "named", "target"),
    [
        pytest.param({"X": [[1.0]], "y": [3]}, None, [3], id="X and y, as everybody calls them"),
        pytest.param({"X": [[1.0]]}, None, None, id="no target"),
        pytest.param({"rows": [[1.0]], "late": [5]}, "late", [5], id="a target of another name"),
    ],
)
def test_an_npz_file_is_an_array(tmp_path: Path, arrays: dict[str, Any], named: str | None, target: Any) -> None:
    rows, truth = read_sample(write(tmp_path / "r.npz", arrays), named)
    assert isinstance(rows, np.ndarray)
    assert (rows.tolist(), None if truth is None else truth.tolist()) == ([[1.0]], target)


@pytest.mark.parametrize(
    ("name", "content", "target", "error", "message"),
    [
        pytest.param("r.csv", None, None, Unreadable, "No such file", id="no file"),
        pytest.param("r.csv", b"", None, Unreadable, "No columns", id="an empty file"),
        pytest.param("r.csv", b"\xff\xfe\x00", None, Unreadable, "cannot be read", id="not text"),
        pytest.param(
            "r.csv", b"a\n1\n", "y", BadRows, "no column 'y' for the target; there are a", id="no such target"
        ),
        pytest.param("r.xlsx", b"a", None, Unreadable, "read from .csv, .parquet or .npz", id="another kind of file"),
        pytest.param("rows", b"a", None, Unreadable, "not from 'this'", id="no suffix"),
        pytest.param("r.npz", b"a", None, Unreadable, "cannot be read", id="not an archive"),
        pytest.param("r.npz", {"data": [[1.0]]}, None, BadRows, "there are data", id="an archive without rows"),
        pytest.param("r.npz", {"X": [[1.0]]}, "y", BadRows, "no array 'y'", id="an archive without that target"),
    ],
)
def test_unusable_rows(
    tmp_path: Path, name: str, content: Any, target: str | None, error: type[ConversionError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_sample(write(tmp_path / name, content), target)
