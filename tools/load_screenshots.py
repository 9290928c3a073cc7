"""Pictures of Locust's web page and report, for docs/load-testing.md: python tools/load_screenshots.py docs/images

Serves models/, starts Locust with its page, fills nothing in but what the command line says, presses Start, and looks.
Needs what tools/screenshots.py needs, and the model flights_late. Takes three minutes.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from screenshots import browser
from skylane.bench.servers import free_port

SECONDS: Final = 80
SETTLED_S: Final = 2.0
"""For the page's animations."""
SCENARIO: Final = ("--scenario", "step", "--rate", "400", "--run-time", f"{SECONDS}s", "--zipf", "1")


@contextmanager
def started(*command: str) -> Iterator[None]:
    """A program of ours inside the block."""
    process = subprocess.Popen([sys.executable, "-P", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def opened(page: webdriver.Chrome, url: str) -> None:
    """Look at this, once somebody answers."""

    def answers(page: webdriver.Chrome) -> bool:
        page.get(url)
        return bool(page.find_elements(By.TAG_NAME, "button"))

    WebDriverWait(page, 60, ignored_exceptions=[Exception]).until(answers)
    time.sleep(SETTLED_S)


def press(page: webdriver.Chrome, text: str, kind: str = "*") -> None:
    """The last thing of this kind with this text."""
    found = page.find_elements(By.XPATH, f"//{kind}[contains(text(), '{text}')]")
    page.execute_script("arguments[0].click()", found[-1])
    time.sleep(SETTLED_S)


def main() -> int:
    """Write locust-form.png, locust-charts.png and locust-report.png. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    port, page_port = str(free_port()), str(free_port())
    locust = ("-m", "locust", "-f", "bench/locustfile.py", "--host", f"127.0.0.1:{port}", *SCENARIO)
    with started("-m", "skylane.server", "--models", "models", "--port", port), tempfile.TemporaryDirectory() as folder:
        with started(*locust, "--web-host", "127.0.0.1", "--web-port", page_port), browser(1100, 1260) as page:
            opened(page, f"http://127.0.0.1:{page_port}/")
            press(page, "Custom parameters")
            page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
            page.save_screenshot(str(out / "locust-form.png"))
            press(page, "Start", "button")
            time.sleep(SECONDS - 5)
            press(page, "Charts")
            page.save_screenshot(str(out / "locust-charts.png"))
        report = Path(folder) / "report.html"
        command = [sys.executable, "-P", *locust, "--headless", "--only-summary", "--html", str(report)]
        subprocess.run(command, check=True, capture_output=True)
        with browser(1100, 1500) as page:
            page.get(report.as_uri())
            time.sleep(SETTLED_S)
            page.save_screenshot(str(out / "locust-report.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
