"""Figures of models → Prometheus's text format. Pure.

Values are gauges about the latest block that has ended, so that an alert compares them with thresholds directly.
Names of segments never become labels: there may be many.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from skylane.monitor.view import Figures, Measured, ModelView

HELP: Final = {
    "skylane_monitor_pass_timestamp_seconds": "When the figures were computed.",
    "skylane_monitor_block_rows": "Rows of the latest block that has ended.",
    "skylane_monitor_block_start_timestamp_seconds": "Start of the latest block that has ended.",
    "skylane_monitor_labels_to_come_ratio": "Share of its labels that are still to come.",
    "skylane_monitor_performance": "A measure of the latest block that has ended, corrected for labels to come.",
    "skylane_monitor_performance_low": "Lower end of its 95 % interval.",
    "skylane_monitor_performance_high": "Upper end of its 95 % interval.",
    "skylane_monitor_skill": "Share of the base rate's loss that a version saves, over all blocks with all labels.",
    "skylane_monitor_skill_low": "Lower end of its 95 % interval.",
    "skylane_monitor_skill_high": "Upper end of its 95 % interval.",
    "skylane_monitor_auc": "AUC of a version, over all blocks with all labels.",
    "skylane_monitor_auc_low": "Lower end of its 95 % interval.",
    "skylane_monitor_auc_high": "Upper end of its 95 % interval.",
    "skylane_monitor_drift_alarm": "Whether the latest block that has ended raised an alarm: 1 or 0.",
    "skylane_monitor_drift_columns": "Columns of it that are unlike the reference.",
    "skylane_monitor_excluded_rows": "Rows that count in no figure, by reason.",
    "skylane_monitor_unusable_labels": "Rows with an outcome whose label is no class of the model.",
    "skylane_monitor_problems": "Problems of the model's configuration or data.",
}


def exposition(views: Sequence[ModelView]) -> str:
    """The response to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Views(views))
    return generate_latest(registry).decode()


class _Views(Collector):
    def __init__(self, views: Sequence[ModelView]) -> None:
        self._views = views

    def collect(self) -> Iterator[Metric]:
        families: dict[tuple[str, tuple[str, ...]], GaugeMetricFamily] = {}
        for view in self._views:
            for name, labels, value in _samples(view):
                key = (name, tuple(labels))
                family = families.setdefault(key, GaugeMetricFamily(name, HELP[name], labels=list(labels)))
                family.add_metric(list(labels.values()), value)
        yield from families.values()


def _samples(view: ModelView) -> Iterator[tuple[str, dict[str, str], float]]:
    model = {"model": view.model}
    yield "skylane_monitor_pass_timestamp_seconds", model, view.at / 1e6
    yield "skylane_monitor_problems", model, len(view.problems)
    yield "skylane_monitor_unusable_labels", model, view.unusable_labels
    for reason, rows in view.excluded.items():
        yield "skylane_monitor_excluded_rows", {**model, "reason": reason}, rows
    ended = [block for block in view.blocks if block.closed]
    if ended:
        yield from _performance(model, ended[-1])
    for figures in view.versions:
        labels = {**model, "version": str(figures.version), "arm": figures.arm or ""}
        for measure in ("skill", "auc"):
            found = figures.measures.get(measure, Measured())
            for name, value in (("", found.will_be), ("_low", found.low), ("_high", found.high)):
                if value is not None:
                    yield f"skylane_monitor_{measure}{name}", labels, value
    latest = {block.version: block for block in view.drift if block.closed}
    for version, block in latest.items():
        labels = {**model, "version": str(version)}
        yield "skylane_monitor_drift_alarm", labels, float(block.status == "alarm")
        yield "skylane_monitor_drift_columns", labels, float(sum(cell.shade >= 3 for cell in block.cells))


def _performance(model: dict[str, str], figures: Figures) -> Iterator[tuple[str, dict[str, str], float]]:
    yield "skylane_monitor_block_rows", model, figures.rows
    yield "skylane_monitor_block_start_timestamp_seconds", model, (figures.block or 0) / 1e6
    if figures.to_come is not None:
        yield "skylane_monitor_labels_to_come_ratio", model, figures.to_come
    for measure, measured in figures.measures.items():
        labels = {**model, "measure": measure}
        for name, value in (("", measured.will_be), ("_low", measured.low), ("_high", measured.high)):
            if value is not None:
                yield f"skylane_monitor_performance{name}", labels, value
