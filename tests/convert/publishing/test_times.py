"""Times of rows: what has a zone is taken as it is, what has none is refused by name."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from skylane.convert import BadRows
from skylane.convert.errors import BadArgument
from skylane.convert.publishing.times import block_seconds, seconds_of

NOON: float = 1_777_809_600.0
"""3 May 2026, 12:00 UTC."""


@pytest.mark.parametrize(
    ("values", "zone"),
    [
        pytest.param(["2026-05-03T12:00:00Z"], None, id="ISO 8601 in UTC"),
        pytest.param(["2026-05-03 14:00:00+02:00"], None, id="with an offset"),
        pytest.param(["2026-05-03T12:00:00Z", "2026-05-03T08:00:00-04:00"], None, id="with several offsets"),
        pytest.param(["2026-05-03 14:00"], "Europe/Zurich", id="naive, with its zone"),
        pytest.param(["2026-05-03T12:00:00Z"], "Europe/Zurich", id="a zone of its own counts"),
        pytest.param([NOON], None, id="seconds"),
        pytest.param([NOON * 1000], None, id="milliseconds"),
        pytest.param(pd.to_datetime(["2026-05-03 14:00"]).tz_localize("Europe/Zurich"), None, id="instants"),
        pytest.param(np.array(["2026-05-03T12:00"], "datetime64[s]"), "UTC", id="NumPy's, which have no zone"),
    ],
)
def test_times(values: Any, zone: str | None) -> None:
    assert set(seconds_of(pd.Series(values), zone, "at").tolist()) == {NOON}


def test_an_hour_that_comes_twice_is_its_first_and_one_that_does_not_come_is_moved() -> None:
    twice, never = "2026-10-25 02:30", "2026-03-29 02:30"
    assert seconds_of(pd.Series([twice]), "Europe/Zurich", "at") == seconds_of(
        pd.Series([f"{twice}+02:00"]), None, "at"
    )
    assert seconds_of(pd.Series([never]), "Europe/Zurich", "at") == seconds_of(
        pd.Series(["2026-03-29T03:00+02:00"]), None, "at"
    )


@pytest.mark.parametrize(
    ("values", "zone", "error", "words"),
    [
        pytest.param(["2026-05-03 12:00"], None, BadRows, "at: times such as '2026-05-03 12:00' have no", id="naive"),
        pytest.param(["2026-05-03T12:00Z", "2026-05-03 12:00"], None, BadRows, "at: expected times", id="some naive"),
        pytest.param(["soon"], None, BadRows, "received 'soon'", id="no time"),
        pytest.param(["2026-05-03T12:00Z", None], None, BadRows, "at: row 1 has no time", id="a gap"),
        pytest.param([17.0], None, BadRows, "expected seconds or milliseconds since 1970", id="hours"),
        pytest.param(["2026-05-03 12:00"], "Europe/Bern", BadArgument, "'Europe/Bern' is not known", id="zone"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(values: Any, zone: str | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as refused:
        seconds_of(pd.Series(values), zone, "at")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1d", 86400), ("6h", 21600), ("15m", 900), ("30s", 30), ("2w", 1209600)]
)
def test_lengths_of_blocks(text: str, seconds: float) -> None:
    assert block_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0d", "1 day", "1y", "-1d"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(BadArgument, match="expected a length such as 1d"):
        block_seconds(text)
