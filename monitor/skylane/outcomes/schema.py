"""Outcomes as Arrow tables: the columns of the log, of what is read from it, and of what a sender hands in."""

from typing import Final

import pyarrow as pa

TIME: Final = pa.timestamp("us", tz="UTC")

_KEY: Final = (
    pa.field("prediction_id", pa.string()),
    pa.field("row", pa.uint32()),
    pa.field("entity", pa.string()),
    pa.field("event_at", TIME),
)
"""Which prediction an outcome belongs to: `prediction_id` and `row`, or `entity` and `event_at`."""

_CONTENT: Final = (pa.field("label", pa.string()), pa.field("value", pa.float64()))

_TIMES: Final = (pa.field("happened_at", TIME), pa.field("known_at", TIME))

SUBMISSION: Final = pa.schema([*_KEY, *_CONTENT, *_TIMES])
"""What a sender hands in."""

LOG: Final = pa.schema(
    [
        *SUBMISSION,
        pa.field("recorded_at", TIME, nullable=False),
        pa.field("sender", pa.string(), nullable=False),
        pa.field("drops_from", TIME),
    ]
)
"""One record of the log. With `drops_from` it is a tombstone: it drops every record of its `sender` that was recorded
from that instant on and not after the tombstone itself."""

OUTCOMES: Final = pa.schema(
    [
        *SUBMISSION,
        pa.field("recorded_at", TIME),
        pa.field("sender", pa.string()),
        pa.field("corrections", pa.uint32()),
    ]
)
"""What `read` returns: one row for each key."""

FROM_FILE: Final = "(file)"
"""The sender of outcomes that a command added to the directory. No token can have this name."""
WITHOUT_TOKEN: Final = "(loopback)"
"""The sender of outcomes that a server without tokens received."""
