"""What each command asks the server, and what it prints."""

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
"""Rows of one request; longer files go out in several, because servers bound the rows of one (8192 by default)."""
REQUESTS_AT_ONCE: Final = 4
"""Fewer than fill a model's queue by themselves."""


class Refused(Exception):
    """The answer is no, and has been printed."""


class Unusable(Exception):
    """The command line or its data cannot be used; the text says why."""


def models(options: Namespace) -> None:
    """List the models, or describe one."""
    with _client(options) as client:
        if options.model is None:
            if options.version or options.label:
                raise Unusable("--version and --label choose a version of one model: give its NAME, too")
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
            f"The server at {options.address} has no models. Its log names the directories that it ignores, if any; "
            "so does `skylane doctor --models DIR`."
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
    """Ask one model and print its answers."""
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
    # Always the version that the values were typed for, although a newer one may take over meanwhile.
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
        print(
            f"skylane predict: columns that the model does not take are left out: {', '.join(extra)}", file=sys.stderr
        )
    return data


def health(options: Namespace) -> None:
    """Say whether requests are taken now."""
    with _client(options) as client:
        state = client.health(options.model)
        ready = state == "SERVING"
        print(f"{options.model or options.address}: {'ready' if ready else 'not ready'}")
        if not ready:
            for line in _why_not_ready(client, options.model):
                print(f"  {line}")
            raise Refused


def _why_not_ready(client: Client, model: str | None) -> Sequence[str]:
    """What the server says of its models, which it may not say to everybody."""
    try:
        return tables.not_ready_lines(client.models(), model)
    except SkylaneError as error:
        return [f"the server does not say why: {error}"]


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
