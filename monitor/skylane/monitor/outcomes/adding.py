"""Adds the outcomes of a file to a directory, or sends them to a server."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pyarrow as pa

from skylane.client import Client, OutcomeReceipt, OutcomesRefused
from skylane.monitor.outcomes.files import OutcomeFile
from skylane.outcomes import OutcomeStore, Submission
from skylane.outcomes.checks import REFUSALS_MAX
from skylane.outcomes.recorded import RecordedOutcomes
from skylane.outcomes.schema import FROM_FILE

AT_ONCE: Final = 100_000
"""Outcomes that are written with one batch."""
KEYS_MAX: Final = 10_000_000


@dataclass
class Added:
    """What became of a file's outcomes."""

    accepted: int = 0
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0
    refused: int = 0
    refusals: tuple[tuple[int, str], ...] = ()
    """Row of the file, from 0, and why: the first ones."""

    def add(self, receipt: Any, rows: Any) -> None:
        """Count a receipt. `rows`: of the file, of the outcomes that were sent."""
        self.accepted += receipt.accepted
        self.repeated += receipt.repeated
        self.corrected += receipt.corrected
        self.unknown += receipt.unknown
        self.refused += receipt.refused
        self._list([(int(rows[each.index]), each.reason) for each in receipt.refusals])

    def refuse(self, problems: dict[int, str]) -> None:
        """Count rows that could not be read."""
        self.refused += len(problems)
        self._list(sorted(problems.items()))

    def _list(self, refusals: list[tuple[int, str]]) -> None:
        self.refusals = tuple(sorted((*self.refusals, *refusals))[:REFUSALS_MAX])


def add_to_directory(directory: Path, model: str, file: OutcomeFile) -> Added:
    """Record outcomes in a journal's directory. Raises OSError, JournalError, or ValueError for no model's name."""
    added, store = Added(), OutcomeStore(directory, recorded=RecordedOutcomes(KEYS_MAX, float("inf")))
    try:
        for start in range(0, len(file.table), AT_ONCE):
            part = file.table.slice(start, AT_ONCE)
            here = range(start, start + len(part))
            problems = {row - start: why for row, why in file.problems.items() if row in here}
            (receipt,) = store.record([Submission(model, FROM_FILE, part, problems)])
            if isinstance(receipt, OSError):
                raise receipt
            added.add(receipt, here)
    finally:
        store.close()
    return added


def add_to_server(options: Namespace, file: OutcomeFile) -> Added:
    """Send outcomes to a server. Raises SkylaneError, OSError, or ValueError for no address."""
    added = Added()
    added.refuse(file.problems)
    readable = np.setdiff1d(np.arange(len(file.table)), np.fromiter(file.problems, np.int64, len(file.problems)))
    is_by_id = np.asarray(file.table["prediction_id"].combine_chunks().is_valid())
    with _client(options) as client:
        for rows in (readable[is_by_id[readable]], readable[~is_by_id[readable]]):
            if len(rows):
                added.add(_send(client, options.model, file.table.take(pa.array(rows))), rows)
    return added


def _send(client: Client, model: str, table: Any) -> OutcomeReceipt:
    values = {name: table[name].to_pylist() for name in table.column_names if table[name].null_count < len(table)}
    named = {
        "prediction_id": "prediction_ids",
        "row": "rows",
        "entity": "entities",
        "label": "labels",
        "value": "values",
    }
    given: dict[str, Any] = {named.get(name, name): column for name, column in values.items()}
    if "prediction_ids" not in given:
        given.setdefault("entities", [None] * len(table))
    if "labels" not in given:
        given.setdefault("values", [None] * len(table))
    try:
        return client.record_outcomes(model, given.pop("prediction_ids", None), **given)
    except OutcomesRefused as refused:
        return refused.receipt


def _client(options: Namespace) -> Client:
    credentials = None
    if options.tls or options.tls_ca:
        credentials = grpc.ssl_channel_credentials(options.tls_ca.read_bytes() if options.tls_ca else None)
    metadata = [("authorization", f"Bearer {options.token}")] if options.token else []
    return Client(options.server, timeout_s=options.timeout, credentials=credentials, metadata=metadata)
