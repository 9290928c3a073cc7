"""What a person sees while a pipeline is converted, and after a version took another's place."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.linear_model import Ridge

from skylane.convert import Published
from skylane.convert.console import Reporter


def test_on_a_terminal_steps_are_ticked_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    reporter = Reporter()
    with reporter.working("m"):
        reporter.say("exporting [the] graph")
        reporter.say("timing")
    said = capsys.readouterr().err
    assert "exporting [the] graph" in said, "brackets are no markup"
    assert "✓" in said
    assert "m: done in" in said


def test_in_a_log_steps_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    with reporter.working("m"):
        reporter.say("exporting [the] graph")
    assert capsys.readouterr().err.splitlines()[0] == "m: exporting [the] graph"


def test_a_version_that_takes_anothers_place_says_what_changed(
    publish_to: Callable[..., Published], linear: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = publish_to(linear)
    retrained = type(linear)(Ridge().fit(linear.rows, linear.target), linear.rows, linear.target)
    second = publish_to(retrained)
    assert first.before is None
    assert second.before == first.manifest
    Reporter().published(second)
    said = capsys.readouterr().out
    assert "model: version 1 → 2" in said
    assert "!  interface  task" in said
    assert f"its model card: {second.path}/card.html" in said.replace("\n", "")
