"""The argument parser of the command `skylane`, with its help texts."""

import argparse
import os
from collections.abc import Sequence
from typing import Any, Final

from skylane.version import __version__

ADDRESS: Final = "localhost:8500"

DESCRIPTION: Final = "Turn scikit-learn pipelines into ONNX models and serve them over gRPC."

EPILOG: Final = """\
examples:
  skylane convert late.skops --name flights_late --data held_out.csv
  skylane import triton-repository --models models
  skylane serve --models models
  skylane models
  skylane predict diabetes --json '[[59,2,32.1,101,157,93.2,38,4,4.86,87]]'
  skylane health diabetes && echo ready
  skylane top
  skylane bench --model diabetes

`python -m examples.small` publishes the model diabetes and others to try.
`skylane COMMAND --help` explains a command.
"""

MODELS_EPILOG: Final = """\
examples:
  skylane models                       every model, with its versions
  skylane models flights_late          inputs and outputs of its default version
  skylane models flights_late --label stable --format json
  skylane models diff flights_late     changes of its newest version
  skylane models copy flights_late/2 flights_eu    version 2 under another name
"""

PREDICT_USAGE: Final = "MODEL (--row ... | --json TEXT | --csv FILE)"

PREDICT_EPILOG: Final = """\
Values get the types of the model's columns: 0017 stays text in a column of
strings. An empty value, or null in JSON, is a missing value.

examples:
  skylane predict diabetes --json '[[59,2,32.1,101,157,93.2,38,4,4.86,87]]'
  skylane predict diabetes --csv patients.csv
  head -9 flights.csv | skylane predict flights_late --csv - --format csv

`skylane models NAME` lists the model's columns. Replace the dots by the rest.
  skylane predict NAME --row carrier=UA distance= ... --row carrier=B6 ...
  skylane predict NAME --json '{"carrier": ["UA", null], ...}'
  skylane predict NAME --json '[{"carrier": "UA", ...}, ...]'
  skylane predict NAME --json '[[0, 0, 5, 13, ...], ...]'
"""

HEALTH_EPILOG: Final = """\
The exit code is 0 if the server, or the model, is ready, and 1 if it is not or
cannot be reached. A server is ready when at least one of its models is, and a
model when at least one of its versions is. The lines after "not ready" give the
reasons.

examples:
  skylane health                       the server as a whole
  skylane health flights_late          one model
  until skylane health; do sleep 1; done
"""


def parser() -> argparse.ArgumentParser:
    """The parser. Commands of other packages are only listed; those packages parse their arguments."""
    top = argparse.ArgumentParser(
        prog="skylane",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"skylane {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    commands.add_parser("serve", help="serve the models of a repository", add_help=False)
    commands.add_parser("token", help="create bearer tokens for the callers of a server", add_help=False)
    commands.add_parser("doctor", help="check whether this machine is suitable for the models to serve", add_help=False)
    commands.add_parser("outcomes", help="record what became true after predictions", add_help=False)
    commands.add_parser("journal", help="read, export and remove recorded predictions", add_help=False)
    commands.add_parser("top", help="show the live metrics of a running server", add_help=False)
    commands.add_parser("monitor", help="compute performance and drift from the journal and outcomes", add_help=False)
    commands.add_parser("performance", help="show how well a model does, as far as outcomes are known", add_help=False)
    commands.add_parser("drift", help="show whether a model's inputs are like its reference", add_help=False)
    commands.add_parser("bench", help="load-test a server and write a report", add_help=False)
    commands.add_parser("convert", help="turn a pipeline into a published model", add_help=False)
    commands.add_parser("score", help="score files with a model, without a server", add_help=False)
    commands.add_parser("features", help="define features once, for training and serving", add_help=False)
    commands.add_parser("profile", help="add what drift is judged by to a published version", add_help=False)
    commands.add_parser("import", help="publish ONNX files, Triton repositories, MLflow models", add_help=False)
    _add_models(commands)
    _add_predict(commands)
    _add_health(commands)
    return top


def _add_models(commands: Any) -> None:
    models = _add(commands, "models", "[NAME]", "list the models of a server, or describe one", MODELS_EPILOG)
    models.add_argument("model", nargs="?", metavar="NAME", help="describe this model")
    _add_choice(models)
    _add_format(models, ("table", "json"))
    _add_connection(models)


def _add_predict(commands: Any) -> None:
    predict = _add(commands, "predict", PREDICT_USAGE, "get predictions from a model", PREDICT_EPILOG)
    predict.add_argument("model", metavar="MODEL", help="name of the model")
    data = predict.add_argument_group("data, one of").add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--row", action="append", nargs="+", metavar="NAME=VALUE", help="one row; repeat the option for more rows"
    )
    data.add_argument(
        "--json", metavar="TEXT", help="a dict of lists, a list of dicts, or arrays for tensors; - reads stdin"
    )
    data.add_argument("--csv", metavar="FILE", help="a file with column names in its first line; - reads stdin")
    _add_choice(predict)
    predict.add_argument("--outputs", nargs="+", metavar="NAME", default=(), help="outputs to return (default: all)")
    _add_format(predict, ("table", "json", "csv"))
    _add_connection(predict)


def _add_health(commands: Any) -> None:
    health = _add(commands, "health", "[MODEL]", "check whether a server, or one model, is ready", HEALTH_EPILOG)
    health.add_argument("model", nargs="?", metavar="MODEL", help="name of a model (default: the whole server)")
    _add_connection(health)


def _add(commands: Any, name: str, usage: str, text: str, epilog: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        usage=f"skylane {name} {usage} [options]",
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command


def _add_choice(command: argparse.ArgumentParser) -> None:
    choice = command.add_argument_group("version (default: the latest that is ready)").add_mutually_exclusive_group()
    choice.add_argument("--version", type=_positive, metavar="N", help="this version")
    choice.add_argument("--label", metavar="LABEL", help="the version with this label, for example stable")


def _add_format(command: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    command.add_argument("--format", choices=formats, default="table", help="output format (default: table)")


def _add_connection(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("server")
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        default=os.environ.get("SKYLANE_ADDRESS", ADDRESS),
        help=f"the server's gRPC port (default: {ADDRESS}, or SKYLANE_ADDRESS)",
    )
    group.add_argument("--timeout", type=_seconds, metavar="S", default=10.0, help="seconds to wait (default: 10)")
    group.add_argument(
        "--token",
        metavar="TEXT",
        default=os.environ.get("SKYLANE_TOKEN", ""),
        help="a bearer token (default: SKYLANE_TOKEN, which hides it from other users)",
    )
    group.add_argument("--tls", action="store_true", help="connect with TLS")
    group.add_argument("--tls-ca", metavar="FILE", help="trust the certificates in this PEM file; implies --tls")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"expected more than 0 seconds, got {text}")
    return number


# argparse names the type in its message: "invalid whole number value: 'x'".
_positive.__name__, _seconds.__name__ = "whole number", "number"
