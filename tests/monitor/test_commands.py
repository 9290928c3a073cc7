"""`skylane monitor`, `performance` and `drift`: what they print, at which width, and how they refuse."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from skylane.cli import main
from skylane.monitor import terminal
from skylane.monitor.instants import instant_us, since_us
from support.written_journal import WrittenJournal

from .conftest import Day
from .views import DAY_US, view


def text(renderable: object, width: int) -> str:
    console = Console(width=width, color_system=None, highlight=False, file=io.StringIO())
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal_and_say_what_is_unsure(width: int) -> None:
    shown = text(terminal.performance(view(), width), width) + text(terminal.drift(view(), width), width)
    assert max(map(len, shown.splitlines())) <= width
    words = " ".join(shown.split())
    for said in ("57 % of labels still", "not over", "wind_speed ×1.61", "season and drift", "1970-01-02", "█"):
        assert said in words, said


def test_without_rows_they_say_so() -> None:
    empty = view(blocks=(), versions=(), segments=(), drift=(), alarms=())
    assert "No rows have been recorded" in text(terminal.performance(empty, 80), 80)
    assert "No rows have been recorded" in text(terminal.drift(empty, 80), 80)


@pytest.fixture
def options(journal: WrittenJournal, repository: Path, state_path: Path, day: Day) -> list[str]:
    """Options of commands that read the state of a monitor which did one pass."""
    for number in range(3):
        day(number)
    shared = ["--models", str(repository), "--state", str(state_path)]
    assert main(["monitor", "--journal", str(journal.directory), "--once", *shared]) == 0
    return shared


def test_a_pass_says_what_it_did(
    journal: WrittenJournal, repository: Path, state_path: Path, day: Day, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        day(number)
    shared = ["--models", str(repository), "--state", str(state_path)]
    assert main(["monitor", "--journal", str(journal.directory), "--once", *shared]) == 0
    assert "180 new rows, 3 blocks computed, 3 reported (flights)" in capsys.readouterr().out


def test_performance_and_drift(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["performance", "flights", *options]), main(["drift", "flights", *options])) == (0, 0)
    shown = capsys.readouterr().out
    assert "3 of 3 blocks: log loss" in shown
    assert "flights: drift" in shown


def test_json_is_for_programs(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["performance", "flights", "--format", "json", "--since", "2011-01-27", *options]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [block["block"] for block in described["blocks"]] == ["2011-01-27T00:00:00Z", "2011-01-28T00:00:00Z"]
    assert described["blocks"][0]["measures"]["log_loss"]["will_be"] > 0


def test_the_report_is_one_file(options: list[str], tmp_path: Path) -> None:
    assert main(["monitor", "report", "flights", "--html", str(tmp_path / "report.html"), *options]) == 0
    assert "<h1>Skylane monitor</h1>" in (tmp_path / "report.html").read_text("utf-8")
    assert [path.name for path in tmp_path.glob("*.html*")] == ["report.html"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["performance", "nobody"], "no rows of a model 'nobody'.* with rows: flights", id="another model"),
        pytest.param(["performance", "flights", "--since", "May"], "an instant such as", id="no instant"),
        pytest.param(["drift", "flights", "--as-known", "2013-07-01T18:00"], "with a zone", id="no zone"),
        pytest.param(["performance", "flights", "--segment", "x"], "no segments by 'x', only by carrier", id="segment"),
        pytest.param(["drift", "flights", "--state", "none.sqlite"], "no such file; `skylane monitor", id="no state"),
        pytest.param(["monitor", "report", "--html", "no/where.html"], "No such file", id="no directory"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(
    options: list[str], arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *(options if "--state" not in arguments else options[:2])]) == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_journal_that_is_not_there_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "--journal", "nowhere", "--models", str(repository), "--once"]) == 2
    assert "nowhere: no such directory" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_an_interval_is_some_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["monitor", "--journal", ".", "--interval", seconds])
    assert "--interval" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "us"),
    [
        pytest.param("1970-01-02T00:00:00Z", DAY_US, id="UTC"),
        pytest.param("1970-01-02T02:00:00+02:00", DAY_US, id="another zone"),
        pytest.param("1970-01-02", DAY_US, id="a date is midnight UTC"),
        pytest.param("19700102", DAY_US, id="a date without dashes"),
        pytest.param("9d", DAY_US, id="so long before now"),
    ],
)
def test_instants(said: str, us: int) -> None:
    assert since_us(said, 10 * DAY_US) == us


@pytest.mark.parametrize("command", ["performance", "drift"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--version", "7"], "No rows of version 7; there are rows of 1.", id="a version without rows"),
        pytest.param(["--since", "2012-01-01"], "No block that begins at 2012-01-01T00:00:00Z or later has rows; the "
                     "last rows are of 2011-01-28.", id="since after the last rows"),
        pytest.param(["--as-known", "2010-01-01"], "No rows before 2010-01-01T00:00:00Z; the first are of 2011-01-26.",
                     id="an instant before the first rows"),
    ],
)  # fmt: skip
def test_a_selection_without_rows_says_which_rows_there_are(
    options: list[str], command: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([command, "flights", *arguments, *options]) == 0
    assert says in " ".join(capsys.readouterr().out.split())


def test_without_a_reference_drift_says_how_to_write_one(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["drift", "flights", *options]) == 0
    assert "no version has a reference" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["performance", "drift"])
def test_as_known_takes_a_date(options: list[str], command: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([command, "flights", "--as-known", "2011-01-27", *options]) == 0
    assert "as known at 2011-01-27T00:00:00Z" in capsys.readouterr().out


@pytest.mark.parametrize("said", ["yesterday", "2013-07-01T18:00", "", "1.5d", "2013-07-01Z"])
def test_what_is_no_instant(said: str) -> None:
    with pytest.raises(ValueError, match="expected an instant"):
        instant_us(said)
