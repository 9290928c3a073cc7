"""`skylane doctor`: which facts are fine, which are not, and what to do."""

import re
from pathlib import Path

import pytest

from skylane.policy import Batching, Policy
from skylane.server.host.budget import CpuBudget, MemoryBudget
from skylane.server.process import doctor
from skylane.server.process.doctor import Finding, Level, Section
from skylane.server.process.supervisor import held_port
from support import models

MIB = 2**20


def told(*findings: Finding) -> list[tuple[Level, str, str]]:
    return [(each.level, each.text, each.advice) for each in findings]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        pytest.param("native", "transport native, with grpcio for methods", id="the default"),
        pytest.param("grpcio", "transport grpcio, as configured", id="grpcio is wanted"),
    ],
)
def test_transport(asked: str, text: str) -> None:
    found = doctor.transport(asked)
    assert found.level == "ok"
    assert text in found.text


@pytest.mark.parametrize(
    ("quota", "workers", "models", "expected"),
    [
        pytest.param(
            None,
            4,
            {"a": Policy()},
            [("ok", "4 CPUs: affinity 4, no cgroup quota", ""), ("ok", "4 workers × 1 model × 1 intra-op thread", "")],
            id="all used",
        ),
        pytest.param(
            2.5,
            1,
            {"a": Policy()},
            [
                ("ok", "2.5 CPUs: affinity 4, cgroup quota 2.5", ""),
                (
                    "ok",
                    "1 worker × 1 model × 1 intra-op thread; there is room for 2 workers",
                    "--workers auto uses it",
                ),
            ],
            id="room for more",
        ),
        pytest.param(
            1.0,
            1,
            {"a": Policy(batching=Batching(instances=2))},
            [
                ("ok", "1 CPU: affinity 4, cgroup quota 1", ""),
                (
                    "warn",
                    "a: 1 worker × 2 instances × 1 intra-op thread for 1 CPU",
                    "lower [batching] instances in a/model.toml",
                ),
            ],
            id="a model asks for too much",
        ),
        pytest.param(
            0.5,
            1,
            {},
            [
                (
                    "warn",
                    "0.5 CPUs: affinity 4, cgroup quota 0.5: a worker that has used it up is paused for the rest "
                    "of each period",
                    "grant at least one CPU if latency matters",
                ),
                ("ok", "1 worker × 0 models × 1 intra-op thread", ""),
            ],
            id="less than one CPU",
        ),
    ],
)
def test_cpu(
    quota: float | None, workers: int, models: dict[str, Policy], expected: list[tuple[Level, str, str]]
) -> None:
    assert told(*doctor.cpu(CpuBudget(4, quota), workers, models)) == expected


@pytest.mark.parametrize(
    ("physical", "limit", "cache_bytes", "level", "text"),
    [
        pytest.param(1000, 500, 0, "ok", "500 MiB (cgroup limit): 2 workers × 100 MiB, as measured here", id="fits"),
        pytest.param(300, 500, 0, "ok", "300 MiB (the machine's): ", id="the limit is above the machine"),
        pytest.param(1000, 150, 0, "fail", "150 MiB (cgroup limit): 2 workers × 100 MiB", id="too little"),
        pytest.param(1000, 500, 200, "warn", "and caches of 400 MiB when full", id="too little with full caches"),
        pytest.param(1000, 700, 200, "ok", "and caches of 400 MiB when full", id="fits with full caches"),
        pytest.param(None, None, 0, "ok", "unknown limit: 2 workers", id="a system that does not tell"),
    ],
)
def test_memory(physical: int | None, limit: int | None, cache_bytes: int, level: Level, text: str) -> None:
    budget = MemoryBudget(*(None if size is None else size * MIB for size in (physical, limit)))
    found = doctor.memory(budget, 2, 3 * MIB, 100 * MIB, cache_bytes * MIB)
    assert found.level == level
    assert text in found.text
    assert bool(found.advice) == (level != "ok")


@pytest.mark.parametrize(
    ("limit", "connections", "level", "advice"),
    [
        pytest.param(None, 10**6, "ok", "", id="no limit"),
        pytest.param(1128, 1000, "ok", "", id="just enough"),
        pytest.param(1024, 1000, "warn", "ulimit -n 1128, or LimitNOFILE=1128 in a systemd unit", id="the usual limit"),
    ],
)
def test_open_files(limit: int | None, connections: int, level: Level, advice: str) -> None:
    found = doctor.open_files(limit, connections)
    assert (found.level, found.advice) == (level, advice)


def test_how_connections_are_shared() -> None:
    assert doctor.sharing(1, True) == []
    (in_turn,) = doctor.sharing(2, True)
    (by_hash,) = doctor.sharing(2, False)
    assert ("in turn" in in_turn.text, in_turn.advice) == (True, "")
    assert ("by the kernel's hash" in by_hash.text, "CAP_BPF" in by_hash.advice) == (True, True)


@pytest.mark.parametrize(
    ("directory", "problem", "models", "level", "text"),
    [
        pytest.param(None, "", [], "ok", "--journal is not set", id="nobody asked for it"),
        pytest.param(None, "", ["a", "b"], "warn", "set for a and b, but nothing is recorded", id="no directory"),
        pytest.param("j", "why", ["a"], "fail", "why", id="a directory that cannot be"),
        pytest.param("j", "", [], "warn", "j: no model is recorded", id="no model"),
        pytest.param("j", "", ["a"], "ok", "j: predictions of a are recorded", id="both"),
    ],
)
def test_journal(directory: str | None, problem: str, models: list[str], level: Level, text: str) -> None:
    found = doctor.journal(Path(directory) if directory else None, problem, models)
    assert found.level == level
    assert text in found.text


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        (["ok", "ok"], "no problems found"),
        (["ok", "warn"], "1 warning"),
        (["fail", "warn", "fail"], "2 failures and 1 warning"),
    ],
)
def test_summary(levels: list[Level], line: str) -> None:
    assert doctor.summary([Section("any", [Finding(level, "text") for level in levels])]) == line


def test_a_sound_repository(
    small_models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYLANE_HTTP_PORT", "0")
    assert doctor.main(["--models", str(small_models), "--port", "0", "--workers", "auto"]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line and line[0] != " "][:-1] == [
        "software", "CPU", f"models in {small_models}", "memory", "journal", "connections",
    ]  # fmt: skip
    assert "  ok    linear/1: 1 instance × 1 thread, up to 256 rows, no cache; a run" in printed
    assert "  ok    127.0.0.1:0 is free for gRPC\n  ok    127.0.0.1:0 is free for HTTP\n" in printed
    assert "fail" not in printed


def test_everything_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models.linear(tmp_path, "damaged") / "model.onnx").write_bytes(b"nonsense")
    (tmp_path / "damaged" / "v2").mkdir()
    models.linear(tmp_path, "odd")
    (tmp_path / "odd" / "model.toml").write_text("[batching]\nmax_batch_rows = 0\n")
    with held_port("127.0.0.1", 0) as held, held_port("127.0.0.1", 0) as held_http:
        port, http_port = held.port, held_http.port
        ports = ["--port", str(port), "--http-port", str(http_port), "--journal", str(tmp_path / "journal")]
        assert doctor.main(["--models", str(tmp_path), *ports, "--workers", "256"]) == 1
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    said = re.sub(r"\s+", " ", printed)
    assert "fail damaged/1: model.onnx: " in said
    assert "fail odd: model.toml: " in said
    assert "→ mend it: a server that is started before that does not serve odd" in said
    assert "odd/1: " not in said
    assert "warn damaged/v2 is ignored: expected a version's number, as in damaged/1" in said
    assert f"warn port: 127.0.0.1:{port} cannot be bound" in said
    assert f"warn http-port: 127.0.0.1:{http_port} cannot be bound" in said
    assert "else use another --http-port" in said
    assert "warn 256 workers for" in said
    assert "fail expected a directory that" not in said
    assert "fail expected a directory outside the model repository" in said
    assert re.search(r"\d failures and \d warnings \Z", said), "how many depends on the machine"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, "No such file or directory", id="no directory"),
        pytest.param("", "no model with a version in it", id="an empty one"),
    ],
)
def test_no_models(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, text: str) -> None:
    root = tmp_path if content is not None else tmp_path / "nowhere"
    assert doctor.main(["--models", str(root), "--port", "0"]) == int(content is None)
    assert text in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_settings_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor.main(["--port", "70000"])
    assert ended.value.code == 2
    assert "port: expected 0 to 65535, received 70000" in capsys.readouterr().err


def test_help_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        doctor.main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
