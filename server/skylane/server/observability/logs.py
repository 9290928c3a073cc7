"""The format of the log: lines for people, or one JSON object per line; and the latest lines, for the live page.

There is one line for each event of the server, a model or a worker; internal errors are logged at most once in some
seconds. Requests are counted by metrics, and logged only by the access log, which is off by default.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal

from skylane.server.core import request_ids
from skylane.server.observability.snapshot import EVENTS_MAX, Event

Format = Literal["console", "json"]

REQUEST_ID: Final = "request_id"
"""Attribute of a record about one request: its id."""
CALL_TAIL: Final = "call_tail"
"""Attribute of a record about a request whose message has an id: the end of its reply, which contains the id."""
FIELDS: Final = "fields"
"""Attribute of a record with the fields that the JSON format adds to the text."""

CORE_VERBOSITY: Final = "GRPC_VERBOSITY"

ACCESS: Final = "access"
"""Logger of the access log. Not below the server's own logger, whose lines the live page shows."""

TEXT_MAX: Final = 500
"""Most characters of a line on the live page."""


OURS: Final = logging.getLogger("skylane.server")


def set_up(level: str, form: Format, *, supervised: bool = False) -> None:
    """Log to standard error from now on. `supervised`: several processes write there.

    Call it before grpc is imported: gRPC's C core also writes to standard error, in its own format, and reads its
    verbosity from the environment once. It is set to errors or nothing, unless the operator has set it.
    """
    os.environ.setdefault(CORE_VERBOSITY, "NONE" if form == "json" else "ERROR")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Console(supervised=supervised))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(ACCESS).setLevel(logging.INFO)  # the access log is on or off, whatever the level
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def report_fatal(text: str, form: Format) -> None:
    """Report why a process that cannot continue ends."""
    if form == "json":
        OURS.critical("%s", text)
    else:
        print("\n".join(map(escaped, text.split("\n"))), file=sys.stderr)


def _uncaught(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """Log what Python would print."""
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    OURS.critical("uncaught exception: %s", error, exc_info=(kind, error, where))


_CONTROL: Final = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that end a line, move a terminal's cursor, or reverse the direction of text."""
_ESCAPED: Final = {code: repr(chr(code))[1:-1] for code in _CONTROL}
_ESCAPED_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _CONTROL if code >= 0x7F}
"""Those that json.dumps does not escape."""
_CONTINUED: Final = "  | "
"""Prefix of each line of a traceback, so that it cannot be mistaken for a log line."""


def escaped(text: str) -> str:
    """The text in one line, whatever names from a request or a graph it contains."""
    return text if text.isprintable() else text.translate(_ESCAPED)


class Console(logging.Formatter):
    """For people. A message is one line; the lines of a traceback follow, each with a prefix."""

    def __init__(self, *, supervised: bool = False) -> None:
        process = " [%(process)d]" if supervised else ""
        super().__init__(f"%(asctime)s %(levelname)-7s{process} %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler may have cached its own format
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        record.message = escaped(record.message)
        request_id = request_id_of(record)
        return super().formatMessage(record) + (f" (request {request_id!r})" if request_id else "")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        return _marked(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's own name
        return _marked(stack_info)


def _marked(text: str) -> str:
    return "\n".join(_CONTINUED + escaped(line) for line in text.split("\n"))


class JsonLines(logging.Formatter):
    """For machines: `at`, `level`, `process`, `logger`, `text`; `request_id` and `traceback` where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": record.process,
            "logger": record.name,
            "text": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if request_id := request_id_of(record):
            entry["request_id"] = request_id
        if record.exc_info:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(entry, ensure_ascii=False).translate(_ESCAPED_IN_JSON)


def request_id_of(record: logging.LogRecord) -> str:
    """The id of the request that a record is about, or nothing. The id in metadata has priority over that in the
    message."""
    if sent := getattr(record, REQUEST_ID, ""):
        return str(sent)
    return request_ids.of_tail(getattr(record, CALL_TAIL, b""))


class RecentEvents(logging.Handler):
    """Keeps the latest lines of the server's own loggers."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        pid = record.process or 0
        self._events.append(
            Event(record.created, pid, record.levelname.lower(), escaped(record.getMessage())[:TEXT_MAX])
        )

    @property
    def events(self) -> list[Event]:
        """Oldest first."""
        return list(self._events)
