"""What the server tells of itself, put together for the composition root."""

import platform
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version as version_of
from pathlib import Path

from server.observe.figures import Figures
from server.observe.ledger import Ledger
from server.observe.shared import Shared
from server.repository.repository import ModelStatus


class Telling:
    """This process's figures, or those of all workers, and the page of metrics. Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        status: Callable[[], Mapping[str, ModelStatus]],
        statuses: Mapping[str, str],
        *,
        transport: str,
        directory: Path | None = None,
        triton_names: bool = False,
    ) -> None:
        """`directory`: where workers find each other; None for a process alone. `statuses`: see Metrics."""
        self._statuses, self._triton_names = statuses, triton_names
        self._build = {
            "version": version_of("skylane"),
            "python": platform.python_version(),
            "onnxruntime": version_of("onnxruntime"),
            "transport": transport,
        }
        self._own: Callable[[], Figures] = lambda: ledger.figures(status())
        self._shared = Shared(directory, self._own) if directory else None

    async def start(self) -> None:
        """Let the other workers ask."""
        if self._shared:
            await self._shared.start()

    async def close(self) -> None:
        """Leave the last figures to the other workers."""
        if self._shared:
            await self._shared.close()

    def figures(self) -> Awaitable[Figures]:
        """Of all workers, now."""
        return self._shared.figures() if self._shared else self._alone()

    async def _alone(self) -> Figures:
        return self._own()

    def pages(self) -> Callable[[str], Awaitable[tuple[bytes, str]]]:
        """Makes the page of metrics and its media type, for whoever accepts this."""
        from server.observe.metrics import Metrics  # only now: it costs memory that gRPC alone does not need

        metrics = Metrics(self._statuses, self._build, triton_names=self._triton_names)

        async def page(accept: str) -> tuple[bytes, str]:
            return metrics.page(await self.figures(), accept)

        return page
