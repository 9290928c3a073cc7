"""Processes that the harness starts."""

from pathlib import Path

import pytest

from skylane.bench.client.generator import Load, OwnClient
from skylane.bench.servers import KINDS, running
from skylane.bench.workload.models import read

TRAPS = ("server", "bench", "convert", "numpy", "grpc")


@pytest.mark.parametrize("kind", ["native", "grpc.aio"])
def test_files_of_the_working_directory_are_not_run_instead_of_ours(
    kind: str, small_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, models = read(small_models)["linear"].exchange("grpc", 1), small_models.resolve()
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    with running(KINDS[kind], tmp_path, models=models) as server:
        server.wait_ready(exchange)
        assert OwnClient().run(server.address, exchange, Load(1, 1), 3, tmp_path).ok.all()
