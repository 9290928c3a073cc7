"""What is asked of the CPU budget, in words."""

from pathlib import Path

import pytest

from skylane.policy import Batching, Policy, Session
from skylane.server.admin import cpu_demand
from skylane.server.host.budget import CpuBudget
from support import models

ONE = Policy()


def policy(threads: int = 1, instances: int = 1) -> Policy:
    return Policy(session=Session(intra_op_threads=threads), batching=Batching(instances=instances))


@pytest.mark.parametrize(
    ("workers", "found", "line"),
    [
        pytest.param(1, {"a": ONE}, "1 worker × 1 model × 1 intra-op thread", id="one of each"),
        pytest.param(2, {"a": ONE, "b": ONE}, "2 workers × 2 models × 1 intra-op thread", id="several"),
        pytest.param(1, {"a": policy(4)}, "1 worker × 1 model × 4 intra-op threads", id="threads"),
        pytest.param(1, {"a": ONE, "b": policy(4)}, "1 worker × 2 models × 1 to 4 intra-op threads", id="they differ"),
        pytest.param(1, {}, "1 worker × 0 models × 1 intra-op thread", id="nothing yet"),
    ],
)
def test_start_line(workers: int, found: dict[str, Policy], line: str) -> None:
    assert cpu_demand.start_line(CpuBudget(2, None), workers, found) == (
        f"CPU budget 2.0 (affinity 2, cgroup max): {line}"
    )


@pytest.mark.parametrize(
    ("cpus", "workers", "found", "told"),
    [
        pytest.param(2.0, 2, {"a": ONE}, [], id="fits"),
        pytest.param(4.0, 2, {"a": policy(2)}, [], id="fits exactly"),
        pytest.param(0.5, 1, {"a": ONE}, [], id="one thread always fits"),
        pytest.param(
            1.5, 2, {"a": policy(8)}, ["2 workers for 1.5 CPUs: lower --workers to 1, or use auto"], id="workers alone"
        ),
        pytest.param(
            2.0,
            2,
            {"a": policy(4), "b": policy(1, 3), "c": ONE},
            [
                "a: 2 workers × 1 instance × 4 intra-op threads for 2 CPUs: "
                "lower [session] intra_op_threads in a/model.toml",
                "b: 2 workers × 3 instances × 1 intra-op thread for 2 CPUs: lower [batching] instances in b/model.toml",
            ],
            id="each model, and the key that weighs most",
        ),
    ],
)
def test_excess(cpus: float, workers: int, found: dict[str, Policy], told: list[str]) -> None:
    assert cpu_demand.excess(CpuBudget(64, cpus), workers, found) == told


def test_policies_on_disk(tmp_path: Path) -> None:
    models.linear(tmp_path, "plain")
    models.linear(tmp_path, "threads")
    models.linear(tmp_path, "broken")
    (tmp_path / "threads" / "model.toml").write_text("[session]\nintra_op_threads = 3\n")
    (tmp_path / "broken" / "model.toml").write_text("nonsense")
    assert cpu_demand.policies_on_disk(tmp_path) == {"plain": ONE, "threads": policy(3)}, "broken is not served"
    assert cpu_demand.policies_on_disk(tmp_path / "nowhere") == {}
