"""The server of a replay: `skylane serve` with the journal on, in a process of its own."""

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from examples.demo import ServerFailed

_ADDRESS: Final = re.compile(r"serving \d+ models? on (\S+)")
STOP_S_MAX: Final = 30.0


@contextlib.contextmanager
def serving(models: Path, journal: Path, address: str | None) -> Iterator[str]:
    """Gives the address of the server that was named, or of one that is started and stopped at the end."""
    if address is not None:
        yield address
        return
    command = [
        sys.executable,
        "-P",
        "-m",
        "skylane.server",
        "--models",
        str(models),
        "--port",
        "0",
        "--journal",
        str(journal),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines = []
        try:
            for line in server.stderr:
                lines.append(line)
                if found := _ADDRESS.search(line):
                    threading.Thread(target=_drain, args=(server,), daemon=True).start()
                    yield found[1]
                    return
            raise ServerFailed("the server did not start:\n" + "".join(lines))
        finally:
            server.terminate()
            server.wait(STOP_S_MAX)


def _drain(server: "subprocess.Popen[str]") -> None:
    """Read on, so that the server never waits for a full pipe."""
    assert server.stderr is not None
    with contextlib.suppress(ValueError):  # closed at the end
        for _ in server.stderr:
            pass
