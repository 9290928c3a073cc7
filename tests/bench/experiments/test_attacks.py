"""Attacks on a server: what is counted and written, never how fast."""

from pathlib import Path

import pytest

from skylane.bench.experiments.attacks import NOBODY, AttacksRun, attacks, main
from skylane.bench.lab.record import load
from skylane.bench.workload.payloads import framed


def test_a_row_for_each_attack_that_is_named_and_for_the_bystander_alone(
    small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "attacks.json"
    names = ["MadeYouReset: after data", "connections, a Predict each"]
    served = ["--models", str(small_models), "--model", "linear"]
    assert main([*served, "--seconds", "0.2", "--rows", *names, "--raw", str(raw)]) == 0
    nobody, *attacked = load(raw, AttacksRun).measured
    assert (nobody.attack, nobody.sent_bytes, nobody.connections) == (NOBODY, 0, 0)
    assert {row.attack.partition(", reconnecting")[0] for row in attacked} == set(names)
    assert all(row.sent_bytes > 0 and row.connections > 0 and row.lost == 0 for row in attacked)
    assert capsys.readouterr().out.splitlines()[0].split()[:3] == ["ATTACK", "SENT", "CONNECTIONS"]


def test_attacks_have_names_of_their_own_and_send_something() -> None:
    made = attacks(framed(b"x"))
    assert len({each.name for each in made}) == len(made)
    assert all(each.build is None or each.build(3) for each in made)
    assert all(each.build or each.first or each.leaves for each in made)
