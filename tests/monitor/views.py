"""Views as a pass makes them, by hand."""

from typing import Any

from skylane.monitor.view import Alarm, Cell, DriftBlock, Figures, Measured, ModelView

DAY_US = 86_400_000_000


def figures(block: int | None = None, rows: int = 100, **more: Any) -> Figures:
    measures = {
        "log_loss": Measured(0.4, 0.5, 0.45, 0.55),
        "positive_share": Measured(0.2, 0.28, 0.2, 0.3),
        "skill": Measured(0.1, 0.1),
    }
    values: dict[str, Any] = {"rows": rows, "labelled": 43, "to_come": 0.57, "measures": measures, "block": block}
    return Figures(**values | {"words": "57 % of labels still to come"} | more)


def view(model: str = "flights", **more: Any) -> ModelView:
    cells = (
        Cell("wind_speed", 4, 2.0, 1.5, 0.0, "wind_speed, 2013-07-01: PSI 2.00"),
        Cell("temp", 0, 0.1, 0.1, 0.0, "temp"),
    )
    quiet = tuple(Cell(cell.column, 0, 0.0, 0.0, 0.0, cell.column) for cell in cells)
    values: dict[str, Any] = {
        "model": model, "at": 3 * DAY_US, "block_us": DAY_US, "task": "classifier", "headline": "log_loss",
        "positive": "late", "blocks": (figures(0), figures(DAY_US, closed=False)),
        "versions": (figures(version=1), figures(version=2, rows=7)),
        "segments": (figures(column="carrier", value="<b>AA</b>"),),
        "drift": (DriftBlock(0, 1, 100, True, "alarm", "wind_speed ×1.61", ("temp moves slowly",), cells),
                  DriftBlock(DAY_US, 1, 100, False, "ok", "", (), quiet)),
        "alarms": (Alarm(0, 1, DAY_US, ("wind_speed",), "unit", "wind_speed ×1.61 since 12:00: mph → km/h?"),),
        "notes": ("the reference has less than a year: season and drift cannot be told apart",),
        "horizon": "99 % of labels are known after 8 h.",
    }  # fmt: skip
    return ModelView(**values | more)
