"""Servers side by side: what is printed, never how fast."""

from pathlib import Path

import pytest

from skylane.bench.client.generator import Load, OwnClient
from skylane.bench.experiments import cpu_comparison
from skylane.bench.experiments.cpu_comparison import SERVER, parser, started
from skylane.bench.servers import Kind


def test_each_server_is_held_against_the_first(
    small_models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_comparison, "LOADS", (Load(2, 2),))
    arguments = ["--models", str(small_models), "--model", "linear", "--rounds", "2", "--seconds", "0.01"]
    kinds = [Kind(name, "grpc", ("-m", "skylane.server", *SERVER)) for name in ("one", "another")]
    with started(parser("here", "").parse_args(arguments), kinds) as side_by_side:
        side_by_side.compare(OwnClient(traced=0.5), ["one", "another"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["2x2", "one"]
    assert second.split()[:2] == ["2x2", "another"]
    assert "half of the rounds between" in second
