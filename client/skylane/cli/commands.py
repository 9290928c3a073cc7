"""The commands that call a server: models, predict and health."""

import io
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import grpc

from skylane.cli import rows, tables
from skylane.client import Client, Model, Prediction
from skylane.client.errors import SkylaneError

ROWS_AT_ONCE: Final = 1024
"""Rows of one request. Larger inputs are split, because servers limit the rows of a request (8192 by default)."""
REQUESTS_AT_ONCE: Final = 4
"""Requests in flight at once; few enough not to fill a model's queue."""


class Refused(Exception):
    """The server is not ready; that has been printed already."""


class Unusable(Exception):
    """The arguments or the data are invalid; the message gives the reason."""


def models(options: Namespace) -> None:
    """List the models, or describe one."""
    with _client(options) as client:
        if options.model is None:
            if options.version or options.label:
                raise Unusable("--version and --label select a version of one model: give its NAME as well")
            _list(client, options)
            return
        model = client.model(options.model, options.version, options.label)
    if options.format == "json":
        described = asdict(model)
        del described["manifest_json"]
        print(tables.json_text(described | {"manifest": model.manifest}))
    else:
        print(tables.model_text(model))


def _list(client: Client, options: Namespace) -> None:
    statuses = client.models()
    ready = [(status.name, each.version) for status in statuses for each in status.versions if each.state == "ready"]
    if options.format == "json":
        defaults = {(name, client.model(name).version) for name in dict.fromkeys(name for name, _ in ready)}
        print(tables.json_text([tables.models_json(status, defaults) for status in statuses]))
        return
    if not statuses:
        print(
            f"The server at {options.address} has no models. Its log and `skylane doctor --models DIR` list the "
            "directories that it ignores, if any."
        )
        return
    schemas = {key: client.model(*key) for key in ready}
    names = [name for name, _ in ready]
    several = [status.name for status in statuses if names.count(status.name) > 1]
    defaults = {(name, client.model(name).version) for name in several}
    lines = tables.models_rows(statuses, schemas, defaults)
    print(tables.table(["MODEL", "VERSION", "STATE", "INPUTS", "LABELS"], lines))
    for status in statuses:
        for each in status.versions:
            if each.reason:
                print(f"\n{status.name} version {each.version} {each.state}: {each.reason}")


def predict(options: Namespace) -> None:
    """Get predictions from a model and print them."""
    with _client(options) as client:
        model = client.model(options.model, options.version, options.label)
        try:
            answer = _answer(client, options, model, _data(options, model))
        except (TypeError, ValueError) as error:
            raise Unusable(error) from error
    if options.format == "json":
        print(tables.json_text(tables.prediction_json(answer)))
        return
    header, lines = tables.prediction_rows(answer, model)
    if options.format == "csv":
        print(tables.csv_text(header, lines))
        return
    count = "1 row" if len(answer) == 1 else f"{len(answer)} rows"
    print(f"{answer.model} version {answer.version}, {count}{', from the cache' * answer.cached}\n")
    print(tables.table(["ROW", *header], [[number, *line] for number, line in enumerate(lines)]))


def _answer(client: Client, options: Namespace, model: Model, data: Any) -> Prediction:
    # The version for whose schema the values were converted, even if a newer one becomes the default meanwhile.
    parts = rows.slices(data, ROWS_AT_ONCE)
    if len(parts) == 1:
        return client.predict(options.model, data, version=model.version, outputs=options.outputs)
    answers = client.predict_many(
        options.model, parts, version=model.version, outputs=options.outputs, window=REQUESTS_AT_ONCE
    )
    return tables.joined(list(answers))


def _data(options: Namespace, model: Model) -> Any:
    if options.row:
        return rows.from_rows(options.row, model)
    if options.json is not None:
        return rows.from_json(sys.stdin.read() if options.json == "-" else options.json, model)
    text = sys.stdin.read() if options.csv == "-" else _read("--csv", options.csv).decode("utf-8-sig")
    data, extra = rows.from_csv(io.StringIO(text, newline=""), model)
    if extra:
        print(f"skylane predict: ignored columns that the model does not use: {', '.join(extra)}", file=sys.stderr)
    return data


def health(options: Namespace) -> None:
    """Print whether the server, or one model, is ready."""
    with _client(options) as client:
        state = client.health(options.model)
        ready = state == "SERVING"
        print(f"{options.model or options.address}: {'ready' if ready else 'not ready'}")
        if not ready:
            for line in _why_not_ready(client, options.model):
                print(f"  {line}")
            raise Refused


def _why_not_ready(client: Client, model: str | None) -> Sequence[str]:
    """Reasons from the states of the models, which the server may not show to every caller."""
    try:
        return tables.not_ready_lines(client.models(), model)
    except SkylaneError as error:
        return [f"the reason is not available: {error}"]


COMMANDS: Final[dict[str, Callable[[Namespace], None]]] = {"models": models, "predict": predict, "health": health}


def _client(options: Namespace) -> Client:
    credentials = None
    if options.tls or options.tls_ca:
        credentials = grpc.ssl_channel_credentials(_read("--tls-ca", options.tls_ca) if options.tls_ca else None)
    metadata = [("authorization", f"Bearer {options.token}")] if options.token else []
    try:
        return Client(options.address, timeout_s=options.timeout, credentials=credentials, metadata=metadata)
    except ValueError as error:
        raise Unusable(f"--address or SKYLANE_ADDRESS: {error}") from error


def _read(option: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Unusable(f"{option}: {file}: {error.strerror}") from error
