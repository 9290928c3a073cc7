"""What people install: the wheel and the sdist bring one import name, and work in a folder full of traps."""

import csv
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).parents[2]
PARTS = ("client", "server", "convert", "monitor", "batch", "features", "bench")
TRAPS = ("server.py", "convert.py", "bench.py", "client.py", "examples.py", "numpy.py", "skylane/__init__.py")
"""Files of the user's own that have the names of our folders, and of what we import."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, made of the sdist, as an index would get them."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    return folder


def test_the_wheel_brings_one_import_name(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"skylane"}
    assert "skylane/__init__.py" not in names, "a namespace: its parts lie in several source roots"


def test_the_wheel_brings_every_module_of_every_part(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    written = {
        path.relative_to(ROOT / part).as_posix()
        for part in PARTS
        for path in (ROOT / part / "skylane").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed >= written
    assert "skylane/server/http/page/live.html" in packed
    assert "skylane/server/codecs/foreign.binpb" in packed


def test_the_sdist_brings_the_tests_and_what_they_read(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"pyproject.toml", "tasks.py", "tests/conftest.py", "proto/skylane/v1/prediction.proto"} <= names
    assert {"ops/rules.yml", "bench/locustfile.py", "models/wine/model.toml"} <= names


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment that holds the wheel with its extras, and nothing of this checkout."""
    (wheel,) = built.glob("*.whl")
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    scripts = folder / "bin"
    pip: list[str | Path] = [
        scripts / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"{wheel}[bench]",
    ]
    subprocess.run(pip, check=True, timeout=600)
    return scripts


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A user's folder with modules that end the process of whoever imports them."""
    folder = tmp_path / "of the user"
    for name in TRAPS:
        trap = folder / name
        trap.parent.mkdir(parents=True, exist_ok=True)
        trap.write_text(f'raise SystemExit("{name} of the working directory was imported")\n')
    return folder


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SKYLANE"))}


@pytest.fixture
def run(installed: Path, traps: Path) -> Iterator[subprocess.Popen[str]]:
    """`skylane serve` with two workers on the model `wine`, converted by `skylane convert`, in the folder of traps."""
    features, target = load_wine(return_X_y=True)
    pipeline = LogisticRegression(max_iter=10_000).fit(features, target)
    with (traps / "rows.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{i}" for i in range(features.shape[1])), "y"])
        writer.writerows(np.column_stack([features, target]).tolist())
    _save(pipeline, traps / "wine.skops")
    convert: list[str | Path] = [
        installed / "skylane",
        "convert",
        "wine.skops",
        "--data",
        "rows.csv",
        "--target",
        "y",
        "--name",
        "wine",
    ]
    subprocess.run(convert, cwd=traps, env=environment(), check=True, capture_output=True, timeout=300)
    serve: list[str | Path] = [installed / "skylane", "serve", "--models", "models", "--port", "0", "--workers", "2"]
    with subprocess.Popen(serve, cwd=traps, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.slow
def test_serving_converting_benching_and_calling_in_a_folder_of_traps(
    installed: Path, traps: Path, run: subprocess.Popen[str]
) -> None:
    address = _address(run)
    asked = subprocess.run(
        [installed / "skylane", "models", "--address", address],
        cwd=traps, env=environment(), check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "wine" in asked.stdout
    call = (
        "from skylane.client import Client\n"
        f"with Client({address!r}) as client:\n"
        "    print(client.predict('wine', [[13.0] * 13]).version)\n"
    )
    answered = subprocess.run(
        [installed / "python", "-P", "-c", call],
        cwd=traps, env=environment(), check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert answered.stdout.strip() == "1"
    bench: list[str | Path] = [
        installed / "skylane",
        "bench",
        "--address",
        address,
        "--model",
        "wine",
        "--models",
        "models",
    ]
    measured = subprocess.run(
        [*bench, "--seconds", "0.2", "--rounds", "1", "--out", "report"],
        cwd=traps, env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "working directory was imported" not in measured.stderr + measured.stdout
    assert measured.returncode == 0, measured.stderr


def _save(pipeline: LogisticRegression, path: Path) -> None:
    import skops.io

    skops.io.dump(pipeline, path)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        found = re.search(r"(127\.0\.0\.1:\d+)", line)
        if found and "serving" in line.lower():
            return found[1]
    raise AssertionError("".join(lines))
