"""Instants of the engine's clock as everybody's time."""

import time
from collections.abc import Callable


def unix_ms(instant: float, clock: Callable[[], float]) -> int:
    """Milliseconds since 1970 of an instant on `clock`; 0 for one that never was."""
    return round((time.time() - clock() + instant) * 1000) if instant else 0
