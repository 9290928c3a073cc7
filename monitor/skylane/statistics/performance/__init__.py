"""How well a model does: metrics from rows and labels, merged over workers, with intervals over blocks of time.

Arrays in, dataclasses out. Instants are seconds since 1970 (UTC); chance arrives as a NumPy generator.
`docs/performance-statistics.md` has the definitions and the figures that prove them.
"""

from skylane.statistics.performance.block_metrics import metric_names
from skylane.statistics.performance.decomposition import LossChange, change_by_cells, loss_change, total
from skylane.statistics.performance.horizon import (
    DelayCurve,
    Horizon,
    TimedRows,
    delay_curve,
    horizon_by_group,
    label_horizon,
)
from skylane.statistics.performance.intervals import BLOCKS_MIN, Interval, block_interval
from skylane.statistics.performance.nowcast import Corrected, Nowcast, nowcast
from skylane.statistics.performance.nowcast_mean import nowcast_mean
from skylane.statistics.performance.segments import Segment, worst_segments
from skylane.statistics.performance.sums import (
    ClassificationFigures,
    ClassificationSums,
    RegressionFigures,
    RegressionSums,
)
from skylane.statistics.performance.unlabelled import (
    Calibration,
    Expected,
    Kept,
    TrackRecord,
    expected_figures,
    track_record,
)

__all__ = [
    "BLOCKS_MIN", "Calibration", "ClassificationFigures", "ClassificationSums", "Corrected", "DelayCurve",
    "Expected", "Horizon", "Interval", "Kept", "LossChange", "Nowcast", "RegressionFigures", "RegressionSums",
    "Segment", "TimedRows", "TrackRecord", "block_interval", "change_by_cells", "delay_curve",
    "expected_figures", "horizon_by_group", "label_horizon", "loss_change", "metric_names", "nowcast",
    "nowcast_mean", "total", "track_record", "worst_segments",
]  # fmt: skip
