"""The journal: what was asked of models and what they answered, as Arrow segments that many may read while one writes.

Above statistics and below outcomes; it knows neither the server that writes nor the monitor that reads. Needs pyarrow.

    writing   PredictionWriter, Rows, Capture, treatments; SegmentWriter for segments with other columns
    reading   read, Reader
    files     DIR/predictions/<model>/…, see layout.py and docs/journal.md
"""

from skylane.journal.columns import Column, treatments
from skylane.journal.errors import (
    ColumnNotKept,
    DamagedSegment,
    InvalidArgument,
    JournalError,
    JournalNotFound,
    UnsupportedFormat,
)
from skylane.journal.prediction_writer import Counters, PredictionWriter
from skylane.journal.predictions import Capture, Rows
from skylane.journal.reader import Polled, Position, Reader
from skylane.journal.segment_writer import SegmentLimits, SegmentWriter
from skylane.journal.tables import read

__all__ = [
    "Capture",
    "Column",
    "ColumnNotKept",
    "Counters",
    "DamagedSegment",
    "InvalidArgument",
    "JournalError",
    "JournalNotFound",
    "Polled",
    "Position",
    "PredictionWriter",
    "Reader",
    "Rows",
    "SegmentLimits",
    "SegmentWriter",
    "UnsupportedFormat",
    "read",
    "treatments",
]
