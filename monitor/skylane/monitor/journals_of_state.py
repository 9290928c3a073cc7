"""Which journals a state was made from: rows of other journals must not be added to its figures.

A journal is known by its directory and by the servers that wrote in it, whose ids are in the names of its segments. If
none of the remembered servers has left a segment in a directory, and others have, it is another journal.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skylane.journal.layout import OUTCOMES, PREDICTIONS, models, segments
from skylane.monitor.state import State, StateUnusable

WRITERS: Final = "writers"
"""Directory → ids of the servers that had written in it at the last pass."""


def check_journals(state: State, directories: Sequence[Path]) -> None:
    """Raise StateUnusable unless all journals that the state was made from are given, and are still the same.

    Remembers those that are given.
    """
    remembered: dict[str, list[str]] = state.about(WRITERS) or {}
    given = [str(each) for each in directories]
    read = sorted({*state.positions("rows"), *(name for name, writers in remembered.items() if writers)})
    missing = [name for name in read if name not in given]
    if missing:
        raise StateUnusable(
            f"--state {state.path}: it was made from the journal {', '.join(missing)}, and --journal is "
            f"{', '.join(given)}: rows of both would be added up. Give --state OTHER for another journal, or add "
            f"{' '.join(f'--journal {name}' for name in missing)}; for a journal that was moved, remove this file"
        )
    for name in read:
        before, now = set(remembered.get(name, ())), set(_writers(Path(name)))
        if before and now and not before & now:
            raise StateUnusable(
                f"--state {state.path}: it was made from another journal that was in {name}: none of its segments is "
                "left. Give --state OTHER, or remove this file to compute everything anew"
            )
    _remember(state, directories, remembered)


def _remember(state: State, directories: Sequence[Path], remembered: dict[str, list[str]]) -> None:
    """Write down who has written in these journals by now. One that is empty for now keeps what it had."""
    writers = {str(each): _writers(each) or remembered.get(str(each), []) for each in directories}
    if writers != remembered:
        with state.transaction():
            state.set_about(WRITERS, writers)


def _writers(directory: Path) -> list[str]:
    return sorted(
        {
            segment.name.writer
            for kind in (PREDICTIONS, OUTCOMES)
            for model in models(directory, kind)
            for segment in segments(directory / kind / model)
        }
    )
