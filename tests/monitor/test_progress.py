"""Progress of a pass: one line that is replaced on a terminal, a line every ten seconds in a log."""

import io

import pytest

from skylane.monitor.progress import ERASE_LINE, Progress


class _Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "expected"),
    [
        pytest.param(
            True,
            f"{ERASE_LINE}skylane monitor: 10 rows read, 0 blocks computed"
            f"{ERASE_LINE}skylane monitor: 10 rows read, 1 blocks computed{ERASE_LINE}",
            id="a terminal",
        ),
        pytest.param(False, "skylane monitor: 10 rows read, 1 blocks computed\n", id="a log"),
    ],
)
def test_progress_is_shown_as_often_as_its_reader_needs(terminal: bool, expected: str) -> None:
    stream, now = _Stream(terminal), [0.0]
    progress = Progress(stream, lambda: now[0])
    now[0] = 9.0
    progress.rows(10)
    now[0] = 11.0
    progress.blocks(1)
    progress.blocks(5)
    progress.end()
    assert stream.getvalue() == expected
