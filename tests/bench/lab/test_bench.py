"""`skylane bench` as it is called: against real servers, and where it cannot measure."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from skylane.bench.lab.measure import generator_limit
from skylane.bench.lab.measure.generator_limit import Ceiling
from skylane.bench.lab.measure.server_under_test import process_at
from skylane.bench.lab.record import load
from skylane.bench.lab.scenarios.record import ScenariosRun
from skylane.bench.servers import free_port
from skylane.cli import main
from support.security import Certificates, section
from support.server import serving

Bench = Callable[..., tuple[int, str, str]]
QUICK = ("--seconds", "0.1", "--rounds", "1")


@pytest.fixture(scope="module")
def address(small_models: Path) -> Iterator[str]:
    """A server of the small models."""
    with serving(small_models) as server:
        yield server.address


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs the command in a folder of its own; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["bench", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_server_with_tls_and_tokens_is_measured_by_those_who_may(
    bench: Bench, small_models: Path, tmp_path: Path
) -> None:
    certificates, tokens, authority = Certificates(tmp_path), tmp_path / "tokens.toml", trustme.CA()
    certificates.issue(authority)
    tokens.write_text(section("tester", "predict"))
    with serving(small_models, tokens=tokens, **certificates.settings()) as server:
        address = f"localhost:{server.address.rpartition(':')[2]}"
        asked = ("--address", address, "--model", "linear", "--scenario", "steady", "--rate", "50", *QUICK)
        for more, told in (
            ((), "--tls-ca"),
            (("--tls-ca", str(certificates.client_ca)), "--token"),
            (("--tls-ca", str(certificates.client_ca), "--token", "another"), "--token"),
        ):
            code, _, err = bench(*asked, *more)
            assert code == 1
            assert told in err
        code, _, err = bench(*asked, "--tls-ca", str(certificates.client_ca), "--token", "tester")
    assert code == 0, err
    (path,) = tmp_path.glob("bench-results/*.json")
    assert "tester" not in path.read_text()
    (found,) = load(path, ScenariosRun).scenarios[0].rounds
    assert found.answered == found.sent > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("--tls-ca", "missing.pem", "--address", "localhost:1"), "No such file", id="no such file"),
        pytest.param(("--tls-ca", __file__, "--address", "localhost:1"), "expected certificates", id="no certificates"),
        pytest.param(("--tls",), "--address", id="TLS to a server that is started here"),
    ],
)
def test_tls_that_cannot_be_used(bench: Bench, small_models: Path, arguments: tuple[str, ...], told: str) -> None:
    code, _, err = bench("--models", str(small_models), "--model", "linear", *arguments)
    assert code == 2
    assert told in err


@pytest.mark.slow
def test_scenarios_against_a_server_that_runs(bench: Bench, address: str, tmp_path: Path) -> None:
    code, out, err = bench(
        "--address", address, "--model", "linear", "--seconds", "1", "--rounds", "1", "--rate", "60",
        "--scenario", "steady", "--scenario", "peak", "--out", "here",
    )  # fmt: skip
    assert code == 0, err
    (path,) = tmp_path.glob("here/*.json")
    run = load(path, ScenariosRun)
    steady, peak = run.scenarios
    assert len(steady.rounds) == len(peak.rounds) == len(run.alone) == 1
    for found in (*steady.rounds, *peak.rounds):
        assert found.answered == found.sent == found.counted
        assert found.cpu_us is not None  # the server was found by its port
        assert found.batches
        assert sum(found.slices.offered) == found.sent
    assert run.machine.cores >= 1
    assert path.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert out.splitlines()[0].startswith("linear version 1, 1 row in a request; medians of 1 round of 1 s")
    assert f"report:  here/{path.stem}.html" in out
    assert "steady       round 1 of 1" in err


@pytest.mark.slow
def test_a_server_is_started_and_a_second_run_is_compared(bench: Bench, small_models: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,s,b,t\n1,x,2,y\n3,z,,\n")
    first = (
        "--data",
        "rows.csv",
        "--models",
        str(small_models),
        "--model",
        "mixed",
        "--scenario",
        "steady",
        "--rows",
        "3",
        *QUICK,
    )
    code, out, err = bench(*first, "--format", "json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["started_server"] is True
    assert told["asked"] == "2 rows of rows.csv in their order"
    assert told["settings"]["rate_per_s"] > 0
    (path,) = tmp_path.glob("bench-results/*.json")
    code, out, _ = bench(*first, "--baseline", str(path))
    assert code == 0
    assert "Beside the run of" in out
    assert f"schedules of {told['settings']['rate_per_s']:,.0f}/s" in out


def test_what_the_generator_limits_is_refused(
    bench: Bench, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = Ceiling(requests_per_s=5.0, cpu_us=200_000.0)
    monkeypatch.setattr(generator_limit, "ceiling", lambda *_: weak)
    code, out, err = bench("--address", address, "--model", "linear", "--scenario", "steady", "--rate", "100", *QUICK)
    assert code == 0
    assert "steady    not reported" in out
    assert "% of what the generator does against a server that does nothing" in " ".join(out.split())
    assert "limited by the generator: not reported" in err
    (path,) = tmp_path.glob("bench-results/*.html")
    assert "limited by the generator: not reported" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(("--model", "nope"), 1, "NOT_FOUND", id="no such model"),
        pytest.param((), 2, "Give --model NAME; the server has: linear, mixed, touchy", id="which of several models"),
        pytest.param(
            ("--scenario", "nope"), 2, "there is no scenario 'nope'; there are: steady", id="no such scenario"
        ),
        pytest.param(("--rounds", "0"), 2, "expected 1 or more, got 0", id="no rounds"),
        pytest.param(("--baseline", "nope.json"), 2, "--baseline nope.json: No such file", id="no such baseline"),
        pytest.param(
            ("--baseline", "/dev/null"), 2, "is no result of `skylane bench`", id="something else as baseline"
        ),
        pytest.param(("--out", "/dev/null/x"), 2, "--out /dev/null/x", id="nowhere to write"),
    ],
)
def test_what_cannot_be_done_is_said(
    bench: Bench, address: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, _, err = bench("--address", address, *arguments)
    assert said in err
    assert found == code


def test_nobody_there(bench: Bench) -> None:
    port = free_port()
    code, _, err = bench("--address", f"127.0.0.1:{port}", "--model", "linear")
    assert code == 1
    assert f"nothing answers at 127.0.0.1:{port}: start a server with `skylane serve`" in err


def test_a_port_that_speaks_something_else(bench: Bench, small_models: Path) -> None:
    with serving(small_models, http_port=0) as server:
        code, _, err = bench("--address", f"127.0.0.1:{server.http_port}", "--model", "linear")
    assert code == 1
    assert f"what answers at 127.0.0.1:{server.http_port} speaks no gRPC" in err


def test_no_models_to_serve(bench: Bench) -> None:
    code, _, err = bench("--models", "nope")
    assert code == 2
    assert "--models nope is no directory" in err


def test_a_process_is_found_by_its_port(address: str) -> None:
    assert process_at(address) == os.getpid()
    assert process_at(f"127.0.0.1:{free_port()}") is None
    assert process_at("example.invalid:80") is None


@pytest.mark.parametrize("command", [(), ("capacity", "--target-p99-ms", "5")])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("--address", "nonsense"), "expected HOST:PORT", id="an address without a port"),
        pytest.param(("--models", "."), "has no", id="a repository without models"),
        pytest.param(("--seconds", "inf"), "finite", id="no end"),
    ],
)
def test_what_cannot_work_is_told_at_once(
    bench: Bench, command: tuple[str, ...], arguments: tuple[str, ...], told: str
) -> None:
    code, _, err = bench(*command, "--model", "linear", *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
