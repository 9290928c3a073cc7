"""Definitions are checked when they are written; what cannot be data is refused with what to write instead."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from skylane.features import (
    DefinitionError,
    Expression,
    Parquet,
    View,
    at,
    col,
    days,
    hour,
    hours,
    last,
    mean,
    minutes,
    text,
    time,
    unix_seconds,
    where,
)
from skylane.features.compiled import CompiledView
from skylane.features.evaluation.expressions import evaluate

TABLE: dict[str, Any] = {
    "entity": "tail", "source": Parquet("p.parquet"), "happened_at": "h", "known_at": "k", "ttl": days(1),
    "features": {"seats": col("seats")},
}  # fmt: skip
WINDOW = TABLE | {"tile": minutes(15), "features": {"late": mean(col("delay") > 15, over=hours(3))}}


@pytest.mark.parametrize(
    ("write", "instead"),
    [
        pytest.param(lambda: 1 if col("x") > 0 else 2, "where", id="if"),
        pytest.param(lambda: col("x") > 0 and col("y") > 0, "a & b", id="and"),
        pytest.param(lambda: 0 < col("x") < 3, "a & b", id="a chain of comparisons"),
        pytest.param(lambda: "a" in text("x"), "is_in", id="in"),  # type: ignore[operator]
        pytest.param(lambda: math.log(col("x")), "log", id="functions of math"),
        pytest.param(lambda: col("x").apply(len), "apply", id="a method of pandas"),
        pytest.param(lambda: col("x") ** 2, "x \\* x", id="a power"),
        pytest.param(lambda: col("x") % 7, "floor", id="a remainder"),
        pytest.param(lambda: col("x") // 7, "floor", id="whole division"),
        pytest.param(lambda: col("x")[0], "Write the value with", id="an index"),
        pytest.param(lambda: sum(col("x")), "Write the value with", id="a loop"),
        pytest.param(lambda: col("x") + len, "Write the value with", id="a function"),  # type: ignore[operator]
        pytest.param(lambda: col("x") + math.nan, "finite", id="not a number"),
        pytest.param(lambda: text("x") + 1, "expected a number, received a text", id="a text that is added"),
        pytest.param(lambda: text("x") == 1, "expected a text, received a number", id="different types compared"),
        pytest.param(lambda: hour(time("x"), "New York"), "America/New_York", id="a time zone that does not exist"),
        pytest.param(lambda: text("x").is_in("abc"), "list", id="a text in place of a list"),
        pytest.param(lambda: mean(text("x"), over=hours(1)), "share", id="the mean of texts"),
        pytest.param(lambda: mean(col("x"), over=3), "hours\\(3\\)", id="a window that is no duration"),  # type: ignore[arg-type]
        pytest.param(lambda: last(col("x"), n=0, over=hours(1)), "1 to 100", id="the last none"),
    ],
)
def test_what_no_data_can_hold_is_refused(write: Callable[[], object], instead: str) -> None:
    with pytest.raises(DefinitionError, match=instead):
        write()


def test_functions_of_numpy_are_refused() -> None:
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.log(col("x"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"name": "Planes"}, "lower-case", id="a name with a capital"),
        pytest.param({"known_at": None}, "known='event'", id="neither known_at nor known"),
        pytest.param({"known": "event"}, "known='event'", id="both known_at and known"),
        pytest.param({"known_at": None, "known": "now"}, "'event'", id="known some other way"),
        pytest.param({"happened_at": None}, "happened_at", id="no instant"),
        pytest.param({"ttl": None}, "ttl", id="no ttl"),
        pytest.param({"entity": ()}, "entity", id="no entity"),
        pytest.param({"source": "p.parquet"}, "Parquet\\(path\\)", id="a source that is a text"),
        pytest.param({"source": Parquet("p", time_zone="EST5")}, "time_zone", id="an unknown time zone"),
        pytest.param({"features": {}}, "1 to 1000", id="no features"),
        pytest.param({"features": {"x": 3}}, "expected an expression", id="a feature that is a number"),
        pytest.param({"features": {"x": time("t")}}, "unix_seconds", id="a feature that is a time"),
        pytest.param({"features": {"x": unix_seconds(at())}}, "without", id="a stored value that depends on now"),
        pytest.param({"features": {"x": col("t"), "y": text("t")}}, "as number and", id="one column, two types"),
        pytest.param({"tile": minutes(5)}, "belong to windows", id="tiles of a table"),
        pytest.param({"features": TABLE["features"] | WINDOW["features"]}, "two views", id="aggregates beside columns"),
        pytest.param({"source": None}, "remove entity, times and ttl", id="an on-demand view with an entity"),
        pytest.param(WINDOW | {"tile": None}, "tile", id="a window without tiles"),
        pytest.param(WINDOW | {"tile": minutes(7)}, "multiple of the tile", id="tiles that do not divide the window"),
        pytest.param(WINDOW | {"tile": timedelta(seconds=1)}, "longer tile", id="too many tiles"),
    ],
)  # fmt: skip
def test_views_that_cannot_be_used_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        View(**({"name": "planes"} | TABLE | changes))


def test_a_view_is_the_same_after_it_was_written_as_data() -> None:
    for arguments in (TABLE, WINDOW):
        view = View("planes", **arguments).compiled
        again = CompiledView.from_json(view.as_json())
        assert (again, again.hash) == (view, view.hash)


def test_every_part_of_a_definition_changes_its_hash() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"ttl": days(2)}, {"known_at": "k2"}, {"happened_at": "h2"}, {"entity": "n"}, {"known_ahead": True},
        {"source": Parquet("q")}, {"source": Parquet("p.parquet", time_zone="UTC")}, {"features": {"seats": col("s")}},
        {"features": {"chairs": col("seats")}}, {"features": {"seats": col("seats") + 1}}, WINDOW,
        WINDOW | {"tile": minutes(30)}, WINDOW | {"event": "flight"},
    ]  # fmt: skip
    assert len({View("planes", **(TABLE | change)).compiled.hash for change in changes}) == len(changes)


@pytest.mark.parametrize(
    "form", [{"op": "system", "args": []}, {"op": "add", "args": [{"number": 1}]}, {"op": "add", "args": ["x", "y"]}]
)
def test_data_that_is_no_expression_is_refused(form: dict[str, Any]) -> None:
    view = View("planes", **TABLE).compiled.as_json()
    view["features"][0]["tree"] = form
    with pytest.raises(DefinitionError, match=r"planes\.seats"):
        CompiledView.from_json(view)


NAN = float("nan")


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        pytest.param(col("x") / col("y"), [2.0, NAN, NAN], id="a division by 0 is missing"),
        pytest.param(col("x") > 1, [1.0, 1.0, NAN], id="a comparison with something missing is missing"),
        pytest.param((col("x") > 1) & (col("y") > 1), [0.0, 0.0, NAN], id="and"),
        pytest.param(~(col("x") > 3), [1.0, 0.0, NAN], id="not"),
        pytest.param(col("x").fill(-1), [2.0, 4.0, -1.0], id="filled"),
        pytest.param(where(col("y") > 0, col("x"), 0), [2.0, 0.0, NAN], id="where"),
        pytest.param(text("t") == "UA", [1.0, 0.0, NAN], id="equal texts"),
        pytest.param(text("t").lower().is_in(["ua", "b6"]), [1.0, 1.0, NAN], id="one of several texts"),
        pytest.param(text("t").is_missing(), [0.0, 0.0, 1.0], id="missing"),
        pytest.param(hour(time("at"), "America/New_York"), [2.0, 1.0, 0.0], id="hours around the end of summer time"),
        pytest.param(1 - col("x"), [-1.0, -3.0, NAN], id="a number first"),
        pytest.param(-col("y"), [-1.0, 0.0, -1.0], id="no negative zero"),
    ],
)
def test_values(expression: Expression, values: list[float]) -> None:
    hours_utc = np.array(["2013-11-03T07:30", "2013-11-03T06:30", "2013-11-03T04:30"], "datetime64[us]")
    instants = hours_utc.astype(np.int64)
    columns = {
        "x": np.array([2.0, 4.0, NAN]), "y": np.array([1.0, 0.0, 1.0]),
        "t": np.array(["UA", "B6", None], object), "at": instants,
    }  # fmt: skip
    result = evaluate(expression.tree, columns, instants)
    np.testing.assert_array_equal(result, values)
    assert not np.signbit(result[result == 0]).any()
    for row in range(3):
        alone = evaluate(expression.tree, {n: c[row : row + 1] for n, c in columns.items()}, instants[row : row + 1])
        assert alone.tobytes() == result[row : row + 1].tobytes(), "a row's value depends on that row alone"
