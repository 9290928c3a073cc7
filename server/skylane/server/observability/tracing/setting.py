"""Starts tracing if it is configured. Imports OpenTelemetry only then, and says what to install if it is missing."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings

if TYPE_CHECKING:
    from skylane.server.observability.tracing.export import Tracing


def tracing_of(settings: Settings, clock: Callable[[], float], codes: Mapping[str, int]) -> "Tracing | None":
    """Tracing by the settings, with its thread started; None if it is off. `codes`: see Tracer. Raises CannotStart."""
    if settings.traces == "off":
        return None
    try:
        from skylane.server.observability.tracing.export import Tracing
        from skylane.server.observability.tracing.exporters import exporter_of

        return Tracing(partial(exporter_of, settings.traces), settings.trace_sample, clock, codes)
    except ImportError as error:
        raise CannotStart(
            f"traces: {settings.traces} needs OpenTelemetry, which is not installed ({error}): "
            "pip install 'skylane[server,tracing]', or leave --traces off"
        ) from error
