"""A server in a process of its own, as an operator starts it."""

import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType


class Served:
    """`skylane serve` in a process of its own, and what it says."""

    def __init__(self, *arguments: str, command: Sequence[str] = ()) -> None:
        """`command`: another one that serves, with what a test needs."""
        command = command or [sys.executable, "-P", "-m", "skylane.server", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._coming: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="log-of-the-server")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._coming.put(line)
        self._coming.put(None)  # every process that wrote there has ended

    def until(self, text: str) -> str:
        """The next line with this text."""
        while (line := self._coming.get(timeout=60)) is not None:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r}:\n{''.join(self.lines)}")

    def rest(self) -> str:
        """Everything said, when all its processes have ended."""
        while (line := self._coming.get(timeout=60)) is not None:
            self.lines.append(line)
        return "".join(self.lines)

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.process.kill()  # workers end with it
        self.process.wait()
        self._reader.join(60)
        assert self.process.stderr is not None
        self.process.stderr.close()
