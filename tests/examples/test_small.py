"""Each small model: as good as it says, and its published graph answers as scikit-learn does."""

from pathlib import Path

import pytest

from examples.small import EXAMPLES, main, publish_example
from skylane import policy
from skylane.convert import Published
from skylane.manifest import verify_files

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module", params=EXAMPLES)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Each example in turn, trained and published."""
    return publish_example(request.param, tmp_path_factory.mktemp("models"))


def test_each_is_published_within_its_tolerance(published: Published) -> None:
    verify_files(published.path)
    assert not published.manifest.tolerance.forced
    chosen = published.conversion.verdicts[published.conversion.chosen]
    judged = chosen.parity.usual() if chosen.quantized else chosen.parity  # what no calibration has seen, int8 cuts off
    assert judged.worst_difference <= published.manifest.tolerance.max_difference
    assert judged.decided_flips <= published.manifest.tolerance.max_label_flips


LEAST = {"accuracy": 0.93, "r2": 0.3}


def test_each_is_worth_serving(published: Published) -> None:
    figures = published.manifest.lineage.metrics
    assert [name for name, least in LEAST.items() if figures.get(name, 1.0) < least] == []


def test_int8_keeps_the_accuracy_of_digits(published: Published) -> None:
    quantized = [verdict for verdict in published.conversion.verdicts if verdict.quantized]
    assert [published.manifest.model] * len(quantized) == ["digits"] * len(quantized), "only a network has weights"
    for verdict in quantized:
        assert verdict.parity.metric_drop is not None
        assert verdict.parity.metric_drop <= 0.005
        layers = 2 if "inner" in verdict.name else 3  # all of them, or all but the first and the last
        assert verdict.bytes < published.conversion.verdicts[0].bytes / layers


@pytest.mark.parametrize("name", [*EXAMPLES, "flights_late"])
def test_each_has_a_policy_that_is_read(name: str) -> None:
    policy.decode((MODELS / name / "model.toml").read_bytes())


def test_an_unknown_example_is_an_error_that_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["iris"])
    assert "there is no example 'iris': choose from digits, breast_cancer" in capsys.readouterr().err


def test_the_command_shows_what_it_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diabetes", "--models", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "diabetes: published as version 1" in said.out
    assert "diabetes: training" in said.err
