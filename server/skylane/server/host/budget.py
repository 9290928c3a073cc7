"""The CPUs and the memory that this process may use, by affinity and control groups.

Pure functions over the text of /proc and cgroup files; one thin edge reads them. A container's quota is invisible to
`os.cpu_count`, which is why thread pools sized by it fight each other.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

UNLIMITED_BYTES: Final = 2**60
"""Control groups of version 1 say `no limit` by a number near 2**63."""

Read = Callable[[str], str | None]
"""Path → the file's text; None if there is no such file or it cannot be read."""


@dataclass(frozen=True)
class CpuBudget:
    """CPUs that this process may use at the same time."""

    affinity: int
    """CPUs that it may be scheduled on."""
    quota: float | None
    """CPUs' worth of time that its control groups grant; None: no limit."""

    @property
    def cpus(self) -> float:
        """The smaller of the two."""
        return self.affinity if self.quota is None else min(self.affinity, self.quota)

    @property
    def workers(self) -> int:
        """How many workers keep it busy: one for each whole CPU, at least one."""
        return max(1, math.floor(self.cpus))

    def __str__(self) -> str:
        quota = "max" if self.quota is None else f"{self.quota:.4g}"
        cpus = f"{self.cpus:.1f}" if self.cpus * 10 % 1 == 0 else f"{self.cpus:.4g}"
        return f"{cpus} (affinity {self.affinity}, cgroup {quota})"


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that this process may use."""

    physical: int | None
    limit: int | None
    """Least limit of its control groups; None: no limit."""

    @property
    def total(self) -> int | None:
        """The smaller of the two; None if neither is known."""
        return min((each for each in (self.physical, self.limit) if each is not None), default=None)


# --- Pure: text in, numbers out ---------------------------------------------------------------------------------------


def quota_v2(cpu_max: str) -> float | None:
    """`cpu.max` (quota or `max`, then the period, in µs) as CPUs; None: no limit, or not readable as one."""
    quota, _, period = cpu_max.strip().partition(" ")
    return _ratio(quota, period or "100000")


def quota_v1(quota_us: str, period_us: str) -> float | None:
    """`cpu.cfs_quota_us` (-1: no limit) and `cpu.cfs_period_us` as CPUs; None: no limit, or not readable as one."""
    return _ratio(quota_us.strip(), period_us.strip())


def _ratio(quota: str, period: str) -> float | None:
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cpus if cpus > 0 else None


def memory_limit(text: str) -> int | None:
    """`memory.max` or `memory.limit_in_bytes` in bytes; None: no limit, or not readable as one."""
    try:
        limit = int(text)
    except ValueError:
        return None
    return limit if 0 < limit < UNLIMITED_BYTES else None


@dataclass(frozen=True)
class Group:
    """One control group that limits this process, itself or from above."""

    version: int
    directory: str


def groups(controller: str, cgroup: str, mountinfo: str) -> list[Group]:
    """The groups that this process is in, innermost first, from /proc/self/cgroup and /proc/self/mountinfo.

    A limit may stand at any level and the least holds, so each level up to the mount point is listed.
    """
    groups = []
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = 2 if (number, controllers) == ("0", "") else 1
        if not path.startswith("/") or (version == 1 and controller not in controllers.split(",")):
            continue
        for root, point in _mounts(mountinfo, version, controller):
            groups += [Group(version, directory) for directory in _upwards(point, root, path)]
    return groups


def _mounts(mountinfo: str, version: int, controller: str) -> Iterator[tuple[str, str]]:
    """(root inside the hierarchy, mount point) wherever the hierarchy is mounted. See proc_pid_mountinfo(5)."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), [*after.split(), "", "", ""][:3]
        if len(fields) < 5:
            continue
        if (version, kind) == (2, "cgroup2") or ((version, kind) == (1, "cgroup") and controller in options.split(",")):
            yield fields[3], fields[4]


def _upwards(point: str, root: str, path: str) -> list[str]:
    """Directories from the process's own group up to the mount point.

    Inside a container the path may be that of the host; then only what is below the mounted root is there.
    """
    inner = PurePosixPath(path)
    below = inner.relative_to(root) if inner.is_relative_to(root) else PurePosixPath()
    if ".." in below.parts:  # the process was moved out of its namespace's root
        below = PurePosixPath()
    directory = PurePosixPath(point) / below
    return [str(directory), *(str(above) for above in directory.parents if above.is_relative_to(point))]


def cpu_quota(read: Read) -> float | None:
    """CPUs' worth of time that the control groups grant, the least of all levels; None: no limit."""
    quotas = []
    for group in _groups(read, "cpu"):
        if group.version == 2:
            quotas.append(quota_v2(read(f"{group.directory}/cpu.max") or ""))
        else:
            quota_us, period_us = (read(f"{group.directory}/cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
            quotas.append(quota_v1(quota_us, period_us))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_max(read: Read) -> int | None:
    """Bytes that the control groups grant, the least of all levels; None: no limit."""
    names = {2: "memory.max", 1: "memory.limit_in_bytes"}
    limits = [
        memory_limit(read(f"{group.directory}/{names[group.version]}") or "") for group in _groups(read, "memory")
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(read: Read, controller: str) -> Sequence[Group]:
    return groups(controller, read("/proc/self/cgroup") or "", read("/proc/self/mountinfo") or "")


# --- Edge: this process, now ------------------------------------------------------------------------------------------


def cpu_budget() -> CpuBudget:
    """What this process may use now. Reads a few small files."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    return CpuBudget(len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1, cpu_quota(_read))


def number_of_workers(text: str) -> int:
    """What an operator wrote: a number, or `auto` for as many as the CPU budget keeps busy. Raises ValueError."""
    return cpu_budget().workers if text == "auto" else int(text)


number_of_workers.__name__ = "number or auto"  # argparse names the type: "invalid number or auto value: 'x'"


def memory_budget() -> MemoryBudget:
    """What this process may use now. Reads a few small files."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows, or a system that does not report it
        physical = None
    return MemoryBudget(physical, memory_max(_read))


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return None
