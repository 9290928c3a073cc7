"""The monitor's port: the page, JSON and Prometheus metrics. Reads the latest views; never waits for a pass.

It listens on the loopback interface unless told otherwise, has no tokens, and changes nothing.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from skylane.monitor.metrics import exposition
from skylane.monitor.page.render import BLOCKS_SHOWN, json_document, page
from skylane.monitor.view import ModelView

CONNECTIONS_MAX: Final = 32
"""Open at once; a connection beyond is closed."""
IDLE_S_MAX: Final = 10.0
BLOCKS_MAX: Final = 1000
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_MODEL: Final = re.compile(r"/api/models/([^/]+)")

Views = Callable[[], Sequence[ModelView]]
"""Gives the views of the latest pass."""


class MonitorServer(ThreadingHTTPServer):
    """Answers in a thread for each connection, of which there are at most so many."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], views: Views) -> None:
        self.views = views
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.loopback = address[0] in LOOPBACK
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, or close the connection if there are too many."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: MonitorServer
    server_version = "skylane-monitor"
    sys_version = ""
    timeout = IDLE_S_MAX

    def do_GET(self) -> None:
        """Answer a path, or say that it does not exist."""
        if self.server.loopback and not _is_local(self.headers.get("host", "")):
            self._send(403, "text/plain", "the Host header names another machine\n")
            return
        parts = urlsplit(self.path)
        views = self.server.views()
        if parts.path == "/":
            self._page(views, parse_qs(parts.query))
        elif parts.path == "/metrics":
            self._send(200, "text/plain; version=0.0.4", exposition(views))
        elif parts.path == "/api/models":
            self._send(200, "application/json", _json(json_document(views)))
        elif parts.path == "/healthz":
            self._send(200, "text/plain", "ok\n")
        elif found := _MODEL.fullmatch(parts.path):
            named = [view for view in views if view.model == found[1]]
            if named:
                self._send(200, "application/json", _json(named[0].as_json()))
            else:
                self._send(404, "application/json", _json({"error": f"no rows of a model {found[1]!r} are known"}))
        else:
            self._send(404, "text/plain", "paths: / /metrics /api/models /api/models/<model> /healthz\n")

    def _page(self, views: Sequence[ModelView], query: dict[str, list[str]]) -> None:
        model, blocks = query.get("model", [""])[-1], query.get("blocks", [str(BLOCKS_SHOWN)])[-1]
        chosen = model if any(view.model == model for view in views) else None
        if model and chosen is None:
            self._send(404, "text/plain", "no rows of this model are known\n")
            return
        count = min(int(blocks), BLOCKS_MAX) if re.fullmatch(r"[1-9][0-9]{0,5}", blocks) else BLOCKS_SHOWN
        self._send(200, "text/html; charset=utf-8", page(views, chosen=chosen, served=True, blocks=count))

    def _send(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.send_header("cache-control", "no-store")
        self.send_header("x-content-type-options", "nosniff")
        self.send_header("content-security-policy", _POLICY)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """No line for each request."""


def _is_local(host: str) -> bool:
    """Whether a browser that sends this Host header was pointed at this machine by its own name."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return name.strip("[]") in LOOPBACK


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
