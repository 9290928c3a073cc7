"""The CPU and memory budget: files of /proc and cgroup in, numbers out."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.host import budget
from skylane.server.host.budget import CpuBudget, MemoryBudget

V2 = "0::/kubepods/pod1/web\n"
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n"
V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("cpu_max", "cpus"),
    [
        pytest.param("max 100000\n", None, id="no limit"),
        pytest.param("200000 100000\n", 2.0, id="two CPUs"),
        pytest.param("50000 100000\n", 0.5, id="half a CPU"),
        pytest.param("150000 50000\n", 3.0, id="another period"),
        pytest.param("150000\n", 1.5, id="the period left out is 100 ms"),
        pytest.param("", None, id="an empty file"),
        pytest.param("many 100000", None, id="nonsense"),
        pytest.param("100000 0", None, id="a period of nothing"),
        pytest.param("0 100000", None, id="a quota of nothing, which the kernel does not accept"),
    ],
)
def test_cpu_max(cpu_max: str, cpus: float | None) -> None:
    assert budget.quota_v2(cpu_max) == cpus


@pytest.mark.parametrize(
    ("quota_us", "period_us", "cpus"),
    [
        pytest.param("-1\n", "100000\n", None, id="no limit"),
        pytest.param("250000\n", "100000\n", 2.5, id="two and a half"),
        pytest.param("10000\n", "100000\n", 0.1, id="a tenth"),
        pytest.param("", "", None, id="no files"),
        pytest.param("x", "100000", None, id="nonsense"),
    ],
)
def test_cfs_quota(quota_us: str, period_us: str, cpus: float | None) -> None:
    assert budget.quota_v1(quota_us, period_us) == cpus


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param("max\n", None, id="no limit"),
        pytest.param("536870912\n", 512 * 2**20, id="512 MiB"),
        pytest.param("9223372036854771712\n", None, id="how version 1 says no limit"),
        pytest.param("", None, id="no file"),
        pytest.param("-1", None, id="nonsense"),
    ],
)
def test_memory_limit(text: str, limit: int | None) -> None:
    assert budget.memory_limit(text) == limit


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        pytest.param({}, None, id="no control groups, as on macOS"),
        pytest.param(
            {"/proc/self/cgroup": V2, "/proc/self/mountinfo": V2_MOUNTS}, None, id="version 2 without a limit file"
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V2,
                "/proc/self/mountinfo": V2_MOUNTS,
                "/sys/fs/cgroup/kubepods/pod1/web/cpu.max": "400000 100000",
                "/sys/fs/cgroup/kubepods/pod1/cpu.max": "150000 100000",
                "/sys/fs/cgroup/kubepods/cpu.max": "max 100000",
            },
            1.5,
            id="nested: the least of all levels holds",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/\n",
                "/proc/self/mountinfo": V2_MOUNTS,
                "/sys/fs/cgroup/cpu.max": "100000 100000",
            },
            1.0,
            id="a container with a namespace of its own: the limit stands at the root",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/../other\n",
                "/proc/self/mountinfo": V2_MOUNTS,
                "/sys/fs/cgroup/cpu.max": "100000 100000",
            },
            1.0,
            id="moved out of its namespace",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V1,
                "/proc/self/mountinfo": V1_MOUNTS,
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            0.5,
            id="version 1",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V1,
                "/proc/self/mountinfo": V1_MOUNTS.replace("0:29 /", "0:29 /docker/abc"),
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            2.0,
            id="version 1 in a container: the path is the host's, the mount shows only our part",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V1,
                "/proc/self/mountinfo": V1_MOUNTS,
                "/sys/fs/cgroup/unified/docker/abc/cpu.max": "100000 100000",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "300000",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            },
            1.0,
            id="both versions at once",
        ),
        pytest.param(
            {"/proc/self/cgroup": "nonsense\n::\n0::relative\n", "/proc/self/mountinfo": "1 2\n - \ncgroup2\n"},
            None,
            id="nonsense",
        ),
    ],
)
def test_quota_of_control_groups(files: dict[str, str], cpus: float | None) -> None:
    assert budget.cpu_quota(files.get) == cpus


def test_memory_of_control_groups() -> None:
    files = {
        "/proc/self/cgroup": V1,
        "/proc/self/mountinfo": V1_MOUNTS,
        "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712",
        "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "1073741824",
    }
    assert budget.memory_max(files.get) == 2**30


@given(st.text(), st.text())
def test_no_text_is_too_strange(cgroup: str, mountinfo: str) -> None:
    for group in budget.groups("cpu", "0::/a/b\n" + cgroup, V2_MOUNTS + mountinfo):
        assert group.directory


@pytest.mark.parametrize(
    ("affinity", "quota", "cpus", "workers", "told"),
    [
        pytest.param(2, None, 2, 2, "2.0 (affinity 2, cgroup max)", id="affinity alone"),
        pytest.param(64, 3.5, 3.5, 3, "3.5 (affinity 64, cgroup 3.5)", id="a container on a large machine"),
        pytest.param(8, 0.25, 0.25, 1, "0.25 (affinity 8, cgroup 0.25)", id="less than one: still one worker"),
        pytest.param(2, 16.0, 2, 2, "2.0 (affinity 2, cgroup 16)", id="a quota above the machine"),
    ],
)
def test_the_cpu_budget(affinity: int, quota: float | None, cpus: float, workers: int, told: str) -> None:
    found = CpuBudget(affinity, quota)
    assert (found.cpus, found.workers, str(found)) == (cpus, workers, told)


@pytest.mark.parametrize(
    ("physical", "limit", "total"),
    [(8, None, 8), (8, 2, 2), (2, 8, 2), (None, 8, 8), (None, None, None)],
)
def test_the_memory_budget(physical: int | None, limit: int | None, total: int | None) -> None:
    assert MemoryBudget(physical, limit).total == total


def test_this_machine() -> None:
    assert 0 < budget.cpu_budget().cpus <= (os.cpu_count() or 1)
    assert (budget.memory_budget().total or 0) > 2**20
