"""`skylane doctor`: compares the machine with what the server needs, and advises what to change.

Checks are pure functions from facts to findings; what gathers the facts stands at the end.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import platform
import re
import socket
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from skylane.manifest import MODEL_FILE
from skylane.policy import BadPolicy, Policy
from skylane.server.admin import cpu_demand
from skylane.server.admin.cpu_demand import counted, counted_cpus
from skylane.server.core.errors import CannotStart
from skylane.server.core.hosts import Hosts, internet
from skylane.server.core.option_types import EachHost, hosts
from skylane.server.core.settings import Settings, Transport
from skylane.server.core.text import listed
from skylane.server.host import reuseport_ebpf
from skylane.server.host.addresses import all_shown
from skylane.server.host.budget import CpuBudget, MemoryBudget, cpu_budget, memory_budget, number_of_workers
from skylane.server.process.supervisor import held_port
from skylane.server.recording import journal_directory
from skylane.server.repository import selection
from skylane.server.repository.scanner import ModelOnDisk, scan
from skylane.server.repository.verified_loading import load_version

WIDTH: Final = 80
LIBRARIES: Final = ("onnxruntime", "grpcio", "protobuf", "numpy", "msgspec")
FILES_BESIDES: Final = 128
"""Open files of a worker without connections: libraries, models while they load, its own sockets. Seen: 40 to 70."""

Level = Literal["ok", "warn", "fail"]

EPILOG = """\
The exit code is 1 if anything failed: then `skylane serve` would not start, or
would refuse a model. Options are those of `skylane serve`, and come from the
environment as they do there.

examples:
  skylane doctor
  skylane doctor --models /srv/models --workers auto
"""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    level: Level
    text: str
    advice: str = ""
    """What to do."""


@dataclass(frozen=True)
class Section:
    """What belongs together."""

    title: str
    findings: Sequence[Finding]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report. Returns the exit code."""
    parser = _parser()
    options = vars(parser.parse_args(argv))
    connections = options.pop("connections")
    try:
        settings = Settings(**options)
    except ValueError as error:
        parser.error(str(error))
    sections = []
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for section in _examine(settings, connections):
        print(_text(section, colour), flush=True)  # each at once: loading models may take a while
        sections.append(section)
    print(summary(sections))
    return int(any(finding.level == "fail" for section in sections for finding in section.findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skylane doctor",
        description="Check whether this machine can serve the models with these options.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Settings()

    def default(name: str) -> str:
        return os.environ.get(f"SKYLANE_{name.upper()}", str(getattr(defaults, name)))

    parser.add_argument("--models", type=Path, metavar="DIR", default=default("models"), help="model repository")
    parser.add_argument(
        "--workers", type=number_of_workers, metavar="N", default=default("workers"), help="workers, or auto"
    )
    parser.add_argument("--host", type=hosts, action=EachHost, default=default("host"), help="addresses to listen on")
    parser.add_argument("--port", type=int, default=default("port"), help="gRPC port")
    parser.add_argument(
        "--http-port", type=int, metavar="PORT", default=os.environ.get("SKYLANE_HTTP_PORT"), help="HTTP port"
    )
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="DIR",
        default=os.environ.get("SKYLANE_JOURNAL"),
        help="directory of the journal of predictions",
    )
    parser.add_argument("--transport", choices=get_args(Transport), default=default("transport"))
    parser.add_argument(
        "--connections", type=int, metavar="N", default=1000, help="expected number of connections (default: 1000)"
    )
    return parser


# --- Pure: facts in, findings out -------------------------------------------------------------------------------------


def transport(name: str) -> Finding:
    """What serves, and what it costs."""
    if name == "grpcio":
        return Finding("ok", "transport grpcio, as configured; the native one needs several times less CPU")
    return Finding("ok", "transport native, with grpcio for methods that are not answered in batches")


def cpu(budget: CpuBudget, workers: int, models: Mapping[str, Policy]) -> list[Finding]:
    """The CPU budget and the demand."""
    quota = "no cgroup quota" if budget.quota is None else f"cgroup quota {budget.quota:.4g}"
    findings = [Finding("ok", f"{counted_cpus(budget)}: affinity {budget.affinity}, {quota}")]
    if budget.cpus < 1:
        findings = [
            Finding(
                "warn",
                f"{findings[0].text}: a worker that has used it up is paused for the rest of each period",
                "grant at least one CPU if latency matters",
            )
        ]
    line = cpu_demand.start_line(budget, workers, models).rpartition(": ")[2]
    excess = cpu_demand.excess(budget, workers, models)
    findings += [Finding("warn", text, advice) for text, _, advice in (each.rpartition(": ") for each in excess)]
    if not excess and workers < budget.workers:
        findings.append(Finding("ok", f"{line}; there is room for {budget.workers} workers", "--workers auto uses it"))
    elif not excess:
        findings.append(Finding("ok", line))
    return findings


def memory(budget: MemoryBudget, workers: int, model_bytes: int, worker_bytes: int, cache_bytes: int) -> Finding:
    """Whether all workers fit. `worker_bytes` is what one takes when its models are loaded, its caches still empty."""
    total = budget.total
    demand = (
        f"{counted(workers, 'worker')} × {_size(worker_bytes)}, as measured here with {_size(model_bytes)} of models"
    )
    if cache_bytes:
        demand += f", and caches of {_size(workers * cache_bytes)} when full"
    if total is None:
        return Finding("ok", f"unknown limit: {demand}")
    where = "cgroup limit" if budget.limit == total else "the machine's"
    text = f"{_size(total)} ({where}): {demand}"
    advice = "fewer --workers, fewer versions ([versions] keep), or smaller [cache] max_mb; or grant more memory"
    if workers * worker_bytes > total:
        return Finding("fail", text, advice)
    if workers * (worker_bytes + cache_bytes) > total:
        return Finding("warn", text, advice)
    return Finding("ok", text)


def open_files(limit: int | None, connections: int) -> Finding:
    """Whether one worker may hold all connections: the kernel spreads them at random, and others may have ended."""
    if limit is None:
        return Finding("ok", "open files: no limit")
    text = f"open files: {limit} for each process, {connections} connections expected"
    if limit >= connections + FILES_BESIDES:
        return Finding("ok", text)
    wanted = connections + FILES_BESIDES
    return Finding("warn", text, f"ulimit -n {wanted}, or LimitNOFILE={wanted} in a systemd unit")


def sharing(workers: int, in_turn: bool) -> list[Finding]:
    """How connections find a worker."""
    if workers == 1:
        return []
    if in_turn:
        return [Finding("ok", "connections are shared among the workers in turn")]
    text = "connections are shared among the workers by the kernel's hash: unevenly while they are few"
    return [Finding("ok", text, "grant CAP_BPF to share them in turn, or open more connections")]


def journal(directory: Path | None, problem: str, models: Sequence[str]) -> Finding:
    """Where predictions are recorded. `problem`: why they cannot be. `models`: those whose model.toml says so."""
    named = listed(models)
    if directory is None and models:
        text = f"[monitor] journal is set for {named}, but nothing is recorded"
        return Finding("warn", text, "serve with --journal DIR")
    if directory is None:
        return Finding("ok", "predictions are not recorded: --journal is not set")
    if problem:
        return Finding("fail", problem)
    if not models:
        advice = "set `journal = true` under [monitor] in a model.toml"
        return Finding("warn", f"{directory}: no model is recorded", advice)
    return Finding("ok", f"{directory}: predictions of {named} are recorded")


def summary(sections: Sequence[Section]) -> str:
    """The report in one line."""
    levels = [finding.level for section in sections for finding in section.findings]
    counts = [counted(levels.count("fail"), "failure"), counted(levels.count("warn"), "warning")]
    return " and ".join(each for each in counts if not each.startswith("0 ")) or "no problems found"


def _text(section: Section, colour: bool) -> str:
    return (
        "\n".join([section.title, *(line for finding in section.findings for line in _lines(finding, colour))]) + "\n"
    )


def _lines(finding: Finding, colour: bool) -> Iterator[str]:
    mark = finding.level.ljust(4)
    if colour:
        mark = f"\033[{ {'ok': 32, 'warn': 33, 'fail': 31}[finding.level] }m{mark}\033[0m"
    text = _wrapped(finding.text, WIDTH - 8)
    yield from (f"  {mark}  {line}" if number == 0 else f"        {line}" for number, line in enumerate(text))
    advice = _wrapped(finding.advice, WIDTH - 10)
    yield from (f"        {'  ' if number else '→ '}{line}" for number, line in enumerate(advice))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most that width; a number and what it counts stay together."""
    bound = re.sub(r"([\d×]) (?=\w)", "\\1\N{NO-BREAK SPACE}", text)
    lines = textwrap.wrap(bound, width, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 999.5 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


# --- Edge: gather the facts -------------------------------------------------------------------------------------------


def _examine(settings: Settings, connections: int) -> Iterator[Section]:
    yield Section("software", _software(settings.transport))
    yield Section("CPU", cpu(cpu_budget(), settings.workers, cpu_demand.policies_on_disk(settings.models)))
    findings, model_bytes, cache_bytes = _models(settings.models)
    yield Section(f"models in {settings.models}", findings)
    yield Section("memory", [memory(memory_budget(), settings.workers, model_bytes, _peak_bytes(), cache_bytes)])
    ports = [_port(settings.host, settings.port, "port")]
    if settings.http_port is not None:
        ports.append(_port(internet(settings.host), settings.http_port, "http-port"))
    yield Section("journal", [_journal(settings)])
    shared = sharing(settings.workers, reuseport_ebpf.possible())
    yield Section("connections", [open_files(_files_limit(), connections), *ports, *shared])


def _journal(settings: Settings) -> Finding:
    directory = settings.journal
    problem = journal_directory.problem_of(directory, settings.models, make=False) if directory else ""
    policies = cpu_demand.policies_on_disk(settings.models)
    return journal(directory, problem, sorted(name for name, policy in policies.items() if policy.monitor.journal))


def _software(transport_name: str) -> list[Finding]:
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    versions = listed(f"{name} {_version(name) or 'missing'}" for name in LIBRARIES)
    return [Finding("ok", python), Finding("ok", versions), transport(transport_name)]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _models(root: Path) -> tuple[list[Finding], int, int]:
    """Findings for each version that would be loaded, the bytes of their graphs, and of their caches when full."""
    importlib.import_module("skylane.server.lifecycle")  # a worker has it in memory, so it belongs to what is measured
    try:
        seen = scan(root)
    except OSError as error:
        return [Finding("fail", f"{root}: {error.strerror}", "name the model repository with --models")], 0, 0
    findings = [Finding("warn", f"{path} is ignored: {expected}") for path, expected in seen.misplaced.items()]
    if not seen.models:
        return (
            [
                Finding("warn", "no model with a version in it", "publish one with skylane convert or skylane import"),
                *findings,
            ],
            0,
            0,
        )
    kept, model_bytes, cache_bytes = list[object](), 0, 0
    for name, model in seen.models.items():
        policy, problems = _policy(name, model)
        findings += problems
        if policy is None:
            continue
        for version in sorted(selection.wanted(model.versions, policy.versions), reverse=True):
            try:
                loaded = load_version(root / name / str(version), name, version, policy)
            except Exception as error:  # BrokenVersion or any other: the server would refuse it too
                advice = "the server would serve another version, if there is one"
                if "skylane import" not in str(error):
                    advice = f"publish or import {name} again; {advice}"
                findings.append(Finding("fail", f"{name}/{version}: {error}", advice))
                continue
            kept.append(loaded)  # so that the memory of all together is measured
            model_bytes += sum(file.bytes for file in model.versions[version] if file.name == MODEL_FILE)
            cache_bytes += int(policy.cache.max_mb * 2**20) if policy.cache.enabled else 0
            findings.append(Finding("ok", f"{name}/{version}: {_served(policy)}; a run takes {loaded.cost}"))
    return findings, model_bytes, cache_bytes


def _policy(name: str, model: ModelOnDisk) -> tuple[Policy | None, list[Finding]]:
    """The policy to serve by, and what is wrong with it; None if the model would not be served."""
    if model.unreadable:
        return None, [Finding("fail", f"{name}: {model.unreadable}", "let the server's user read it")]
    try:
        return model.decoded(), []
    except BadPolicy as error:
        advice = f"mend it: a server that is started before that does not serve {name}"
        return None, [Finding("fail", f"{name}: {error}", advice)]


def _served(policy: Policy) -> str:
    """The policy in a few words."""
    batching, session = policy.batching, policy.session
    cache = f"cache of {policy.cache.max_mb:g} MiB" if policy.cache.enabled else "no cache"
    delay = f", waits {batching.max_queue_delay_ms:g} ms" if batching.max_queue_delay_ms else ""
    threads = f"{counted(batching.instances, 'instance')} × {counted(session.intra_op_threads, 'thread')}"
    return f"{threads}, up to {batching.max_batch_rows} rows{delay}, {cache}"


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _files_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _port(at: Hosts, port: int, option: str) -> Finding:
    """Whether the port that this option names could be bound."""
    protocol = "HTTP" if option == "http-port" else "gRPC"
    where = all_shown(at, port)
    if not hasattr(socket, "SO_REUSEPORT"):
        return Finding("ok", f"{where} for {protocol} was not tried: this system has no way to try a port")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(held_port(at, port))
        except CannotStart as error:
            text = f"{option}: {str(error).partition(': ')[2]}"
            return Finding("warn", text, f"fine if it is Skylane that serves there now; else use another --{option}")
    return Finding("ok", f"{where} is free for {protocol}")
