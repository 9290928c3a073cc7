"""Pictures of the monitor's page, for the documentation: python tools/monitor_screenshots.py docs/images

Serves the page of a state, as `skylane monitor --once` left it after a replay, as known at an instant, and takes it
with headless Chromium in light, in dark and as wide as a phone. Needs what tools/screenshots.py needs.
"""

import argparse
import threading
from pathlib import Path

from screenshots import browser
from skylane.monitor.http import MonitorServer
from skylane.monitor.instants import instant_us
from skylane.monitor.state import State
from skylane.monitor.views import Selection, views_of

AT = "2013-07-12T22:00:00Z"


def main() -> int:
    """Write the pictures. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--state", type=Path, default=Path("monitor.sqlite"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--as-known", default=AT)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    at = instant_us(options.as_known)
    with State(options.state, read_only=True) as state:
        views = views_of(state, options.models, at, Selection(as_known=at))
    server = MonitorServer(("127.0.0.1", 0), lambda: views)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        for name, width, height, dark in (
            ("monitor-light", 1200, 1750, False), ("monitor-dark", 1200, 1750, True),
            ("monitor-phone", 390, 1400, False),
        ):  # fmt: skip
            with browser(width, height, dark=dark) as page:
                page.get(server.url)
                page.save_screenshot(options.folder / f"{name}.png")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
