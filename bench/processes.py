"""What a tree of processes has used: CPU time and memory, read from Linux's /proc. No other system is supported."""

import os
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
PROC: Final = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and everything below it that lives."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = list[int](), [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the tree has used since it began: user and system, those of children that ended too.

    Counted in ticks, usually of 10 ms: measure long enough that a tick does not matter.
    """
    fields = [stat for member in tree(pid) if (stat := _stat(member))]
    return sum(sum(int(ticks) for ticks in stat[11:15]) for stat in fields) / TICKS_PER_S


def machine_cpu_s() -> float:
    """Seconds of CPU that all cores have worked since the machine began, for whomever."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def rss_mib(pid: int) -> float:
    """MiB of memory that the tree holds. Pages that its members share are counted for each."""
    pages = 0
    for member in tree(pid):
        try:
            pages += int((PROC / str(member) / "statm").read_text().split()[1])
        except (OSError, IndexError):  # it ended meanwhile
            continue
    return pages * PAGE_BYTES / 2**20


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on (see proc(5)); empty if the process is gone."""
    try:
        content = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return content.rpartition(")")[2].split()
