"""README and the pages under docs/: what they link to exists, and so do the paths, modules and commands they name."""

import importlib.util
import re
from pathlib import Path
from typing import Final

import pytest

from skylane.cli import MODULES
from skylane.cli.commands import COMMANDS

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
IDS: Final = [page.relative_to(ROOT).as_posix() for page in PAGES]

LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"`([^`\n]+)`")
PATH: Final = re.compile(r"(?:[\w.*-]+/)+(?:[\w.*-]+\.(?:py|md|toml|yml|json|proto))?|[\w-]+\.(?:md|toml|py)")
"""What looks like a path: folders, and files of our kinds."""
PARTS: Final = (
    "client/skylane", "server/skylane/server", "convert/skylane/convert", "bench/skylane/bench", "monitor/skylane",
    "features/skylane/features",
)  # fmt: skip
BASES: Final = (*map(ROOT.joinpath, ("", "docs", "bench/skylane", "convert/skylane/convert/export", *PARTS)),)
"""Folders from which pages name paths."""
MODULE: Final = re.compile(r"\bpython3?(?:\.11)? -m ((?:skylane|examples)[\w.]*)|\b(?:from|import) (skylane[\w.]*)")
TASK: Final = re.compile(r"\btasks\.py ([a-z]+)")
SHELL: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND: Final = re.compile(r"(?:^|[|;&(] ?|\bin/)skylane (\w+)", re.MULTILINE)

READERS_OWN: Final = {
    "model.toml",
    "tokens.toml",
    "server.py",
    "numpy.py",
    "manifest.json",
    "wine/1/",
    "views/",
    "views/views.json",
    "views/flights.py",
    "triton-repository/",
    "bench-results/",
    "skylane/",
    "skylane/__init__.py",
}
"""Files and folders of the reader's, not of the repository."""


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in map(_anchor, HEADING.findall(target.read_text()))):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_exist(page: Path) -> None:
    named = {code for code in CODE.findall(FENCE.sub("", page.read_text())) if PATH.fullmatch(code)}
    missing = [path for path in sorted(named - READERS_OWN) if not _exists(path, page)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_modules_exist(page: Path) -> None:
    named = {run or imported for run, imported in MODULE.findall(page.read_text())}
    missing = [name for name in sorted(named) if importlib.util.find_spec(name.rstrip(".")) is None]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist(page: Path) -> None:
    commands = {command.split()[0] for command in (*MODULES, *COMMANDS)}
    text = page.read_text()
    lines = [*SHELL.findall(text), *CODE.findall(FENCE.sub("", text))]
    missing = [name for line in lines for name in COMMAND.findall(line) if name not in commands]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_tasks_exist(page: Path) -> None:
    tasks = set(re.findall(r"^def (\w+)\(.*Sequence\[str\]\) -> int:", (ROOT / "tasks.py").read_text(), re.MULTILINE))
    missing = [name for name in TASK.findall(page.read_text()) if name not in tasks]
    assert not missing


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(page.read_text())
        if not re.match(r"[a-z]+:", link)
    }
    entries = {ROOT / "README.md", ROOT / "CHANGELOG.md"}
    assert [page.name for page in PAGES if page not in linked | entries] == []


def _exists(path: str, page: Path) -> bool:
    """Whether a file matches: from one of the bases or the page's folder, or anywhere if no folder is named."""
    if "/" not in path:
        return any(
            True for folder in (*PARTS, "tests", "tools", "ops", "examples") for _ in (ROOT / folder).rglob(path)
        ) or ((ROOT / path).exists())
    return any(any(base.glob(path)) for base in (*BASES, page.parent))


def _anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
