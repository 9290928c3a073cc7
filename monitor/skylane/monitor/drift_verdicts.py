"""Statistics of blocks → verdicts, as they are stored, shown and reported."""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from skylane.monitor.progress import Progress
from skylane.monitor.state import Report, State
from skylane.monitor.view import BRIDGED, Alarm, Cell, DriftBlock, block_text
from skylane.reference import Reference
from skylane.statistics.drift import BlockStatistics, ColumnDrift, Verdict, judge

KIND: Final = "drift"
HISTORY: Final = 14
"""Blocks before one that its verdict takes into account."""
FINGERPRINT_BYTES: Final = 8


def fingerprint(reference: Reference) -> bytes:
    """Tells statistics apart that were measured against different references, which do not merge."""
    about = (reference.identity, reference.of, reference.rows, reference.blocks, reference.first_s, reference.last_s)
    named = (*about, reference.block_s, *reference.columns, *reference.answers)
    return hashlib.sha256(repr(named).encode()).digest()[:FINGERPRINT_BYTES]


def stored(statistics: BlockStatistics, reference: Reference) -> bytes:
    """Statistics with the fingerprint of their reference."""
    return fingerprint(reference) + statistics.encode()


def restored(content: bytes | None, reference: Reference) -> BlockStatistics | None:
    """What was stored; None if there is nothing, or if it was measured against another reference."""
    if content is None or content[:FINGERPRINT_BYTES] != fingerprint(reference):
        return None
    return BlockStatistics.decode(content[FINGERPRINT_BYTES:])


def as_json(verdict: Verdict, rows: int, *, closed: bool, block_name: str) -> dict[str, Any]:
    """As it is stored."""
    named = {name for finding in verdict.findings for name in finding.columns}
    columns = {**(verdict.columns or {}), **{_answer(name): each for name, each in (verdict.answers or {}).items()}}
    return {
        "status": verdict.status,
        "words": verdict.text,
        "notes": list(verdict.notes),
        "rows": rows,
        "closed": closed,
        "cells": [_cell(name, each, name in named, block_name) for name, each in columns.items()],
        "findings": [
            {
                "columns": list(each.columns), "kind": each.kind, "words": each.text, "share": each.share,
                "since": each.since_s,
            }
            for each in verdict.findings
        ],
    }  # fmt: skip


def _answer(name: str) -> str:
    """As people read it: P(late) rather than probabilities:late."""
    output, colon, label = name.partition(":")
    return f"answer P({label})" if colon and output == "probabilities" else f"answer {name}"


def _cell(name: str, drift: ColumnDrift, named: bool, block_name: str) -> dict[str, Any]:
    shade = 4 if named or drift.level == "alarm" else 3 if drift.level == "unusual" else _shade(drift.p)
    parts = [f"PSI {max(drift.psi, 0.0):.2f}"]
    if drift.w1 is not None and math.isfinite(drift.w1):
        parts.append(f"W1 {drift.w1:.2f} sd")
    shares = (("missing", drift.missing), ("unseen", drift.unseen), ("out of range", drift.outside))
    parts += [f"{share * 100:.1f} % {what}" for what, share in shares if share > 0]
    return {
        "column": name,
        "shade": shade,
        "psi": _finite(drift.psi),
        "w1": _finite(drift.w1),
        "missing": drift.missing,
        "words": f"{name}, {block_name}: {', '.join(parts)}",
    }


def _shade(p: float | None) -> int:
    """0 for a block like most of the reference's own, 2 for one that few of them are like."""
    return 0 if p is None or p >= 0.5 else 1 if p >= 0.1 else 2


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def drift_blocks(state: State, model: str) -> list[DriftBlock]:
    """All verdicts as they are now, the oldest first."""
    return [
        DriftBlock(
            block, version, value["rows"], value["closed"], value["status"], value["words"], tuple(value["notes"]),
            tuple(Cell(**cell) for cell in value["cells"]),
        )
        for (version, block), value in state.derived(model, KIND).items()
    ]  # fmt: skip


def alarms(state: State, model: str) -> list[Alarm]:
    """Alarms as they were reported, the latest first."""
    return [
        Alarm(
            report.block, report.version, report.recorded_at,
            tuple(name for finding in report.value["findings"] for name in finding["columns"]),
            report.value["findings"][0]["kind"] if report.value["findings"] else "",
            report.value["words"],
        )
        for report in reversed(state.reports(model, KIND))
        if report.value["status"] == "alarm"
    ]  # fmt: skip


def update(
    state: State, model: str, version: int, blocks: Sequence[int], reference: Reference, *, block_us: int, now: int,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Judge blocks anew, and report those that have ended. A report stays as it was first written."""
    present = state.input_blocks(model, version)
    measured: dict[int, BlockStatistics | None] = {}
    verdicts = {of: value for (each, of), value in state.derived(model, KIND).items() if each == version}
    for block in blocks:
        place = bisect_left(present, block)
        wanted = present[max(0, place - HISTORY) : place + 1]
        measured = {each: measured[each] for each in wanted if each in measured}
        for each in wanted:
            if each not in measured:
                measured[each] = restored(state.inputs(model, version, each), reference)
        current = measured[block]
        if current is None:
            continue
        history = [each for each in map(measured.get, wanted[:-1]) if each is not None]
        before = [verdicts[each] for each in wanted[-1 - BRIDGED : -1] if each in verdicts]
        verdict = judge(history, current, reference, _begun(before))
        closed = now >= block + block_us
        value = as_json(verdict, current.count, closed=closed, block_name=block_text(block, block_us))
        verdicts[block] = value
        if progress is not None:
            progress.blocks(1)
        state.set_derived(model, KIND, version, block, value)
        if closed:
            reported = {name: value[name] for name in ("status", "words", "notes", "rows", "findings")}
            state.write_report(Report(model, KIND, version, block, now, reported))


def _begun(verdicts: Sequence[Mapping[str, Any]]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Since when the findings of earlier verdicts hold, the earliest of each kind and columns."""
    made: dict[tuple[str, tuple[str, ...]], float] = {}
    for verdict in verdicts:
        for finding in verdict["findings"]:
            key = (finding["kind"], tuple(finding["columns"]))
            made[key] = min(made.get(key, np.inf), finding.get("since", np.inf))
    return made


def notes(blocks: Sequence[DriftBlock], references: Mapping[int, Reference | None], block_us: int) -> list[str]:
    """What is no alarm and should be known: slow changes with their sizes, and what the latest verdicts note."""
    made: list[str] = []
    for version in sorted({block.version for block in blocks}):
        judged = [block for block in blocks if block.version == version and block.closed and block.cells]
        if slow := _slow(judged, block_us):
            made.append(
                f"Version {version}: unlike the reference for a while: {'; '.join(slow)}. No alarm, because they moved "
                f"slowly{_season(references.get(version))}."
            )
        noted = [block for block in judged[-HISTORY:] if block.notes]
        if noted:
            day = block_text(noted[-1].block, block_us)
            made += [f"Version {version}, {day}: {note}." for note in noted[-1].notes]
    return made


def _slow(judged: Sequence[DriftBlock], block_us: int) -> list[str]:
    """Columns that were unlike most of the reference's blocks for a while, without an alarm, and when and how much."""
    sizes: dict[str, dict[int, float]] = {}
    for place, block in enumerate(judged):
        for cell in block.cells:
            if cell.shade in (2, 3) and cell.w1 is not None and cell.w1 >= SLOW_SIZE:
                sizes.setdefault(cell.column, {})[place] = cell.w1
    found = []
    for name, places in sizes.items():
        flags = np.zeros(len(judged))
        flags[list(places)] = 1
        if len(judged) < HISTORY:
            continue
        starts = np.flatnonzero(np.convolve(flags, np.ones(HISTORY), "valid") >= SLOW_SHARE * HISTORY)
        if len(starts):
            within = [place for place in places if starts[0] <= place < starts[-1] + HISTORY]
            size = sum(places[place] for place in within) / len(within)
            period = " to ".join(block_text(judged[each].block, block_us) for each in (min(within), max(within)))
            found.append((size, f"{name} by {size:.1f} standard deviations in {len(within)} blocks, {period}"))
    return [text for _, text in sorted(found, reverse=True)[:SLOW_COLUMNS]]


def _season(reference: Reference | None) -> str:
    if reference is None or not reference.blocks or reference.covers_a_year:
        return ""
    return (
        f"; the reference covers {reference.blocks} blocks, less than a year, so season and drift cannot be told apart"
    )


SLOW_SHARE: Final = 0.7
"""Of the latest blocks, in which a column must be unlike most blocks of the reference."""
SLOW_COLUMNS: Final = 5
SLOW_SIZE: Final = 0.25
"""Least distance to the reference that is worth a note, in standard deviations."""
