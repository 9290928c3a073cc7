"""Pictures of the live page, for the documentation: python tools/screenshots.py docs/images

Serves the models of models/, sends them requests for a while, and looks with headless Chromium, in light, in dark and
as wide as a phone. Needs Debian's packages chromium and chromium-driver, and selenium.
"""

import argparse
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

TRAFFIC_S: Final = 40.0


@contextmanager
def browser(width: int, height: int, *, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """Headless Chromium of this size, as Debian has it."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    made = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        made.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        made.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        yield made
    finally:
        made.quit()


@contextmanager
def served(models: Path) -> Iterator[str]:
    """A server with two workers; gives where its page is."""
    options = ("--models", str(models), "--port=0", "--http-port=0", "--workers=2")
    command = [sys.executable, "-P", "-m", "skylane.server", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if found := re.search(r"live page: (\S+),", line):
                url = found[1]
            if "with 2 workers" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield url
    finally:
        process.terminate()
        process.wait(60)


def requests(models: Path, url: str) -> list[urllib.request.Request]:
    """One for the first golden row of each model, and one that is wrong."""
    made = []
    for path in sorted(models.glob("*/*/manifest.json")):
        manifest: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        row = {name: rows[0] for name, rows in manifest["golden"]["inputs"].items()}
        body = msgspec.json.encode({"rows": [row]})
        made.append(urllib.request.Request(f"{url}v1/models/{manifest['model']}:predict", body))
    return made


def send(all_of_them: Sequence[urllib.request.Request], ended: threading.Event) -> None:
    """Ask, again and again."""
    while not ended.is_set():
        for number, request in enumerate(all_of_them):
            for _ in range(1 + 2 * number):
                with urllib.request.urlopen(request, timeout=30) as answer:
                    answer.read()


def look(url: str, folder: Path) -> None:
    """Take all pictures."""
    for name, width, height, dark in (
        ("live-light", 1200, 1100, False), ("live-dark", 1200, 1100, True), ("live-phone", 390, 844, False),
    ):  # fmt: skip
        with browser(width, height, dark=dark) as page:
            page.get(url)
            WebDriverWait(page, 60).until(lambda page: len(page.find_elements(By.CSS_SELECTOR, "#models button")) > 0)
            threading.Event().wait(TRAFFIC_S / 2)
            page.save_screenshot(folder / f"{name}.png")
            if name == "live-light":
                page.find_element(By.CSS_SELECTOR, "[data-version^='wine/']").click()
                WebDriverWait(page, 60).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#about form"))
                page.find_element(By.CSS_SELECTOR, "#about form button").click()
                WebDriverWait(page, 60).until(
                    lambda page: "way to the browser" in page.find_element(By.ID, "about").text
                )
                page.find_element(By.ID, "about").screenshot(str(folder / "live-model.png"))


def main() -> int:
    """Write the pictures. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    with served(options.models) as url:
        senders = [threading.Thread(target=send, args=(requests(options.models, url), ended)) for _ in range(3)]
        for sender in senders:
            sender.start()
        try:
            look(url, options.folder)
        finally:
            ended.set()
            for sender in senders:
                sender.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
