"""docs/moving.md: its commands are run as they stand there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

from skylane.cli import main
from skylane.policy import Policy
from skylane.server.repository.verified_loading import load_version
from support import graphs

PAGE = Path(__file__).parents[3] / "docs" / "moving.md"


def commands() -> list[list[str]]:
    """Every line of the page's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def mlflow_model(directory: Path, flavor: str, key: str, file: str) -> None:
    """A directory that MLflow saved."""
    directory.mkdir(parents=True)
    described = {
        "flavors": {flavor: {key: file}},
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "ndarray"},
    }
    (directory / "MLmodel").write_text(yaml.safe_dump(described))
    (directory / "input_example.json").write_text(str(np.arange(40.0).reshape(10, 4).tolist()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    graphs.save(graphs.affine(scale=1.5), Path("churn.onnx"))
    graphs.save(graphs.affine(scale=2.5), Path("wine.onnx"))
    graphs.save(graphs.affine(scale=3.5), Path("triton-repository/wine/1/model.onnx"))
    pd.DataFrame(np.arange(80.0).reshape(20, 4), columns=list("abcd")).to_csv("rows.csv", index=False)
    mlflow_model(Path("mlruns/1/models/m-4a/artifacts"), "onnx", "data", "model.onnx")
    graphs.save(graphs.affine(scale=4.5), Path("mlruns/1/models/m-4a/artifacts/model.onnx"))
    mlflow_model(Path("mlruns/1/models/m-7c/artifacts"), "sklearn", "pickled_model", "model.skops")
    rows = np.random.default_rng(0).normal(size=(40, 4))
    skops.io.dump(LogisticRegression().fit(rows, rows[:, 0] > 0), "mlruns/1/models/m-7c/artifacts/model.skops")
    return tmp_path


def test_every_command_does_what_the_page_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    done = []
    for words in commands():
        if words[:2] == ["skylane", "serve"]:
            assert options.issuperset(word for word in words if word.startswith("--")), words
        elif words[0] == "skylane":
            assert main(words[1:]) == 0, words
            done.append(words[1])
        else:
            assert words[:3] == ["python", "-m", "tf2onnx.convert"]
    assert done == ["import", "import", "import", "import", "import", "models", "models"]
    versions = sorted(path.parent for path in here.glob("models/*/*/manifest.json"))
    assert [str(path.relative_to(here / "models")) for path in versions] == [
        "churn/1", "churn/2", "churn/3", "churn_eu/1", "leaving/1", "wine/1", "wine/123",
    ]  # fmt: skip
    for path in versions:
        load_version(path, path.parent.name, int(path.name), Policy())


def test_the_table_of_fields_names_keys_that_exist() -> None:
    table = PAGE.read_text("utf-8").partition("| `config.pbtxt` |")[2].partition("\n\n")[0]
    named = re.findall(r"`\[(\w+)\] (\w+)`", table)
    assert len(named) == 6
    assert all(hasattr(getattr(Policy(), section), key) for section, key in named)
