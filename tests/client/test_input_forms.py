"""Every form in which callers hold rows: read with its one obvious meaning, or refused with what to write instead."""

import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skylane.client.encoding import read
from skylane.client.pandas_rows import ROWS_MAX

RECORDS: list[dict[str, Any]] = [{"city": "Ulm", "age": 30, "income": 2e4}, {"city": "Bonn", "age": 41, "income": 3.5}]
FRAME = pd.DataFrame(RECORDS)
TABLE = pa.Table.from_pylist(RECORDS)
POLARS = pl.DataFrame(RECORDS)
STRUCTURED = np.array([("Ulm", 30, 2e4), ("Bonn", 41, 3.5)], dtype=[("city", object), ("age", "i8"), ("income", "f8")])
FIRST: dict[str, list[Any]] = {"city": ["Ulm"], "age": [30], "income": [2e4]}
BOTH: dict[str, list[Any]] = {"city": ["Ulm", "Bonn"], "age": [30, 41], "income": [2e4, 3.5]}

Person = namedtuple("Person", ["city", "age", "income"])


@dataclass
class Record:
    """A row as services hold it."""

    city: str
    age: int


class ArrayLike:
    """What PyTorch, JAX and xarray have in common."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._array


class ArrowStream:
    """What DuckDB and others offer: Arrow's interface, and no columns."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        raise AssertionError("nobody reads it without asking")


class Exchanged:
    """The data frame protocol alone."""

    def __dataframe__(self) -> Any:
        raise AssertionError("nobody reads it without asking")


class Lazy:
    """Spark's data frame, as far as it is looked at."""

    columns = ("city",)

    def __getitem__(self, name: str) -> Any:
        raise AssertionError("a column that is not computed")

    def toPandas(self) -> Any:  # noqa: N802
        raise AssertionError("the caller decides when to compute")


class Sparse:
    """SciPy's matrix, as far as it is looked at."""

    def toarray(self) -> Any:
        raise AssertionError("the caller decides whether there is room")


def columns_read(data: Any) -> dict[str, list[Any]]:
    """Name → values, gaps as None."""
    return {
        each.name: [
            None if row in each.missing or value != value else value for row, value in enumerate(each.array.tolist())
        ]
        for each in read(data).values
    }


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        pytest.param(FRAME, BOTH, id="pandas DataFrame"),
        pytest.param(FRAME.iloc[:1], FIRST, id="pandas DataFrame of one row"),
        pytest.param(FRAME.iloc[0], FIRST, id="pandas Series that is a row, frame.iloc[0]"),
        pytest.param(FRAME.convert_dtypes(), BOTH, id="pandas' nullable types"),
        pytest.param(FRAME.convert_dtypes(dtype_backend="pyarrow"), BOTH, id="pandas with Arrow's types"),
        pytest.param(FRAME.astype({"city": "category"}), BOTH, id="pandas' categories"),
        pytest.param(TABLE, BOTH, id="pyarrow Table"),
        pytest.param(TABLE.to_batches()[0], BOTH, id="pyarrow RecordBatch"),
        pytest.param(pa.concat_tables([TABLE, TABLE])[1:3], {k: v[::-1] for k, v in BOTH.items()}, id="pyarrow chunks"),
        pytest.param(POLARS, BOTH, id="polars DataFrame"),
        pytest.param(POLARS.with_columns(pl.col("city").cast(pl.Categorical)), BOTH, id="polars' categories"),
        pytest.param(POLARS.row(0, named=True), FIRST, id="polars row as a dict"),
        pytest.param(STRUCTURED, BOTH, id="numpy structured array"),
        pytest.param(STRUCTURED[0], FIRST, id="numpy structured scalar"),
        pytest.param(STRUCTURED[:0], {"city": [], "age": [], "income": []}, id="numpy structured array without rows"),
        pytest.param(FRAME.to_records(index=False), BOTH, id="numpy recarray"),
        pytest.param(RECORDS, BOTH, id="list of dicts"),
        pytest.param(tuple(RECORDS), BOTH, id="tuple of dicts"),
        pytest.param(RECORDS[0], FIRST, id="dict of scalars"),
        pytest.param(OrderedDict(RECORDS[0]), FIRST, id="mapping of another class"),
        pytest.param(MappingProxyType(BOTH), BOTH, id="read-only mapping"),
        pytest.param(FIRST, FIRST, id="dict of one-row lists"),
        pytest.param({name: np.array(column) for name, column in BOTH.items()}, BOTH, id="dict of numpy arrays"),
        pytest.param({name: FRAME[name] for name in FRAME}, BOTH, id="dict of pandas Series"),
        pytest.param({name: POLARS[name] for name in POLARS.columns}, BOTH, id="dict of polars Series"),
        pytest.param({name: TABLE[name] for name in TABLE.column_names}, BOTH, id="dict of pyarrow arrays"),
        pytest.param({name: tuple(column) for name, column in BOTH.items()}, BOTH, id="dict of tuples"),
    ],
)
def test_named_columns(data: Any, columns: dict[str, list[Any]]) -> None:
    assert columns_read(data) == columns


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(np.ones((1, 3)), id="numpy array"),
        pytest.param([[1.0, 1.0, 1.0]], id="list with one row"),
        pytest.param([(1.0, 1.0, 1.0)], id="list of tuples"),
        pytest.param([np.ones(3)], id="list of 1-D arrays"),
        pytest.param([Person(1.0, 1.0, 1.0)], id="list of namedtuples, by place"),
        pytest.param(ArrayLike(np.ones((1, 3))), id="anything with __array__"),
        pytest.param(np.ma.masked_invalid(np.ones((1, 3))), id="masked array"),
    ],
)
def test_one_array(data: Any) -> None:
    inputs = read(data)
    assert inputs.is_array
    assert inputs.values[0].array.tolist() == [[1.0, 1.0, 1.0]]


def test_any_text_is_a_name_of_a_column() -> None:
    names = [
        "collect",
        "toPandas",
        "toarray",
        "column",
        "column_names",
        "to_pylist",
        "__array__",
        "index",
        "columns",
        "",
    ]
    columns: dict[str, list[Any]] = {name: [1.5, 2.5] for name in names}
    frame = pd.DataFrame(columns)
    large = pd.concat([frame] * ROWS_MAX)
    assert columns_read(frame) == columns
    assert columns_read(large) == {name: column * ROWS_MAX for name, column in columns.items()}
    assert columns_read(frame.iloc[0]) == {name: column[:1] for name, column in columns.items()}
    assert columns_read(pa.table(columns)) == columns_read(pl.DataFrame(columns)) == columns


BIG = 2**60 + 1
"""No float64 is this number."""

GAPS: dict[str, tuple[list[Any], Any, Any, Any]] = {
    "int": ([BIG, None], pa.int64(), pl.Int64, "Int64"),
    "small int": ([1, None], pa.int8(), pl.Int8, "Int8"),
    "unsigned": ([2**62, None], pa.uint64(), pl.UInt64, "UInt64"),
    "float": ([1.5, None], pa.float32(), pl.Float32, "Float32"),
    "text": (["a", None], pa.string(), pl.String, "string"),
    "bool": ([True, None], pa.bool_(), pl.Boolean, "boolean"),
    "category": (["b", None, "a"], pa.dictionary(pa.int8(), pa.string()), pl.Categorical, "category"),
    "nothing": ([None, None], pa.null(), pl.Null, object),
    "untyped int": ([None], pa.int64(), pl.Int64, "Int64"),
}


@pytest.mark.parametrize("kind", GAPS)
def test_gaps_in_frames_of_every_library(kind: str) -> None:
    values, arrow, polars, pandas = GAPS[kind]
    for data in (
        {"a": values},
        pa.table({"a": pa.array(values, arrow)}),
        pa.record_batch({"a": pa.array(values, arrow)}),
        {"a": pa.array(values, arrow)},
        pl.DataFrame({"a": pl.Series(values, dtype=polars)}),
        pd.DataFrame({"a": pd.Series(values, dtype=pandas)}),
    ):
        assert columns_read(data) == {"a": values}, type(data)
        assert read(data).values[0].untyped is (set(values) == {None}), type(data)


ONE_ROW = "for one row write [data], or a dict of column → value"


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        pytest.param(np.ones(3), ValueError, "(3,): expected (rows, …); for one row write array[None, :]", id="1-D"),
        pytest.param(
            ArrayLike(np.ones(3)), ValueError, "for one row write array[None, :]", id="1-D of another library"
        ),
        pytest.param(pa.array([1.0]), ValueError, "for one row write array[None, :]", id="pyarrow array"),
        pytest.param([1.0, 2.0], TypeError, f"data is a list of float: {ONE_ROW}", id="flat list"),
        pytest.param((1.0, "a"), TypeError, f"data is a tuple of float, str: {ONE_ROW}", id="flat tuple"),
        pytest.param([RECORDS[0], [1]], TypeError, "a list of dict, list: expected either a dict or", id="mixed rows"),
        pytest.param(
            Person("Ulm", 3, 1.0),
            TypeError,
            "data is a Person of float, int, str: write data._asdict()",
            id="namedtuple",
        ),
        pytest.param(Record("Ulm", 3), TypeError, "data is Record: write dataclasses.asdict(data)", id="dataclass"),
        pytest.param(
            FRAME["age"],
            TypeError,
            "labels are not column names, such as 0: for one row write frame.iloc[0]",
            id="pandas Series that is a column",
        ),
        pytest.param(
            [FRAME.iloc[0], FRAME.iloc[1]],
            TypeError,
            "data is a list of Series: write pandas.DataFrame(data)",
            id="list of Series",
        ),
        pytest.param(
            [FRAME, FRAME],
            TypeError,
            "data is a list of DataFrame: send one data frame: write pandas.concat(data)",
            id="list of frames",
        ),
        pytest.param(POLARS.lazy(), TypeError, "data is LazyFrame: write data.collect()", id="polars LazyFrame"),
        pytest.param(POLARS["age"], ValueError, "for one row write array[None, :]", id="polars Series"),
        pytest.param(POLARS.row(0), TypeError, ONE_ROW, id="polars row without names"),
        pytest.param(Lazy(), TypeError, "data is Lazy: write data.toPandas()", id="Spark's data frame"),
        pytest.param(Sparse(), TypeError, "data is Sparse: write data.toarray()", id="sparse matrix"),
        pytest.param(
            ArrowStream(), TypeError, "data is ArrowStream: write pyarrow.table(data)", id="Arrow's interface"
        ),
        pytest.param(
            Exchanged(), TypeError, "write pandas.api.interchange.from_dataframe(data)", id="data frame protocol"
        ),
        pytest.param(iter(RECORDS), TypeError, "an iterator can be read only once: write list(data)", id="iterator"),
        pytest.param((r for r in RECORDS), TypeError, "data is generator: an iterator", id="generator"),
        pytest.param(
            STRUCTURED[None, :], ValueError, "structured array of shape (1, 2): expected (rows,)", id="structured 2-D"
        ),
        pytest.param(pd.concat({"a": FRAME}, axis=1), TypeError, "column names must be text", id="names of two levels"),
        pytest.param(
            pa.table([pa.array([1]), pa.array([2])], ["a", "a"]),
            ValueError,
            "more than once: 'a'",
            id="pyarrow names twice",
        ),
        pytest.param(pd.Series([1, 2], ["a", "a"]), ValueError, "more than once: 'a'", id="labels twice"),
        pytest.param(pd.Series([], dtype=object), ValueError, "there are no columns", id="empty Series"),
        pytest.param({1, 2}, TypeError, "data is set: expected a data frame", id="set"),
        pytest.param("Ulm", TypeError, "data is str: expected a data frame", id="text"),
        pytest.param(3.5, TypeError, "data is float: expected a data frame", id="number"),
        pytest.param(np.float64(3.5), TypeError, "data is float64: expected a data frame", id="numpy number"),
        pytest.param(Record, TypeError, "data is type: expected a data frame", id="class"),
        pytest.param(None, TypeError, "data is NoneType: expected a data frame", id="None"),
        pytest.param([], TypeError, "data is an empty list: expected a data frame", id="empty list"),
    ],
)
def test_what_is_refused_says_what_to_write_instead(data: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as refused:
        read(data)
    assert says in str(refused.value)


def test_no_library_of_frames_is_imported() -> None:
    code = (
        "import sys, numpy; from skylane.client.encoding import read; read({'a': 1}); read(numpy.ones((1, 2)));"
        "print(*{'pandas', 'polars', 'pyarrow'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
