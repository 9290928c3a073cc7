"""Pictures of what `skylane bench` makes, for the documentation: python tools/lab_screenshots.py docs/images

Measures a model of models/ that runs every request alone, and then as it is served by default, beside the first; looks
at the report with headless Chromium, in light, in dark and as wide as a phone, and at the table as a terminal shows it.
Needs what tools/screenshots.py needs. Takes a minute or two, on a machine that does nothing else.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from selenium import webdriver

from screenshots import browser
from skylane.bench.lab.record import load
from skylane.bench.lab.scenarios.record import ScenariosRun
from skylane.bench.lab.scenarios.summary import summary

ALONE: Final = "[batching]\nmax_batch_rows = 1\n"
"""A policy without batches."""
AS_SERVED: Final = ""
VIEWS: Final = (("lab-light", 1240, False), ("lab-dark", 1240, True), ("lab-phone", 390, False))
TALLEST: Final = {"lab-light": 3000, "lab-dark": 1400, "lab-phone": 1700}
"""Pixels; what is below is more of the same."""
TERMINAL: Final = 118
PAGE: Final = (
    "<!doctype html><style>body {{ margin: 0; padding: 14px 18px; background: {background} }}"
    "pre {{ margin: 0; font: 14px/1.4 monospace; color: {foreground} }} {stylesheet}</style><pre>{code}</pre>"
)


def measured(repository: Path, model: str, policy: str, out: Path, *more: str) -> Path:
    """The result of a run with this policy."""
    (repository / model / "model.toml").write_text(policy)
    before = set(out.glob("*.json"))
    command = [sys.executable, "-P", "-m", "skylane.bench.lab", "--models", str(repository), "--model", model]
    subprocess.run([*command, "--out", str(out), *more], check=True)
    (path,) = set(out.glob("*.json")) - before
    return path


def save(page: webdriver.Chrome, path: Path, width: int, tallest: int) -> None:
    """The whole page, down to a limit."""
    height = min(page.execute_script("return document.body.scrollHeight"), tallest)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.save_screenshot(path)


def main() -> int:
    """Write the pictures. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="flights_late")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        repository, out = Path(temporary) / "models", Path(temporary) / "out"
        shutil.copytree(options.models / options.model, repository / options.model)
        before = measured(repository, options.model, ALONE, out)
        now = measured(repository, options.model, AS_SERVED, out, "--baseline", str(before))
        console = Console(record=True, width=TERMINAL, file=io.StringIO(), force_terminal=True)
        console.print(summary(load(now, ScenariosRun), load(before, ScenariosRun)))
        terminal = Path(temporary) / "terminal.html"
        terminal.write_text(console.export_html(theme=MONOKAI, code_format=PAGE), "utf-8")
        for name, width, dark in VIEWS:
            with browser(width, 800, dark=dark) as page:
                page.get(now.with_suffix(".html").as_uri())
                save(page, options.folder / f"{name}.png", width, TALLEST[name])
        with browser(1040, 300) as page:
            page.get(terminal.as_uri())
            save(page, options.folder / "lab-table.png", 1040, 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
