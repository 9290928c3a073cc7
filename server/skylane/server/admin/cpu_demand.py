"""Compares the CPU budget with the demand: workers × models × threads. Pure but for `log_demand` and
`policies_on_disk`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from skylane.policy import BadPolicy, Policy
from skylane.server.core.settings import Settings
from skylane.server.host.budget import CpuBudget, cpu_budget
from skylane.server.repository.scanner import scan

log = logging.getLogger(__name__)


def start_line(budget: CpuBudget, workers: int, models: Mapping[str, Policy]) -> str:
    """The budget and the demand in one line."""
    threads = sorted({policy.session.intra_op_threads for policy in models.values()}) or [1]
    each = f"{threads[0]}" if len(threads) == 1 else f"{threads[0]} to {threads[-1]}"
    return (
        f"CPU budget {budget}: {counted(workers, 'worker')} × {counted(len(models), 'model')} × "
        f"{each} intra-op thread{'' if threads == [1] else 's'}"
    )


def excess(budget: CpuBudget, workers: int, models: Mapping[str, Policy]) -> list[str]:
    """A sentence for each model that uses more threads at once than there are CPUs, with the key to change.

    One thread always fits: with less than a CPU, no smaller demand is possible.
    """
    room, cpus = max(1.0, budget.cpus), counted_cpus(budget)
    if workers > room:
        return [f"{workers} workers for {cpus}: lower --workers to {budget.workers}, or use auto"]
    sentences = []
    for name, policy in sorted(models.items()):
        threads, instances = policy.session.intra_op_threads, policy.batching.instances
        if workers * threads * instances > room:
            key = "[session] intra_op_threads" if threads >= instances else "[batching] instances"
            sentences.append(
                f"{name}: {counted(workers, 'worker')} × {counted(instances, 'instance')} × "
                f"{counted(threads, 'intra-op thread')} for {cpus}: lower {key} in {name}/model.toml"
            )
    return sentences


def log_demand(settings: Settings) -> None:
    """Log the start line, and a warning for each excess."""
    budget, models = cpu_budget(), policies_on_disk(settings.models)
    log.info("%s", start_line(budget, settings.workers, models))
    for sentence in excess(budget, settings.workers, models):
        log.warning("CPU budget: %s", sentence)


def policies_on_disk(root: Path) -> dict[str, Policy]:
    """The policy of each model in a repository, without invalid ones, whose models are not served."""
    policies = {}
    try:
        models = scan(root).models
    except OSError:
        return {}
    for name, model in models.items():
        try:
            policies[name] = model.decoded()
        except BadPolicy:  # the repository logs it
            continue
    return policies


def counted_cpus(budget: CpuBudget) -> str:
    """`1 CPU`, `1.5 CPUs`."""
    return "1 CPU" if budget.cpus == 1 else f"{budget.cpus:.4g} CPUs"


def counted(number: int, noun: str) -> str:
    """`1 worker`, `2 workers`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
