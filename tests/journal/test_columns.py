"""Which columns are kept, hashed or dropped, and what a hash, an id and a time of an event are."""

import multiprocessing
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.journal import JournalError, JournalNotFound, treatments
from skylane.journal.columns import unmatched
from skylane.journal.event_times import event_times
from skylane.journal.hashing import Hasher, hash_text, make_key, read_key, texts
from skylane.journal.id_columns import id_column, parse_ids
from skylane.prediction_ids import CALL_MAX, format_id, parse_id, writer_bits

COLUMNS = {"distance": False, "wind_speed": False, "wind_dir": False, "carrier": True, "tail": True}
KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("policy", "kept", "hashed"),
    [
        pytest.param({}, "distance wind_speed wind_dir", "", id="by default numbers, and no texts"),
        pytest.param({"keep": ["*", "carrier"]}, "distance wind_speed wind_dir carrier", "", id="a text by its name"),
        pytest.param({"keep": ["c*"]}, "", "", id="no text by a pattern"),
        pytest.param({"keep": ["wind_*"]}, "wind_speed wind_dir", "", id="numbers by a pattern"),
        pytest.param({"keep": []}, "", "", id="nothing"),
        pytest.param({"hash": ["tail"]}, "distance wind_speed wind_dir", "tail", id="a text hashed"),
        pytest.param({"hash": ["t*", "d*"]}, "wind_speed wind_dir", "distance tail", id="numbers and texts hashed"),
        pytest.param({"keep": ["*", "tail"], "hash": ["tail"]}, "distance wind_speed wind_dir", "tail",
                     id="hash goes before keep"),
        pytest.param({"drop": ["wind_*", "tail"], "hash": ["*"]}, "", "distance carrier", id="drop goes before hash"),
    ],
)  # fmt: skip
def test_treatments(policy: dict[str, Any], kept: str, hashed: str) -> None:
    result = {column.name: column.treatment for column in treatments(COLUMNS, **policy)}
    assert [name for name in result if result[name] == "kept"] == kept.split()
    assert [name for name in result if result[name] == "hashed"] == hashed.split()


def test_whatever_is_not_kept_has_a_reason_that_names_the_line() -> None:
    for column in treatments(COLUMNS, drop=["wind_dir"], keep=["distance"], hash=["tail"]):
        assert bool(column.reason) == (column.treatment != "kept")
        assert column.treatment == "kept" or "[monitor]" in column.reason


def test_patterns_that_match_no_column_are_named() -> None:
    assert unmatched(COLUMNS, ["*", "wind_*", "distnce"], ["tail", "x*"]) == ("distnce", "x*")


def test_equal_values_have_equal_hashes_whatever_their_type() -> None:
    hashes = {
        Hasher(KEY).column(values)[0].as_py()
        for values in (
            np.array([12]), np.array([12], np.int8), np.array([12.0]), np.array([12.0], np.float32),
            np.array(["12"], object), pa.array(["12"]),
        )
    }  # fmt: skip
    assert hashes == {hash_text(KEY, "12")}
    assert hash_text(KEY, "12") != hash_text(bytes(32), "12")


@given(st.lists(st.none() | st.text(max_size=4)))
def test_each_value_of_a_column_is_hashed_as_it_is_alone(values: list[str | None]) -> None:
    expected = [None if value is None else hash_text(KEY, value) for value in values]
    assert Hasher(KEY).column(pa.array(values, pa.string())).to_pylist() == expected
    assert all(value is None or (len(value) == 18 and value.startswith("h:")) for value in expected)


def test_gaps_have_no_hash() -> None:
    assert Hasher(KEY).column(np.array([1.0, np.nan])).to_pylist()[1] is None
    assert texts(np.array([1.5, 2.0, np.nan, 1e300])).to_pylist() == ["1.5", "2", None, "1e+300"]


def test_processes_that_make_the_key_at_once_agree_on_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        keys = set(pool.map(make_key, [tmp_path / "journal"] * 16))
    assert keys == {read_key(tmp_path / "journal")}
    assert stat.S_IMODE((tmp_path / "journal" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["key"]


def test_a_key_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalNotFound, match="there is no key"):
        read_key(tmp_path)
    for content in ("", "xyz", "00" * 31):
        (tmp_path / "key").write_text(content)
        with pytest.raises(JournalError, match="key"):
            read_key(tmp_path)


@given(st.lists(st.integers(0, CALL_MAX), max_size=20))
def test_a_column_of_ids_is_what_the_ids_are_alone(calls: list[int]) -> None:
    writer = "9f2c1a7be04d5538"
    calls = [max(call, 1) for call in calls]
    column = id_column(writer, np.array(calls, np.uint64))
    assert column.to_pylist() == [format_id(writer, call) for call in calls]
    parsed = parse_ids(column)
    assert parsed.valid.all()
    assert parsed.calls.tolist() == calls
    assert set(parsed.writers.tolist()) <= {writer_bits(writer)}


IDS = st.none() | st.from_regex(r"[0-9a-g]{15,17}-?[0-9a-gA]{0,17}", fullmatch=True) | st.text(max_size=40)


@given(st.lists(IDS, max_size=10), st.integers(0, 3))
def test_parsing_a_column_is_parsing_each_text(values: list[str | None], cut: int) -> None:
    column = pa.array(values, pa.string())[cut:]
    for form in (column, pa.chunked_array([column, column[:1]]), column.dictionary_encode()):
        parsed = parse_ids(form)
        expected = []
        for value in form.to_pylist():
            try:
                expected.append((*parse_id(value or ""), True))
            except ValueError:
                expected.append((0, 0, False))
        assert list(zip(parsed.writers, parsed.calls, parsed.valid, strict=True)) == expected


@pytest.mark.parametrize(
    ("values", "expected", "refused"),
    [
        pytest.param(["2013-01-01T10:00:00Z", None], ["2013-01-01T10:00:00+00:00", None], 0, id="texts with a zone"),
        pytest.param(["2013-01-01T05:00-05:00"], ["2013-01-01T10:00:00+00:00"], 0, id="a zone of its own"),
        pytest.param(["2013-01-01T10:00:00", "x", ""], [None] * 3, 3, id="texts that are no instants"),
        pytest.param([1.5, np.nan], ["1970-01-01T00:00:01.500000+00:00", None], 0, id="seconds"),
        pytest.param([1.7e12, np.inf], [None, None], 2, id="milliseconds are no seconds"),
        pytest.param([86_400], ["1970-01-02T00:00:00+00:00"], 0, id="whole seconds"),
        pytest.param(["0001-01-01T00:00:00+14:00"], [None], 1, id="in UTC it is before the year 1"),
        pytest.param(["9999-12-31T23:59:59-14:00"], [None], 1, id="in UTC it is after the year 9999"),
        pytest.param([2**53 + 1, 2**63 - 1], [None, None], 2, id="whole numbers that a float64 rounds"),
        pytest.param([-1e11, -(2**60)], [None, None], 2, id="seconds before the year 1"),
    ],
)
def test_times_of_events(values: list[Any], expected: list[str | None], refused: int) -> None:
    array = np.array(values, object if isinstance(values[0], str) else None)
    instants, count = event_times(array)
    assert [instant and instant.isoformat() for instant in instants.to_pylist()] == expected
    assert count == refused
