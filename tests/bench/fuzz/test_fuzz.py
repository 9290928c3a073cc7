"""`python -m skylane.bench.fuzz`: a short run of each target; a fault is found, reported and reproducible."""

import pytest

from skylane.bench.fuzz import __main__ as command
from skylane.bench.fuzz.__main__ import TARGETS, fuzz, main
from skylane.bench.fuzz.target import pure
from skylane.server.codecs.request_templates import Template
from skylane.server.grpc.http2 import hpack_decoder
from skylane.server.grpc.http2.connection import Connection

ROUNDS = {"engine": 10, "hpack": 40, "connection": 10, "templates": 10, "crosstalk": 5}
"""Of the cut: seconds each."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_cut_of_each_target_finds_nothing(name: str) -> None:
    (outcome,) = fuzz([name], seed=1, rounds=ROUNDS[name])
    assert outcome.failures == []
    assert outcome.calls > 100 * outcome.rounds


def odd_seeds_fail(seed: int) -> int:
    assert seed % 2 == 0, "odd"
    return 10


@pytest.fixture
def broken_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.TARGETS, "hpack", pure("hpack", "fails on odd seeds", odd_seeds_fail))


@pytest.mark.usefixtures("broken_target")
def test_a_fault_is_printed_with_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "hpack", "--seed", "6", "--rounds", "4"]) == 1
    printed = capsys.readouterr().out
    assert "hpack: AssertionError: odd" in printed
    assert "repeat: python -m skylane.bench.fuzz --only hpack --seed 7 --rounds 1" in printed
    assert "in all: 20 simulated calls, 0 real calls" in printed
    assert main(["--only", "hpack", "--seed", "7", "--rounds", "1"]) == 1
    assert main(["--only", "hpack", "--seed", "8", "--rounds", "1"]) == 0


@pytest.mark.usefixtures("broken_target")
def test_a_target_that_fails_each_time_ends_the_run_before_its_time() -> None:
    (outcome,) = fuzz(["hpack"], seed=0, minutes=60)
    assert len(outcome.failures) == command.FAILURES_MAX


def test_a_broken_hpack_decoder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpack_decoder, "ENTRY_BYTES", 31)
    (outcome,) = fuzz(["hpack"], seed=1, rounds=20)
    assert "the package reads" in outcome.failures[0]


def test_a_template_that_matches_too_much_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Template, "matches", lambda template, payload: payload.endswith(template.suffix))
    (outcome,) = fuzz(["templates"], seed=1, rounds=5)
    assert "learned" in outcome.failures[0]


def test_a_connection_that_depends_on_how_bytes_arrive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Connection.feed

    def forgetful(connection: Connection, data: bytes, now: float) -> None:
        feed(connection, data[:6] if len(data) == 7 else data, now)

    monkeypatch.setattr(Connection, "feed", forgetful)
    (outcome,) = fuzz(["connection"], seed=1, rounds=3)
    assert "split at random" in outcome.failures[0]


@pytest.mark.parametrize("name", ["engine", "hpack", "connection", "templates"])
def test_one_seed_is_one_story(name: str) -> None:
    first, second = (fuzz([name], seed=5, rounds=1)[0].calls for _ in range(2))
    assert first == second
