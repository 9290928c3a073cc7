"""Runs the command in a separate process without network, for files that can run any code while they are loaded.

On Linux, a new network namespace has no interfaces and no routes. It needs the `unshare` program and a kernel that
allows it; without either, the process keeps the network, and the manifest records that. Access to files is not
restricted, because the process must read the rows and write the repository.
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
"""Environment variable of such a process: how it was started, for the manifest."""

WAYS: Final = (("--user", "--map-current-user", "--net"), ("--net",))
"""Arguments of `unshare`: for any user, and for root on systems without unprivileged user namespaces."""

WITHOUT_NETWORK: Final = "in a process of its own without network; files were open to it"
WITH_NETWORK: Final = (
    "in a process of its own, but with network, for this system takes none away; files were open to it"
)


def how_loaded(environment: Mapping[str, str] = os.environ) -> str | None:
    """How this process was isolated, in words for the manifest; None if it was not."""
    return environment.get(APART)


def run_apart(module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module` in an isolated process on the same terminal, and return its exit code."""
    prefix = without_network()
    # -P: nothing is imported from the current directory.
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
            except KeyboardInterrupt:  # the child got it from the terminal as well; it reports it and exits
                continue


def without_network() -> list[str]:
    """Prefix that runs a command without network; empty if this system does not allow it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    for way in WAYS:
        tried = subprocess.run([unshare, *way, sys.executable, "-c", ""], capture_output=True, check=False)
        if tried.returncode == 0:
            return [unshare, *way]
    return []
