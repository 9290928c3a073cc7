"""`skylane bench capacity` as it is called: against a real server, and where it cannot measure; and what it shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skylane.bench.host.machine import Machine
from skylane.bench.lab.capacity.page import page, table, verdict_text
from skylane.bench.lab.capacity.record import Capacity, CapacityRun
from skylane.bench.lab.capacity.rig import duration_s
from skylane.bench.lab.capacity.search import Goal, Kind, Step, Verdict
from skylane.bench.servers import free_port
from skylane.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def capacity(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command in a folder of its own; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["bench", "capacity", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_search_against_a_real_server_under_a_policy(capacity: Call, small_models: Path, tmp_path: Path) -> None:
    """Two measurements never settle anything: what they are is what is looked at."""
    (tmp_path / "pairs.toml").write_text("[batching]\nmax_batch_rows = 2\n")
    code, out, err = capacity(
        "--models", str(small_models), "--model", "linear", "--policy", "pairs.toml", "--target-p99-ms", "50",
        "--seconds", "0.1", "--precision", "50", "--steps", "2",
    )  # fmt: skip
    assert code == 1
    assert err.count("  p99 ") == 2
    assert "not settled" in err
    assert "pairs.toml" in out
    (path,) = (tmp_path / "bench-results").glob("capacity-linear-*.json")
    found = msgspec.json.decode(path.read_bytes(), type=CapacityRun)
    (only,) = found.capacities
    assert only.policy_toml == "[batching]\nmax_batch_rows = 2\n"
    assert [step.answered for step in only.steps] == [step.sent for step in only.steps]
    assert all(step.p50_us and step.p99_us and step.p50_us <= step.p99_us for step in only.steps)
    assert all((step.batch_rows or 0) <= 2 for step in only.steps)
    assert f"{len(only.steps)} measurements" in path.with_suffix(".html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(("--model", "linear"), 2, ("--target-p99-ms",), id="no target"),
        pytest.param(("--model", "nobody", "--target-p99-ms", "5"), 2, ("nobody", "it has: linear, mixed, touchy"),
                     id="no such model"),
        pytest.param(("--model", "linear", "--target-p99-ms", "0"), 2, ("more than 0",), id="no time"),
        pytest.param(("--model", "linear", "--target-p99-ms", "5", "--lost", "100"), 2, ("less than 100",),
                     id="all may be lost"),
        pytest.param(("--model", "linear", "--target-p99-ms", "5", "--policy", "none.toml"), 2,
                     ("none.toml", "No such file"), id="no such policy"),
        pytest.param(("--model", "linear", "--target-p99-ms", "5", "--policy", "wrong.toml"), 2,
                     ("wrong.toml", "instances"), id="a policy that is refused names its key"),
        pytest.param(("--model", "linear", "--target-p99-ms", "5", "--address", "x:1", "--policy", "wrong.toml"), 2,
                     ("--policy", "--address"), id="a policy for a server that has one"),
        pytest.param(("--model", "linear", "--target-p99-ms", "5", "--models", "nowhere"), 2,
                     ("nowhere", "no directory"), id="no repository"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    arguments: tuple[str, ...], code: int, words: tuple[str, ...], capacity: Call, small_models: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong.toml").write_text("[batching]\ninstances = 0\n")
    came, _, err = capacity("--models", str(small_models), *arguments)
    assert came == code
    assert all(word in err for word in words), err


def test_knee_is_another_name_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "knee", "--help"])
    assert capsys.readouterr().out.startswith("usage: skylane bench capacity")


def test_nothing_that_answers_is_said_with_what_to_do(capacity: Call) -> None:
    address = f"127.0.0.1:{free_port()}"
    code, _, err = capacity("--model", "linear", "--target-p99-ms", "5", "--address", address)
    assert code == 1
    assert address in err
    assert "skylane serve" in err


@pytest.mark.parametrize(
    ("rate", "target_ms", "precision", "seconds", "lasts"),
    [
        pytest.param(10_000, 20, 0.05, 3.0, 3.0, id="as long as asked"),
        pytest.param(10_000, 500, 0.05, 3.0, 10.0, id="until 5 % too much has piled up 500 ms of waiting"),
        pytest.param(100, 20, 0.05, 3.0, 5.0, id="until there are 500 requests"),
        pytest.param(1, 20, 0.05, 3.0, 12.0, id="but not for ever"),
    ],
)
def test_lasts(rate: float, target_ms: float, precision: float, seconds: float, lasts: float) -> None:
    assert duration_s(rate, Goal(target_p99_ms=target_ms, precision=precision), seconds) == pytest.approx(lasts)


def capacities(kind: Kind, rate: float | None, above: float | None, **changed: Any) -> CapacityRun:
    """A search with one measurement."""
    step = Step(
        rate_per_s=rate or above or 1.0, seconds=1.0, sent=100, answered=100, refused=0, p50_us=500.0, p99_us=4000.0,
        **changed,
    )  # fmt: skip
    verdict = Verdict(kind=kind, rate_per_s=rate, above_per_s=above)
    return CapacityRun(
        started_at="2026-01-02T03:04:05+00:00", took_s=9.5, commit="abc", rows=1, requests="rows <mixed>", address=None,
        machine=Machine(cpu="a <b>", cores=2, memory_mib=1000, kernel="Linux 6", python="3.11", load_before=0.1),
        libraries={"numpy": "2.0"},
        settings={"target_p99_ms": 20.0, "lost_percent_max": 0.1, "precision_percent": 5.0, "seconds": 1.0, "votes": 2},
        capacities=(
            Capacity(
                model="m", version=1, policy="model.toml", policy_toml="# <mine>\n", alone_per_s=9000.0,
                verdict=verdict, steps=(step,),
            ),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "rate", "above", "words", "cell"),
    [
        pytest.param("capacity", 8781.0, 9170.0, "8,781/s with a p99 of at most 20 ms; no longer at 9,170/s", "8,781/s",
                     id="the limit"),
        pytest.param("at least", 900.5, 1000.0, "at least 900.5/s", "≥ 900.5/s", id="never called the limit"),
        pytest.param("none", None, 1.0, "not even 1/s", "–", id="nothing is kept"),
        pytest.param("unknown", None, 1.0, "generator was the limit even at 1/s", "–", id="nothing is known"),
        pytest.param("unsettled", 12.5, 20.0, "the best guess is 12.5/s", "≈ 12.5/s", id="a guess is called so"),
    ],
)  # fmt: skip
def test_a_verdict_reads_the_same_everywhere(
    kind: Kind, rate: float | None, above: float | None, words: str, cell: str
) -> None:
    found = capacities(kind, rate, above)
    assert words in verdict_text(found.capacities[0].verdict, Goal(target_p99_ms=20.0))
    assert words in page(found)
    assert cell in [str(value) for column in table(found).columns for value in column.cells]


def test_the_page_escapes_what_it_is_given_and_needs_nothing_else() -> None:
    html = page(capacities("at least", 100.0, 200.0, limited="late <by> far"))
    assert "<mixed>" not in html
    assert "<mine>" not in html
    assert "late &lt;by&gt; far" in html
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
