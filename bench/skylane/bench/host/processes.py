"""What a tree of processes has used: CPU time and memory, read from Linux's /proc. No other system is supported."""

import contextlib
import os
import resource
import time
from collections.abc import Collection
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
    members, todo = list[int](), [pid]
    while todo:
        members.append(todo.pop())
        todo += children.get(members[-1], [])
    return members


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the tree has used since it began: user and system, those of children that ended too.

    To the nanosecond for processes that live, by the clock that Linux keeps for each; to a tick, usually of 10 ms, for
    those that have ended.
    """
    ended_ticks, used_s = 0, 0.0
    for member in tree(pid):
        if stat := _stat(member):
            ended_ticks += int(stat[13]) + int(stat[14])
            used_s += _clock_s(member)
    return used_s + ended_ticks / TICKS_PER_S


def _clock_s(pid: int) -> float:
    """CPU seconds of one process, its ended threads too; 0 if it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python does not have
    except OSError:
        return 0.0


def ended_cpu_s() -> float:
    """Seconds of CPU of our own children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def parent(pid: int) -> int:
    """Who started it; 0 if it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def with_sockets(inodes: Collection[str]) -> list[int]:
    """Processes that hold one of these sockets open, as far as this user may see that."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit() and _holds(entry / "fd", wanted)]


def _holds(files: Path, wanted: Collection[str]) -> bool:
    try:
        for file in files.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(file) in wanted:
                    return True
    except OSError:  # another user's, or it ended meanwhile
        return False
    return False
