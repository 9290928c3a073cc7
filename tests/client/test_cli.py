"""The command line: what it prints, what it sends, and with which code it ends."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

from skylane.cli import main
from skylane.cli.tables import not_ready_lines
from skylane.client import Client, ModelStatus, VersionStatus
from skylane.client.decoding import array_of
from skylane.client.errors import PermissionDenied

FakeServer = Any
"""The class of conftest.py, which tests cannot import: there is no package here."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line against the test's server and returns exit code, stdout and stderr."""
    monkeypatch.setenv("SKYLANE_ADDRESS", server.address)
    monkeypatch.setenv("COLUMNS", "80")

    def run_command(*argv: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = main(argv)
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


def lines(*expected: str) -> str:
    return "\n".join(expected) + "\n"


def test_a_list_of_models(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert out == lines(
        "MODEL         VERSION  STATE   INPUTS     LABELS",
        "flights_late        7  ready   4 columns  stable",
        "flights_late        1  failed",
        "digits              2  ready   3 columns  stable",
        "digits              1  failed",
        "",
        "flights_late version 1 failed: model.onnx: damaged",
        "",
        "digits version 1 failed: model.onnx: damaged",
    )


def test_which_of_several_versions_answers_by_default(run: Run, server: FakeServer) -> None:
    server.older["flights_late"] = 6
    _, out, _ = run("models")
    assert "flights_late        7  ready, default  4 columns  stable" in out
    assert "flights_late        6  ready           4 columns" in out
    assert "digits              2  ready           3 columns" in out, "one version: nothing to tell"


def test_a_server_without_models(run: Run, server: FakeServer) -> None:
    server.models.clear()
    code, out, err = run("models")
    assert (code, err) == (0, "")
    assert out.startswith(f"The server at {server.address} has no models. Its log and `skylane doctor")
    assert run("models", "--format", "json") == (0, "[]\n", "")


def test_what_one_model_takes(run: Run) -> None:
    code, out, _ = run("models", "flights_late", "--label", "stable")
    assert code == 0
    assert out == lines(
        "flights_late version 7, classifier",
        "",
        "COLUMN    DTYPE    GAPS ALLOWED  IN TENSOR",
        "carrier   string   yes           x_string[0]",
        "distance  float32  yes           x_float32[0]",
        "hour      int64    yes           x_int64[0]",
        "weekend   bool     yes           x_bool[0]",
        "",
        "TENSOR     DTYPE    SHAPE",
        "x_string   string   (rows, 1)",
        "x_float32  float32  (rows, 1)",
        "x_int64    int64    (rows, 1)",
        "x_bool     bool     (rows, 1)",
        "",
        "OUTPUT         DTYPE    SHAPE      ROLE           CLASSES",
        "label          string   (rows)     label",
        "probabilities  float32  (rows, 2)  probabilities  late, on time",
    )


def test_models_as_json(run: Run, server: FakeServer) -> None:
    server.older["flights_late"] = 6
    _, out, _ = run("models", "--format", "json")
    flights = json.loads(out)[0]
    assert flights["labels"] == {"stable": 7}
    assert {each["version"]: each["default"] for each in flights["versions"]} == {7: True, 6: False, 1: False}
    _, out, _ = run("models", "flights_late", "--format", "json")
    described = json.loads(out)
    assert described["columns"][0]["name"] == "carrier"
    assert described["manifest"] == {"model": "flights_late"}


@pytest.mark.parametrize(
    ("argv", "columns"),
    [
        pytest.param(["--row", "carrier=0017", "distance=1400"], ["0017", 1400.0], id="digits can be text"),
        pytest.param(["--row", "carrier=a=b", "distance=-1e3"], ["a=b", -1000.0], id="the first = divides"),
        pytest.param(["--json", '{"carrier": "UA", "distance": 1400}'], ["UA", 1400.0], id="a dict of single values"),
        pytest.param(["--json", '{"carrier": ["UA"], "distance": [1400]}'], ["UA", 1400.0], id="a dict of lists"),
        pytest.param(["--json", '[{"carrier": "UA", "distance": null}]'], ["UA", None], id="a list of dicts"),
        pytest.param(["--json", '{"carrier": 17, "distance": 1}'], ["17", 1.0], id="a number in a text column is text"),
        pytest.param(["--csv", "-"], ["UA", 1400.0], id="a file"),
    ],
)
def test_values_are_typed_by_the_schema(run: Run, server: FakeServer, argv: list[str], columns: list[Any]) -> None:
    code, _, err = run("predict", "flights_late", *argv, stdin="carrier,distance\nUA,1400\n")
    assert (code, err) == (0, "")
    carrier, distance = map(array_of, server.requests[0].tensors)
    assert carrier.tolist() == columns[:1]
    assert [None if np.isnan(value) else value for value in distance.tolist()] == columns[1:]
    assert server.requests[0].version == 7, "pinned to the version whose schema typed the values"


def test_integers_and_booleans(run: Run, server: FakeServer) -> None:
    code, _, _ = run(
        "predict", "flights_late", "--row", "hour=7", "weekend=yes", "--row", "hour=", "weekend=False"
    )  # fmt: skip
    assert code == 0
    hour, weekend = server.requests[0].columns
    assert (list(hour.ints.values), list(hour.missing)) == ([7, 0], [1])
    assert list(weekend.bools.values) == [True, False]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("[[1, 2, null]]", id="rows for the only tensor"),
        pytest.param('{"x_float32": [[1, 2, null]]}', id="a tensor by name"),
    ],
)
def test_tensors_as_json(run: Run, server: FakeServer, data: str) -> None:
    code, _, _ = run("predict", "digits", "--json", data)
    assert code == 0
    (tensor,) = server.requests[0].tensors
    assert np.array_equal(array_of(tensor), np.array([[1, 2, np.nan]], np.float32), equal_nan=True)


def test_a_table_of_answers(run: Run) -> None:
    code, out, _ = run(
        "predict", "flights_late", "--row", "carrier=UA", "distance=0.1", "--row", "carrier=B6", "distance=94"
    )
    assert code == 0
    assert out == lines(
        "flights_late version 7, 2 rows",
        "",
        "ROW  carrier  distance",
        "  0  UA            0.1",
        "  1  B6             94",
    )


def test_answers_for_programs(run: Run) -> None:
    argv = ("predict", "flights_late", "--row", "carrier=a,b", "distance=", "--outputs", "carrier", "distance")
    _, out, _ = run(*argv, "--format", "json")
    assert json.loads(out) == {
        "model": "flights_late",
        "version": 7,
        "cached": False,
        "outputs": {"carrier": ["a,b"], "distance": [None]},
    }
    _, out, _ = run(*argv, "--format", "csv")
    assert list(csv.reader(io.StringIO(out))) == [["carrier", "distance"], ["a,b", "nan"]]


def test_columns_of_probabilities_are_named_after_their_classes(run: Run, server: FakeServer) -> None:
    server.answers = {"probabilities": np.array([[0.1, 0.9]], np.float32)}
    _, out, _ = run("predict", "flights_late", "--row", "carrier=UA", "--format", "csv")
    assert out == lines("P(late),P(on time)", "0.1,0.9")


def test_a_long_file_goes_out_in_pieces_and_comes_back_whole(run: Run, server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "flights.csv"
    file.write_text("flight,carrier,distance\n" + "".join(f"{n},UA,{n}\n" for n in range(2500)), "utf-8-sig")
    code, out, err = run("predict", "flights_late", "--csv", str(file), "--format", "csv")
    assert code == 0
    assert err == "skylane predict: ignored columns that the model does not use: flight\n"
    assert [float(row["distance"]) for row in csv.DictReader(io.StringIO(out))] == list(range(2500))
    assert [request.tensors[0].shape[0] for request in server.requests] == [1024, 1024, 452]


@pytest.mark.parametrize(
    ("argv", "stdin", "says"),
    [
        pytest.param(["--row", "carrier"], "", "--row 'carrier': expected NAME=VALUE", id="no pair"),
        pytest.param(["--row", "carrier=a", "carrier=b"], "", "'carrier' is given twice in one row", id="a name twice"),
        pytest.param(["--row", "distnace=1"], "", "'distnace', did you mean 'distance'?", id="a name misspelt"),
        pytest.param(
            ["--row", "distance=far"], "", "row 0: distance='far': expected a value of type float32", id="not a number"
        ),
        pytest.param(["--row", "hour=1.5"], "", "hour='1.5': expected a value of type int64", id="not an integer"),
        pytest.param(
            ["--json", '{"hour": 1.5}'], "", "hour=1.5: expected a value of type int64", id="not an integer, in JSON"
        ),
        pytest.param(
            ["--json", '{"hour": Infinity}'], "", "expected a value of type int64", id="infinity for an integer"
        ),
        pytest.param(
            ["--row", "weekend=maybe"], "", "weekend='maybe': expected a value of type bool", id="not a boolean"
        ),
        pytest.param(["--json", "{"], "", "--json: Expecting property name", id="broken JSON"),
        pytest.param(["--json", "rows.json"], "", "to read a file, use --json - < FILE", id="a file for JSON text"),
        pytest.param(["--json", "[1, 2]"], "", "one row is [[…]], with two brackets", id="a row without brackets"),
        pytest.param(["--json", "3"], "", "expected a dict of lists", id="JSON that is no data"),
        pytest.param(["--json", "[[1]]"], "", "takes the tensors x_string, x_float32", id="rows for several tensors"),
        pytest.param(["--json", '{"y": [[1]]}'], "", "unknown tensor 'y'", id="no such tensor"),
        pytest.param(
            ["--json", '{"x_float32": [["a"]]}'],
            "",
            "tensor 'x_float32': expected rows of equal length with values of type float32",
            id="text in a tensor",
        ),
        pytest.param(["--json", '{"hour": [1], "distance": [1, 2]}'], "", "differ in length", id="lengths differ"),
        pytest.param(
            ["--json", '{"hour": {}}'], "", "hour={}: expected a value of type int64", id="an object for a value"
        ),
        pytest.param(["--csv", "-"], "", "the CSV file is empty", id="an empty file"),
        pytest.param(["--csv", "-"], "carrier,hour\n", "there are no rows below", id="a file with a header only"),
        pytest.param(["--json", '{"hour": []}'], "", "--json: there are no rows", id="lists of nothing"),
        pytest.param(
            ["--csv", "-"],
            "a,b\n1,2\n",
            "has none of the model's columns (carrier",
            id="a file about something else",
        ),
        pytest.param(
            ["--csv", "-"],
            "carrier;hour\nUA;1\n",
            "line 1, 'carrier;hour', has none of the model's columns (carrier, distance, hour, weekend); "
            "names and values are separated by commas",
            id="another separator",
        ),
        pytest.param(["--csv", "-"], "carrier,hour\nUA\n", "CSV line 2: expected 2 fields", id="a short line"),
        pytest.param(["--csv", "-"], "carrier\nUA,1\n", "CSV line 2: expected 1 fields", id="a long line"),
        pytest.param(["--csv", "-"], 'carrier\n"UA', "unexpected end of data", id="a quote without an end"),
        pytest.param(["--csv", "/nowhere.csv"], "", "/nowhere.csv: No such file", id="no file"),
        pytest.param(
            ["--row", "hour=1", "--tls-ca", "/nowhere.pem"], "", "--tls-ca: /nowhere.pem", id="no certificate"
        ),
        pytest.param(["--row", "hour=1", "--json", "{}"], "", "not allowed with argument", id="two kinds of data"),
        pytest.param([], "", "one of the arguments --row --json --csv is required", id="no data"),
        pytest.param(["--row", "hour=1", "--version", "0"], "", "expected 1 or more", id="version 0"),
        pytest.param(["--row", "hour=1", "--version", "x"], "", "invalid whole number value", id="no number"),
        pytest.param(["--row", "hour=1", "--timeout", "-1"], "", "expected more than 0 seconds", id="no time"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(
    run: Run, server: FakeServer, argv: list[str], stdin: str, says: str
) -> None:
    code, out, err = run("predict", "flights_late", *argv, stdin=stdin)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
    assert not server.requests


def test_a_model_without_columns(run: Run, server: FakeServer) -> None:
    del server.models["digits"].columns[:]
    code, _, err = run("predict", "digits", "--row", "a=1")
    assert (code, err) == (
        2,
        "skylane predict: --row: digits takes no columns by name; use --json for 'x_float32' float32\n",
    )


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        pytest.param(
            ["models", "nope"], "skylane: NOT_FOUND: no model 'nope'; there are: flights_late\n", id="no model"
        ),
        pytest.param(
            ["predict", "flights_late", "--row", "hour=1"], "skylane: INTERNAL: it broke\n", id="the server fails"
        ),
        pytest.param(
            ["models", "--address", "localhost:1"],
            "skylane: UNAVAILABLE: cannot connect to localhost:1 (Connection refused); start a server with "
            "`skylane serve`, or set another address with --address or SKYLANE_ADDRESS\n",
            id="nothing listens",
        ),
    ],
)
def test_a_server_that_says_no_ends_with_one_line_and_code_1(
    run: Run, server: FakeServer, argv: list[str], says: str
) -> None:
    server.fail("INTERNAL", "it broke")
    assert run(*argv) == (1, "", says)


def test_no_answer_in_time_names_the_option(run: Run, server: FakeServer) -> None:
    server.models["never"] = server.models["flights_late"]
    assert run("predict", "never", "--row", "hour=1", "--timeout", "0.5") == (
        1,
        "",
        "skylane: DEADLINE_EXCEEDED: no answer within the timeout; set a longer time limit with --timeout\n",
    )


@pytest.mark.parametrize("source", ["option", "environment"])
def test_a_token_goes_with_every_call(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    argv = ["predict", "flights_late", "--row", "hour=1"]
    if source == "option":
        argv += ["--token", "secret"]
    else:
        monkeypatch.setenv("SKYLANE_TOKEN", "secret")
    assert run(*argv)[0] == 0
    assert server.metadata[0]["authorization"] == "Bearer secret"


def test_without_a_token_none_is_sent_and_the_refusal_says_how_to_pass_one(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKYLANE_TOKEN", raising=False)
    server.fail("UNAUTHENTICATED", "this server requires a valid bearer token (authorization: Bearer …)")
    code, _, err = run("predict", "flights_late", "--row", "hour=1")
    assert (code, err) == (
        1,
        "skylane: UNAUTHENTICATED: this server requires a valid bearer token (authorization: Bearer …); pass a token "
        "with --token or SKYLANE_TOKEN\n",
    )
    assert "authorization" not in server.metadata[0]


def test_health_of_an_unknown_model_names_those_there_are(run: Run) -> None:
    assert run("health", "nope")[2] == (
        "skylane: NOT_FOUND: there is no model 'nope'; there are: flights_late, digits\n"
    )


@pytest.mark.parametrize("address", ["skylane", "http://localhost:8500"])
def test_an_address_without_host_and_port(run: Run, address: str) -> None:
    code, _, err = run("health", "--address", address)
    assert code == 2
    assert "expected HOST:PORT, such as localhost:8500" in err


def test_tls_to_a_server_without_it(run: Run, server: FakeServer) -> None:
    code, _, err = run("health", "--tls")
    assert code == 1
    assert f"UNAVAILABLE: TLS failed: the server at {server.address} does not use TLS" in err


def test_a_host_that_does_not_exist(run: Run) -> None:
    code, _, err = run("health", "--address", "nope.invalid:8500")
    assert code == 1
    assert "]" not in err


@pytest.mark.parametrize(
    ("argv", "code", "out"),
    [
        pytest.param(["flights_late"], 0, "flights_late: ready\n", id="ready"),
        pytest.param(
            ["loading"],
            1,
            "loading: not ready\n  it was unloaded, or it is no longer in the repository\n",
            id="not ready",
        ),
        pytest.param(["nope"], 1, "", id="no such model"),
        pytest.param(["--address", "localhost:1"], 1, "", id="nothing listens"),
    ],
)
def test_health_for_scripts(run: Run, argv: list[str], code: int, out: str) -> None:
    assert run("health", *argv)[:2] == (code, out)


READY, FAILED = VersionStatus(2, "ready"), VersionStatus(1, "failed", "model.onnx: damaged\nat byte 7")


@pytest.mark.parametrize(
    ("statuses", "model", "lines"),
    [
        pytest.param(
            [ModelStatus("a", (VersionStatus(3, "loading"), FAILED)), ModelStatus("b", (FAILED,))],
            None,
            [
                "a version 3 loading",
                "a version 1 failed: model.onnx: damaged",
                "b version 1 failed: model.onnx: damaged",
            ],
            id="every version, and the first line of its reason",
        ),
        pytest.param(
            [ModelStatus("a", (READY,)), ModelStatus("b", (FAILED,))],
            "b",
            ["b version 1 failed: model.onnx: damaged"],
            id="one model, of that alone",
        ),
        pytest.param([ModelStatus("a", (READY, FAILED))], None, ["the server is shutting down"], id="it drains"),
        pytest.param([ModelStatus("a", (READY,))], "a", ["the server is shutting down"], id="it drains, of one model"),
        pytest.param([ModelStatus("a")], None, ["a: its directory cannot be read"], id="nothing is known of a model"),
        pytest.param(
            [],
            None,
            ["no model is loaded: the repository is empty or cannot be read; see the server's log"],
            id="no model",
        ),
        pytest.param(
            [ModelStatus("a", (READY,))],
            "b",
            ["it was unloaded, or it is no longer in the repository"],
            id="it is gone",
        ),
    ],
)
def test_why_something_is_not_ready(statuses: list[ModelStatus], model: str | None, lines: list[str]) -> None:
    assert not_ready_lines(statuses, model) == lines


def test_health_where_the_models_are_a_secret(run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Client) -> NoReturn:
        raise PermissionDenied("these credentials do not allow this")

    monkeypatch.setattr(Client, "models", refused)
    code, out, _ = run("health", "loading")
    reason = "PERMISSION_DENIED: these credentials do not allow this"
    assert (code, out) == (1, f"loading: not ready\n  the reason is not available: {reason}\n")


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("serve", "skylane.server.__main__"),
        ("doctor", "skylane.server.process.doctor"),
        ("convert", "skylane.convert.command"),
    ],
)
def test_other_packages_get_the_rest_of_the_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, module: str
) -> None:
    given: list[Any] = []

    def package_main(argv: Any) -> int:
        given.append(list(argv))
        return 5

    monkeypatch.setitem(sys.modules, module, SimpleNamespace(main=package_main))
    assert run(command, "--help", "--x", "1")[0] == 5
    assert given == [["--help", "--x", "1"]]


@pytest.mark.parametrize(
    ("command", "extra"), [("serve", "server"), ("doctor", "server"), ("convert", "convert"), ("bench", "bench")]
)
@pytest.mark.parametrize("missing", ["onnxruntime", None])
def test_an_extra_that_is_not_installed(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, extra: str, missing: str | None
) -> None:
    def not_found(name: str) -> Any:
        absent = missing or f"skylane.{extra}"
        raise ModuleNotFoundError(f"No module named {absent!r}", name=absent)

    monkeypatch.setattr("importlib.import_module", not_found)
    assert run(command) == (2, "", f"skylane {command} needs the {extra} extra: pip install 'skylane[{extra}]'\n")


def test_a_bug_of_ours_is_not_taken_for_a_missing_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'skylane.server.nope'", name="skylane.server.nope")

    monkeypatch.setattr("importlib.import_module", not_found)
    with pytest.raises(ModuleNotFoundError):
        run("serve")


def test_ctrl_c_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    assert run("serve") == (130, "", "")


@pytest.mark.parametrize("argv", [["--help"], ["models", "--help"], ["predict", "--help"], ["health", "--help"]])
def test_help_fits_a_terminal_of_80_columns_and_has_examples(run: Run, argv: list[str]) -> None:
    code, out, _ = run(*argv)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "examples:\n  skylane " in out
    assert "predict flights_late --row" not in out, "an example that can be copied must name every column"


def test_version(run: Run) -> None:
    assert run("--version")[1].startswith("skylane 0.")
