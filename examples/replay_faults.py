"""Faults that a replay of flights can have: what a feed, a model or the world does wrong from a day on.

A fault is written `KIND@DATE`, or `KIND:COLUMN@DATE`: wind_speed_kmh@2013-07-01, missing:temp@2013-05-01.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

KM_OF_A_MILE: Final = 1.609344


@dataclass(frozen=True)
class Fault:
    """What is wrong from a day on."""

    kind: str
    column: str
    since: pd.Timestamp

    def __str__(self) -> str:
        return f"{self.kind}{f':{self.column}' * bool(self.column)}@{self.since:%Y-%m-%d}"


def _wind_in_kmh(rows: pd.DataFrame, _: str) -> None:
    rows["wind_speed"] *= KM_OF_A_MILE


def _temp_in_celsius(rows: pd.DataFrame, _: str) -> None:
    rows["temp"] = (rows["temp"] - 32) / 1.8


def _missing(rows: pd.DataFrame, column: str) -> None:
    rows[column] = np.nan


def _constant(rows: pd.DataFrame, column: str) -> None:
    rows[column] = rows[column].dropna().iloc[0] if rows[column].notna().any() else 0.0


def _swapped_clocks(rows: pd.DataFrame, _: str) -> None:
    rows[["dep_minute_of_day", "arr_minute_of_day"]] = rows[["arr_minute_of_day", "dep_minute_of_day"]].to_numpy()


INPUTS: Final[dict[str, Callable[[pd.DataFrame, str], None]]] = {
    "wind_speed_kmh": _wind_in_kmh,
    "temp_celsius": _temp_in_celsius,
    "missing": _missing,
    "constant": _constant,
    "swapped_clocks": _swapped_clocks,
}
"""Kind → what it does to a day's rows. With a column: missing, constant."""
OF_A_COLUMN: Final = ("missing", "constant")
MODELS: Final = ("worse_model", "leak")
"""Kinds that publish another version on that day: trained on shuffled labels, or on a column that knows the label."""
WORLD: Final = ("late_halved",)
"""Kinds that change what happens: half of the late flights come in time."""
KINDS: Final = (*INPUTS, *MODELS, *WORLD)


def parse(text: str) -> Fault:
    """Raises ValueError saying what was expected and received."""
    named, _, day = text.partition("@")
    kind, _, column = named.partition(":")
    if kind not in KINDS:
        raise ValueError(f"expected KIND@DATE with one of {', '.join(KINDS)}; received {text!r}")
    if bool(column) != (kind in OF_A_COLUMN):
        wanted = "KIND:COLUMN@DATE" if kind in OF_A_COLUMN else "KIND@DATE"
        raise ValueError(f"expected {wanted} for {kind}; received {text!r}")
    try:
        return Fault(kind, column, pd.Timestamp(date.fromisoformat(day), tz="UTC"))
    except ValueError as error:
        raise ValueError(f"expected a date as 2013-07-01 after the @; received {text!r}") from error


def apply(faults: Sequence[Fault], rows: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """Rows of one instant with all faults in the feed that began before it."""
    wrong = [fault for fault in faults if fault.kind in INPUTS and fault.since <= at]
    if not wrong:
        return rows
    rows = rows.copy()
    for fault in wrong:
        INPUTS[fault.kind](rows, fault.column)
    return rows


def labels(faults: Sequence[Fault], late: pd.Series, due_at: pd.Series) -> pd.Series:
    """Labels as the world gives them: every second late flight in time, from the day of such a fault on."""
    for fault in faults:
        if fault.kind in WORLD:
            changed = (due_at >= fault.since) & (np.arange(len(late)) % 2 == 0)
            late = late.where(~changed, 0.0)
    return late
