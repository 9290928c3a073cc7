"""The command in a process of its own, without network: for files that may run any code while they are loaded.

Linux lets a process give up its network for good: a new network namespace holds nothing, not even a route. That takes
the `unshare` program and a kernel that allows it; where either is missing, the process has the network, and says so.
Files are not kept from it: it must read the rows and write the repository. It can do what its user can do to them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import skylane

APART: Final = "SKYLANE_LOADED_APART"
"""In the environment of such a process: how it was started, for the record."""

WAYS: Final = (("--user", "--map-current-user", "--net"), ("--net",))
"""What is asked of `unshare`: as any user, and as root where users' namespaces are not allowed."""

WITHOUT_NETWORK: Final = "in a process of its own without network; files were open to it"
WITH_NETWORK: Final = (
    "in a process of its own, but with network, for this system takes none away; files were open to it"
)


def how_loaded(environment: Mapping[str, str] = os.environ) -> str | None:
    """How this process was set apart, in words for the manifest; None if it was not."""
    return environment.get(APART)


def run_apart(module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module` set apart, on the same terminal, and return its exit code."""
    prefix = without_network()
    # -P: what lies in the current directory is not imported, but this package is, wherever it lies.
    command = [*prefix, sys.executable, "-P", "-m", module, *arguments]
    here = [str(Path(root).resolve().parent) for root in skylane.__path__]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in (*here, os.environ.get("PYTHONPATH")) if path),
        APART: WITHOUT_NETWORK if prefix else WITH_NETWORK,
    }
    with subprocess.Popen(command, env=environment) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the terminal sent it to the child as well, which reports it and exits
                continue


def without_network() -> list[str]:
    """What to put before a command so that it has no network; nothing if this system does not allow it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    for way in WAYS:
        tried = subprocess.run([unshare, *way, sys.executable, "-c", ""], capture_output=True, check=False)
        if tried.returncode == 0:
            return [unshare, *way]
    return []
