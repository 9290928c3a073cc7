"""model.toml with keys changed and everything else as its author wrote it. Pure."""

from collections.abc import Sequence
from difflib import unified_diff
from textwrap import wrap
from typing import Final

import tomlkit
from tomlkit.items import InlineTable, Table

from skylane.bench.lab.tune.policies import Change

WIDTH: Final = 118
BEGINS: Final = "# Tuned by `skylane bench tune`"
CONTINUES: Final = "#   "


def changed(content: str, changes: Sequence[Change], evidence: str) -> str:
    """The file with these keys set, and a comment at its head that says why; an earlier such comment goes.

    `content` is a valid model.toml, and may be empty.
    """
    document = tomlkit.parse(_without_evidence(content))
    for change in changes:
        if change.section not in document:
            document[change.section] = tomlkit.table()
        section = document[change.section]
        assert isinstance(section, Table | InlineTable), "the policy has been decoded: its sections are tables"
        section[change.key] = change.value
    return _with_evidence(tomlkit.dumps(document), evidence)


def difference(before: str, after: str, path: str) -> str:
    """What changes, as `diff -u` shows it."""
    return "".join(unified_diff(before.splitlines(True), after.splitlines(True), path, f"{path}, tuned"))


def _with_evidence(content: str, evidence: str) -> str:
    """Below the comment at the head of the file, if it has one."""
    comment = [BEGINS + ":"] + [CONTINUES + line for line in wrap(evidence, WIDTH - len(CONTINUES))]
    lines = content.splitlines()
    place = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if place < len(lines) and lines[place].strip():  # the comment belongs to what follows it
        place = 0
    after = lines[place:]
    if after and after[0].strip():
        after = ["", *after]
    return "\n".join([*lines[:place], *comment, *after]) + "\n"


def _without_evidence(content: str) -> str:
    lines, kept, inside = content.splitlines(keepends=True), list[str](), False
    for line in lines:
        inside = line.startswith(BEGINS) or (inside and line.startswith(CONTINUES))
        if not inside:
            kept.append(line)
    return "".join(kept)
