"""`skylane features`: from a project's Python files to training rows and served values."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from skylane.cli import main

VIEWS = """
from skylane.features import Csv, View, col, count, days, hours, mean, minutes, text

planes = View("planes", entity="tail", source=Csv("planes.csv"), happened_at="built", known_at="seen", ttl=days(9999),
              features={"seats": col("seats"), "maker": text("maker")})
trip = View("trip", features={"load": col("people") / col("planes.seats")})
"""
PLANES = "tail,built,seen,seats,maker\nN1,2013-01-01T00:00Z,2013-01-02T00:00Z,50,A\nN2,2013-01-01T00:00Z,,70,B\n"
LABELS = "tail,at,people\nN1,2013-01-01T12:00Z,40\nN1,2013-01-03T00:00Z,40\nN2,2013-01-03T00:00Z,40\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "flights.py").write_text(VIEWS)
    (tmp_path / "planes.csv").write_text(PLANES)
    (tmp_path / "labels.csv").write_text(LABELS)
    assert main(["features", "check"]) == 0
    return tmp_path


def test_joining_filling_the_store_and_getting(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "views" / "flights.py").rename(project / "gone.py")
    (project / "views" / "views.json").write_text(_without_files(project))
    assert main(["features", "join", "labels.csv", "--views", "planes,trip", "--out", "train.parquet"]) == 0
    table = pq.read_table(project / "train.parquet")
    assert table.column_names == ["tail", "at", "people", "planes.seats", "planes.maker", "trip.load"]
    assert table["trip.load"].to_pylist() == [None, 0.8, None]
    assert "planes: 3 rows, 2 without a known row, 0 older than the ttl" in capsys.readouterr().out
    assert main(["features", "materialize", "--as-of", "2013-01-04T00:00Z"]) == 0
    assert "planes: 1 entities of 2 rows (1 without a key or an instant)" in capsys.readouterr().out
    assert main(["features", "get", "planes", "N1", "--at", "2013-01-05T00:00Z"]) == 0
    shown = capsys.readouterr().out
    assert "planes N1: ok, of 2013-01-01T00:00:00Z, 4 days, 0:00:00 old" in shown
    assert "seats = 50.0" in shown
    assert "known at 2013-01-04T00:00:00Z, 1 day, 0:00:00 ago" in shown
    assert main(["features", "get", "planes", "N2", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == {"seats": None, "maker": None}


def test_what_evaluates_never_runs_the_authors_python(project: Path) -> None:
    (project / "views" / "flights.py").write_text(VIEWS + "\nopen('ran', 'w').close()\n")
    assert main(["features", "join", "labels.csv", "--views", "planes", "--out", "t.parquet"]) == 2
    assert not (project / "ran").exists()
    assert main(["features", "check"]) == 0
    (project / "ran").unlink()
    assert main(["features", "join", "labels.csv", "--views", "planes", "--out", "t.parquet"]) == 0
    assert main(["features", "materialize"]) == 0
    assert main(["features", "get", "planes", "N1"]) == 0
    assert not (project / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["join", "labels.csv", "--views", "plane", "--out", "o"], "known are planes", id="unknown view"),
        pytest.param(["join", "none.csv", "--views", "planes", "--out", "o"], "none.csv: cannot", id="no labels"),
        pytest.param(["get", "planes", "N1"], "features.db: expected an online store", id="no store"),
        pytest.param(["get", "planes", "N1", "N2"], "expected tail, received N1 N2", id="too many keys"),
        pytest.param(["get", "trip", "N1"], "computed from the request", id="on-demand"),
        pytest.param(["materialize", "--as-of", "2013-01-04"], "as-of: expected a time with a zone", id="no zone"),
        pytest.param(
            ["join", "labels.csv", "--views", "planes", "--out", "o", "--time-zone", "NY"], "zone", id="no such zone"
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named(
    project: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["features", *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert not (project / "o").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("x = 1", "expected variables that are a View", id="no views"),
        pytest.param("import nothing_of_this_name", "flights.py: ModuleNotFoundError", id="an error of the author's"),
        pytest.param(VIEWS + "\nif col('x'): pass", "flights.py: if, and, or", id="an expression that is refused"),
        pytest.param(VIEWS + "\nother = View('trip', features={'x': col('x')})", "trip: expected", id="same name"),
    ],
)  # fmt: skip
def test_views_that_cannot_be_compiled_are_named(
    project: Path, text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / "views" / "views.json").read_text()
    (project / "views" / "flights.py").write_text(text)
    assert main(["features", "check"]) == 2
    assert expected in capsys.readouterr().err
    assert (project / "views" / "views.json").read_text() == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(('"seats"', '"chairs"'), "does not have its hash", id="a changed definition"),
        pytest.param(('"views"', '"other"'), "expected compiled views", id="something else"),
        pytest.param(('"format": 1', '"format": 2'), "expected format 1, received 2", id="a later format"),
    ],
)
def test_compiled_views_that_were_changed_are_refused(
    project: Path, change: tuple[str, str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "views" / "views.json"
    path.write_text(path.read_text().replace(*change))
    assert main(["features", "materialize"]) == 2
    assert expected in capsys.readouterr().err


def _without_files(project: Path) -> str:
    form = json.loads((project / "views" / "views.json").read_text())
    return json.dumps(form | {"files": {}})
