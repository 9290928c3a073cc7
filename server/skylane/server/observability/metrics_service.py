"""The figures of this process or of all workers, and the pages made of them."""

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

import msgspec

from skylane.server.engine.statistics import BOUNDS_S
from skylane.server.observability.collector import ROWS_BOUNDS, Collector
from skylane.server.observability.logs import RecentEvents
from skylane.server.observability.snapshot import JournalSnapshot, PortSnapshot, ReceiptSnapshot, Snapshot, SpanSnapshot
from skylane.server.observability.worker_snapshots import WorkerSnapshots
from skylane.server.repository.repository import ModelStatus

OURS: Final = logging.getLogger("skylane.server")


class MetricsService:
    """Figures and pages. Belongs to one event loop."""

    def __init__(
        self,
        collector: Collector,
        status: Callable[[], Mapping[str, ModelStatus]],
        statuses: Mapping[str, str],
        *,
        ports: Callable[[], Iterable[PortSnapshot]],
        spans: Callable[[], SpanSnapshot],
        journals: Callable[[], Iterable[JournalSnapshot]] = list,
        receipts: Callable[[], Iterable[ReceiptSnapshot]] = list,
        transport: str,
        directory: Path | None = None,
        triton_names: bool = False,
    ) -> None:
        """`directory`: where workers exchange snapshots; None for a single process. `statuses`: see Metrics."""
        self._statuses, self._triton_names = statuses, triton_names
        self._build = {
            "version": version_of("skylane"),
            "python": platform.python_version(),
            "onnxruntime": version_of("onnxruntime"),
            "transport": transport,
        }
        self._collector, self._status, self._ports, self._spans = collector, status, ports, spans
        self._journals, self._receipts = journals, receipts
        self._recent = RecentEvents()
        self._workers = WorkerSnapshots(directory, self._own) if directory else None

    async def start(self) -> None:
        """Keep the latest log lines, and answer the other workers."""
        OURS.addHandler(self._recent)
        if self._workers:
            await self._workers.start()

    async def close(self) -> None:
        """Leave the last snapshot to the other workers."""
        OURS.removeHandler(self._recent)
        if self._workers:
            await self._workers.close()

    def figures(self) -> Awaitable[Snapshot]:
        """A snapshot of all workers, now."""
        return self._workers.figures() if self._workers else self._alone()

    def _own(self) -> Snapshot:
        return msgspec.structs.replace(
            self._collector.figures(self._status()),
            ports=list(self._ports()),
            spans=self._spans(),
            journals=list(self._journals()),
            receipts=list(self._receipts()),
            events=self._recent.events,
        )

    async def _alone(self) -> Snapshot:
        return self._own()

    async def snapshot(self, *, ready: bool) -> bytes:
        """The figures of all workers as JSON in one line, with the bounds of their histograms."""
        return msgspec.json.encode(
            {
                "at": time.time(),
                "ready": ready,
                "build": self._build,
                "statuses": self._statuses,
                "bounds_s": BOUNDS_S,
                "rows_bounds": ROWS_BOUNDS,
                "figures": (await self.figures()).without_sizes(),
            }
        )

    def pages(self) -> Callable[[str], Awaitable[tuple[bytes, str]]]:
        """A function from an Accept field to the page of metrics and its media type."""
        # Only now: they take memory that a server without HTTP does not need.
        from skylane.server.observability.exposition import media_type
        from skylane.server.observability.metrics import Metrics

        metrics = Metrics(self._statuses, self._build, triton_names=self._triton_names)

        async def page(accept: str) -> tuple[bytes, str]:
            kind, pieces = media_type(accept), list[bytes]()
            for piece in metrics.slices(await self.figures(), kind):
                pieces.append(piece)
                await asyncio.sleep(0)  # let others run
            return b"".join(pieces), kind

        return page
