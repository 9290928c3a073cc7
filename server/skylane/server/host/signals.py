"""SIGTERM and SIGINT as an event."""

import asyncio
import signal


def asked_to_stop() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT from now on. Needs a running event loop."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked
