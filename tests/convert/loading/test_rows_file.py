"""Files of held-out rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from skylane.convert.errors import BadRows, ConversionError, Unreadable
from skylane.convert.loading.rows_file import read_sample


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
        pytest.param("r.xlsx", b"a", None, Unreadable, "read from .csv, .parquet, .arrow or .npz", id="another kind"),
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


FRAME = pd.DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x", None], "d": pd.Categorical(["u", "v"]), "y": [0, 1]})


def write_stream(path: Path) -> None:
    table = pa.Table.from_pandas(FRAME)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        pytest.param("r.parquet", FRAME.to_parquet, id="Parquet"),
        pytest.param("r.feather", FRAME.to_feather, id="Feather, which is an Arrow file"),
        pytest.param("r.arrow", FRAME.to_feather, id="an Arrow file"),
        pytest.param("r.arrows", write_stream, id="an Arrow stream"),
        pytest.param("r.arrow", write_stream, id="an Arrow stream under a file's name"),
    ],
)
def test_columnar_files_keep_types_and_gaps(tmp_path: Path, name: str, save: Callable[[Path], object]) -> None:
    save(tmp_path / name)
    rows, target = read_sample(tmp_path / name, "y")
    assert isinstance(rows, pd.DataFrame)
    assert target is not None
    pd.testing.assert_frame_equal(rows, FRAME.drop(columns="y"))
    assert target.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["r.parquet", "r.arrow"])
def test_damaged_columnar_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"ARROW1\0\0 and nothing that fits")
    with pytest.raises(Unreadable, match="the rows cannot be read"):
        read_sample(tmp_path / name, None)
