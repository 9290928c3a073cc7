"""`skylane outcomes`: files into a journal or to a server, and what is in there."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from skylane import outcomes
from skylane.cli import main
from support import models
from support.security import section
from support.server import serving

LANDED = datetime(2013, 7, 1, 18, 3, tzinfo=UTC)


def call(number: int) -> str:
    return f"9f2c1a7be04d5538-{number:x}"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (tmp_path / "journal" / "predictions" / "flights").mkdir(parents=True)
    return tmp_path / "journal"


def csv_file(directory: Path, *lines: str) -> str:
    path = directory / "landed.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def parquet_file(directory: Path, **columns: Any) -> str:
    pyarrow.parquet.write_table(pa.table(columns), directory / "landed.parquet")
    return str(directory / "landed.parquet")


def add(journal: Path, file: str, *options: str) -> int:
    return main(["outcomes", "add", file, "--model", "flights", "--journal", str(journal), *options])


def rows(journal: Path, *names: str) -> list[tuple[Any, ...]]:
    found = outcomes.read(journal, "flights").to_pylist()
    return [tuple(row[name] for name in names) for row in found]


def test_a_csv_file_with_the_fields_own_names(
    tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = csv_file(
        tmp_path,
        "prediction_id,row,label,value,known_at,gate",
        f"{call(1)},0,0017,,2013-07-01T14:03:00-04:00,A1",
        f"{call(1)},1,late,2.5,2013-07-01T18:03:00Z,",
    )

    assert add(journal, file) == 0

    assert rows(journal, "row", "label", "value", "known_at", "sender") == [
        (0, "0017", None, LANDED, "(file)"),
        (1, "late", 2.5, LANDED, "(file)"),
    ]
    told = capsys.readouterr()
    assert told.out == "2 outcomes of flights are recorded (2 with unknown ids)\n"
    assert told.err == "skylane outcomes add: ignored columns: gate\n"


def test_columns_are_named_by_options(tmp_path: Path, journal: Path) -> None:
    file = csv_file(tmp_path, "flight,departed,late", "N14228,2013-07-01T10:00:00Z,1")

    assert add(journal, file, "--entity", "flight", "--event-at", "departed", "--label", "late") == 0

    assert rows(journal, "entity", "event_at", "label") == [("N14228", datetime(2013, 7, 1, 10, tzinfo=UTC), "1")]


def test_a_parquet_file_with_times_of_a_zone(tmp_path: Path, journal: Path) -> None:
    file = parquet_file(
        tmp_path,
        prediction_id=pa.array([call(1), call(2)]).dictionary_encode(),
        label=pa.array([0, 1], pa.int8()),
        known_at=pa.array([LANDED, None], pa.timestamp("ns", "America/New_York")),
    )

    assert add(journal, file) == 0

    found = rows(journal, "label", "known_at")
    assert (found[0], found[1][0]) == (("0", LANDED), "1")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_without_a_zone_are_refused_or_get_the_one_that_is_named(
    kind: str, tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    naive = datetime(2013, 7, 1, 14, 3)
    if kind == "csv":
        file = csv_file(tmp_path, "prediction_id,label,known_at", f"{call(1)},1,{naive.isoformat()}")
    else:
        file = parquet_file(tmp_path, prediction_id=[call(1)], label=["1"], known_at=pa.array([naive]))

    assert add(journal, file) in (1, 2)
    assert "known_at: expected" in (told := capsys.readouterr().err)
    assert "with a zone" in told
    assert rows(journal, "label") == []

    assert add(journal, file, "--timezone", "America/New_York") == 0
    assert rows(journal, "known_at") == [(LANDED,)]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "local", [datetime(2013, 11, 3, 1, 30), datetime(2013, 3, 10, 2, 30)], ids=["shown twice", "never shown"]
)
def test_a_time_that_clocks_do_not_show_once_is_refused_and_the_others_are_not(
    kind: str, local: datetime, tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times, ids = [datetime(2013, 7, 1, 14, 3), local], [call(1), call(2)]
    if kind == "csv":
        lines = [f"{each},1,{at.isoformat()}" for each, at in zip(ids, times, strict=True)]
        file = csv_file(tmp_path, "prediction_id,label,known_at", *lines)
    else:
        file = parquet_file(tmp_path, prediction_id=ids, label=["1", "1"], known_at=pa.array(times))

    assert add(journal, file, "--timezone", "America/New_York") == 1

    assert capsys.readouterr().err == (
        f"1 are refused:\n  row 2: known_at: expected a time that clocks in America/New_York show once, received "
        f"{local.isoformat()}, when they change: write it with its offset from UTC\n"
    )
    assert rows(journal, "known_at") == [(LANDED,)]


@pytest.mark.parametrize(
    ("lines", "options", "told"),
    [
        pytest.param(
            ["prediction_id,label", "no id,1"],
            [],
            "row 1: prediction_id: expected the id of a reply",
            id="an id that is none",
        ),
        pytest.param(
            ["prediction_id,row,label", f"{call(1)},-1,1"],
            [],
            "row 1: row: expected a whole number from 0, received '-1'",
            id="a row that cannot be",
        ),
        pytest.param(
            ["prediction_id,value", f"{call(1)},1", f"{call(2)},much"],
            [],
            "row 2: value: expected a number, received 'much'",
            id="a value that is no number",
        ),
        pytest.param(
            ["prediction_id,label", f"{call(1)},1"],
            ["--known-at", "landed"],
            "expected a column 'landed' for known_at; the columns are prediction_id, label",
            id="a column that is not there",
        ),
        pytest.param(["a,b", "1"], [], "expected CSV with column names in its first line", id="no table"),
    ],
)
def test_a_fault_in_a_file_is_named_with_its_row(
    lines: list[str], options: list[str], told: str, tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(journal, csv_file(tmp_path, *lines), *options) in (1, 2)

    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "told"),
    [
        pytest.param({"label": pa.array([1.0])}, "label: expected a column of text or whole numbers", id="real labels"),
        pytest.param({"value": pa.array([True])}, "value: expected a column of numbers, received bool", id="truth"),
        pytest.param({"known_at": pa.array([1372701780])}, "known_at: expected a column of times", id="epoch numbers"),
    ],
)
def test_a_column_of_another_type_is_refused(
    column: dict[str, Any], told: str, tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = parquet_file(tmp_path, **({"prediction_id": [call(1)], "label": ["1"]} | column))

    assert add(journal, file) == 2

    assert told in capsys.readouterr().err


def test_adding_a_file_again_changes_nothing(tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = csv_file(tmp_path, "prediction_id,label", f"{call(1)},1")
    add(journal, file)
    before = rows(journal, "label", "known_at", "corrections")

    assert add(journal, file) == 0

    assert "1 outcomes of flights are recorded (1 repeated, 1 with unknown ids)" in capsys.readouterr().out
    assert rows(journal, "label", "known_at", "corrections") == before


def test_a_file_is_sent_to_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.linear(tmp_path / "models", "flights")
    (tmp_path / "tokens.toml").write_text(section("airline", "outcome"))
    file = csv_file(
        tmp_path,
        "prediction_id,entity,event_at,label,known_at",
        f"{call(1)},,,1,2013-07-01T18:03:00Z",
        f"{call(2)},,,1,2013-07-01T18:03:00",
        ",N14228,2013-07-01T10:00:00Z,0,",
        "no id,,,1,",
    )
    settings: dict[str, Any] = {"tokens": tmp_path / "tokens.toml", "journal": tmp_path / "journal"}
    with serving(tmp_path / "models", **settings) as server:
        arguments = ["outcomes", "add", file, "--model", "flights", "--server", server.address]
        assert main(arguments) == 1
        assert "UNAUTHENTICATED" in capsys.readouterr().err
        assert main([*arguments, "--token", "airline"]) == 1

    told = capsys.readouterr()
    assert told.out == "2 outcomes of flights are recorded (1 with unknown ids)\n"
    assert [line[:20] for line in told.err.splitlines()] == [
        "2 are refused:",
        "  row 2: known_at: e",
        "  row 4: prediction_",
    ]
    assert rows(tmp_path / "journal", "label", "entity", "sender") == [
        ("1", None, "airline"),
        ("0", "N14228", "airline"),
    ]


def test_models_and_senders_are_listed(tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outcomes", "ls", "--journal", str(journal)]) == 0
    assert capsys.readouterr().out == f"{journal} has no outcomes: add some with `skylane outcomes add`\n"
    add(journal, csv_file(tmp_path, "prediction_id,label,known_at", f"{call(1)},1,2013-07-01T18:03:00Z"))
    capsys.readouterr()

    assert main(["outcomes", "ls", "--journal", str(journal)]) == 0

    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "MODEL", "OUTCOMES", "RECORDS", "REPEATED", "CORRECTED", "CONFLICTING", "LATE", "DROPPED", "SENDERS",
    ]  # fmt: skip
    assert line.split() == ["flights", "1", "1", "0", "0", "0", "1", "0", "(file)"]


def test_outcomes_are_shown_as_known_by_an_instant(
    tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{call(1)},0,2013-07-01T18:03:00Z", f"{call(1)},1,2013-07-01T19:00:00Z"]
    add(journal, csv_file(tmp_path, "prediction_id,label,known_at", *lines))
    show = ["outcomes", "show", "flights", "--journal", str(journal), "--format", "json"]
    capsys.readouterr()

    assert main([*show, "--known-by", "2013-07-01T18:30:00Z"]) == 0
    then = json.loads(capsys.readouterr().out)
    assert main(show) == 0
    now = json.loads(capsys.readouterr().out)

    assert (then["label"], then["corrections"], then["known_at"]) == ("0", 0, "2013-07-01T18:03:00Z")
    assert (now["label"], now["corrections"], now["known_at"]) == ("1", 1, "2013-07-01T19:00:00Z")


@pytest.mark.parametrize("form", ["table", "csv"])
def test_outcomes_are_shown_for_people_and_programs(
    form: str, tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{call(number)},1,2013-07-01T18:03:00Z" for number in (1, 2, 3)]
    add(journal, csv_file(tmp_path, "prediction_id,label,known_at", *lines))
    show = ["outcomes", "show", "flights", "--journal", str(journal), "--format", form]
    capsys.readouterr()

    assert main([*show, "--limit", "2"]) == 0
    told = capsys.readouterr()
    assert (len(told.out.splitlines()), told.err) == (3, "1 more: show them with --limit\n")
    assert main([*show, "--id", call(3)]) == 0
    assert call(3) in capsys.readouterr().out


def test_a_sender_is_dropped(tmp_path: Path, journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(journal, csv_file(tmp_path, "prediction_id,label", f"{call(1)},1"))
    drop = ["outcomes", "drop", "--journal", str(journal), "--token"]
    capsys.readouterr()

    assert main([*drop, "airline"]) == 2
    assert "there are no outcomes of 'airline'; the senders are (file)" in capsys.readouterr().err
    assert main([*drop, "(file)", "--since", "2999-01-01T00:00:00Z"]) == 0
    assert rows(journal, "label") == [("1",)]
    assert main([*drop, "(file)"]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 records of (file) are dropped; reports of earlier instants still have them"
    )
    assert rows(journal, "label") == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["ls", "--journal", "absent"], "--journal: there is no directory absent", id="no directory"),
        pytest.param(
            ["show", "absent", "--journal", "."],
            ". has no outcomes of 'absent'; it has those of no model",
            id="no model",
        ),
    ],
)
def test_what_is_not_there_is_named(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["outcomes", *arguments]) == 2

    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "told"),
    [
        pytest.param(
            ["--known-by", "2013-05-03T18:00:00"], "expected a time with a zone", id="an instant without zone"
        ),
        pytest.param(["--recorded-by", "yesterday"], "expected a time in ISO 8601 with a zone", id="no instant"),
    ],
)
def test_an_instant_that_is_none_is_refused(option: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["outcomes", "show", "flights", "--journal", ".", *option])

    assert told in capsys.readouterr().err
