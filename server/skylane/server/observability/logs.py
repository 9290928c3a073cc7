"""How the log looks: lines for people, or one JSON object a line for machines; and the latest lines, for the page.

There is one line for each event in the life of the server, a model or a worker, and for faults of ours one in so many
seconds. Requests as such are counted by metrics, and logged only by the access log, which is off unless asked for.
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
"""Attribute of a record that tells of one request: its id."""
CALL_TAIL: Final = "call_tail"
"""The same of one whose message had an id: the bytes at the end of its reply, which hold it."""
FIELDS: Final = "fields"
"""Attribute of a record that has a sentence for people, and fields of its own for machines."""

CORE_VERBOSITY: Final = "GRPC_VERBOSITY"

ACCESS: Final = "access"
"""Logger of lines about single requests; not one of the server's own, whose lines the page shows."""

TEXT_MAX: Final = 500
"""Characters of a line that the page shows."""


OURS: Final = logging.getLogger("skylane.server")


def set_up(level: str, form: Format, *, supervised: bool = False) -> None:
    """Log to standard error from now on, and nobody else there. `supervised`: several processes write there.

    Before grpc is imported: its C core writes there by itself, in lines of its own, and looks into the environment once
    for how much. What stays for people are its errors; an operator who has set the variable gets what it says.
    """
    os.environ.setdefault(CORE_VERBOSITY, "NONE" if form == "json" else "ERROR")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Console(supervised=supervised))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(ACCESS).setLevel(logging.INFO)  # who asked for these lines wants them at every level
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def tell_why_it_ends(text: str, form: Format) -> None:
    """The last words of a process that cannot go on."""
    if form == "json":
        OURS.critical("%s", text)
    else:
        print("\n".join(map(escaped, text.split("\n"))), file=sys.stderr)


def _uncaught(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """What Python would print: it is a line like every other."""
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    OURS.critical("uncaught exception: %s", error, exc_info=(kind, error, where))


_CONTROL: Final = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that end a line, move the cursor of a terminal, or turn the direction of the text."""
_ESCAPED: Final = {code: repr(chr(code))[1:-1] for code in _CONTROL}
_ESCAPED_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _CONTROL if code >= 0x7F}
"""What json.dumps leaves as it is."""
_CONTINUED: Final = "  | "
"""Begins each line of a traceback, so that none can be taken for a line of the log."""


def escaped(text: str) -> str:
    """On one line, whatever names from a request or a graph are in it."""
    return text if text.isprintable() else text.translate(_ESCAPED)


class Console(logging.Formatter):
    """For people. A message is one line; tracebacks follow on lines of their own, with a mark before each."""

    def __init__(self, *, supervised: bool = False) -> None:
        who = " [%(process)d]" if supervised else ""
        super().__init__(f"%(asctime)s %(levelname)-7s{who} %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler may have kept its own there
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
        told: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": record.process,
            "logger": record.name,
            "text": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if request_id := request_id_of(record):
            told["request_id"] = request_id
        if record.exc_info:
            told["traceback"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(told, ensure_ascii=False).translate(_ESCAPED_IN_JSON)


def request_id_of(record: logging.LogRecord) -> str:
    """The id of the request that a line tells of, or nothing. That of its metadata goes before that of its message."""
    if sent := getattr(record, REQUEST_ID, ""):
        return str(sent)
    return request_ids.of_tail(getattr(record, CALL_TAIL, b""))


class Recent(logging.Handler):
    """Keeps the latest lines of the server's own loggers."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[Event] = deque(maxlen=EVENTS_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        pid = record.process or 0
        self._kept.append(Event(record.created, pid, record.levelname.lower(), escaped(record.getMessage())[:TEXT_MAX]))

    @property
    def events(self) -> list[Event]:
        """Oldest first."""
        return list(self._kept)
