"""Files: what is written where, and that a run which was interrupted ends with the same tree."""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

from skylane.score.command import SOME_REJECTED, UNUSABLE, UNWRITABLE, main


def scored(small_models: Path, source: Path | str, target: Path, *more: str) -> int:
    return main([str(source), str(target), "--model", "mixed", "--models", str(small_models), "--quiet", *more])


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def times(root: Path) -> dict[str, int]:
    return {name: (root / name).stat().st_mtime_ns for name in tree(root)}


def test_each_file_becomes_one_in_the_same_place(small_models: Path, lake: Path, tmp_path: Path) -> None:
    assert scored(small_models, lake, tmp_path / "out") == SOME_REJECTED
    outputs = {name for name in tree(tmp_path / "out") if not name.startswith("_")}
    assert outputs == {
        "carrier=UA/part-0.parquet", "carrier=B6/part-0.parquet", "carrier=__HIVE_DEFAULT_PARTITION__/part-0.parquet",
    }  # fmt: skip


def test_rows_keep_their_order_and_columns(small_models: Path, lake: Path, tmp_path: Path) -> None:
    scored(small_models, lake, tmp_path / "out")
    source = parquet.read_table(lake / "carrier=UA/part-0.parquet", partitioning=None)
    target = parquet.read_table(tmp_path / "out/carrier=UA/part-0.parquet", partitioning=None)
    kept = pa.concat_tables([source.slice(0, 3), source.slice(4)])
    assert target.select(source.column_names).equals(kept)
    assert (
        target["numbers_out:0"].cast(pa.float64()).to_pylist() == kept["a"].cast("float").cast(pa.float64()).to_pylist()
    )
    assert target["strings_out:0"].to_pylist() == kept["s"].to_pylist()


def test_rejected_rows_are_kept_with_their_place_and_the_reason(small_models: Path, lake: Path, tmp_path: Path) -> None:
    scored(small_models, lake, tmp_path / "out")
    rejected = parquet.read_table(tmp_path / "out/_rejected/carrier=B6/part-0.parquet", partitioning=None)
    (row,) = rejected.to_pylist()
    assert (row["_row"], row["day"], row["a"]) == (3, 3, None)
    assert row["_reason"] == "column 'a': the pipeline accepts no gaps here, but the value is missing"


def test_a_column_that_directories_name_is_an_input_of_the_model(
    small_models: Path, tmp_path: Path, table: Callable[..., pa.Table]
) -> None:
    directory = tmp_path / "lake" / "b=2.5" / "t=K%C3%B6ln"
    directory.mkdir(parents=True)
    parquet.write_table(table(3).drop_columns(["b", "t"]), directory / "0.parquet")
    assert scored(small_models, tmp_path / "lake", tmp_path / "out") == 0
    answers = parquet.read_table(tmp_path / "out/b=2.5/t=K%C3%B6ln/0.parquet", partitioning=None)
    assert answers["numbers_out:1"].to_pylist() == [2.5] * 3
    assert answers["strings_out:1"].to_pylist() == ["Köln"] * 3
    assert "b" not in answers.column_names


class TestFormats:
    @pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
    def test_every_format_is_read_and_written(
        self, small_models: Path, tmp_path: Path, table: Callable[..., pa.Table], form: str
    ) -> None:
        rows = table(3)
        source = tmp_path / f"in.{form}"
        if form == "parquet":
            parquet.write_table(rows, source)
        elif form == "csv":
            arrow_csv.write_csv(rows, source)
        else:
            with pa.ipc.new_file(source, rows.schema) as writer:
                writer.write_table(rows)
        for target in ("parquet", "csv", "arrow"):
            assert scored(small_models, source, tmp_path / f"out.{target}") == 0
        answers = parquet.read_table(tmp_path / "out.parquet")
        assert answers["numbers_out:0"].to_pylist() == rows["a"].cast("float").to_pylist()
        with pa.ipc.open_file(tmp_path / "out.arrow") as file:
            assert file.read_all()["numbers_out:0"].equals(answers["numbers_out:0"])
        lines = (tmp_path / "out.csv").read_text().splitlines()
        assert len(lines) == 4

    def test_a_stream_of_arrow_is_read_as_well(
        self, small_models: Path, tmp_path: Path, table: Callable[..., pa.Table]
    ) -> None:
        rows = table(3)
        with pa.ipc.new_stream(tmp_path / "in.arrow", rows.schema) as writer:
            writer.write_table(rows)
        assert scored(small_models, tmp_path / "in.arrow", tmp_path / "out.parquet") == 0

    def test_codes_in_csv_stay_as_they_are(self, small_models: Path, tmp_path: Path) -> None:
        (tmp_path / "in.csv").write_text("a,s,b,t,zip\n1,0017,2,x,00501\n")
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "out.csv") == 0
        header, row = (tmp_path / "out.csv").read_text().splitlines()
        assert header.startswith('"a","s","b","t","zip","numbers_out:0"')
        assert row.startswith('"1","0017","2","x","00501",1,2,"0017"')

    def test_a_line_of_csv_that_is_no_row_is_rejected_alone(self, small_models: Path, tmp_path: Path) -> None:
        (tmp_path / "in.csv").write_text("a,s,b,t\n1,x,2,y\n1,x\n3,x,4,y\n")
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "out") == SOME_REJECTED
        (rejected,) = parquet.read_table(tmp_path / "out/_rejected/in.csv.parquet").to_pylist()
        assert rejected["_reason"] == "expected 4 columns, received 2: '1,x'"
        assert len((tmp_path / "out/in.csv").read_text().splitlines()) == 3


class TestColumns:
    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            pytest.param("none", [], id="none"),
            pytest.param("day,a", ["day", "a"], id="some, in this order"),
            pytest.param("all", ["a", "s", "b", "t", "day"], id="all"),
        ],
    )
    def test_columns_of_the_input_are_copied_by_choice(
        self, small_models: Path, lake: Path, tmp_path: Path, option: str, expected: list[str]
    ) -> None:
        scored(small_models, lake, tmp_path / "out", "--columns", option, "--prefix", "p_")
        names = parquet.read_schema(tmp_path / "out/carrier=UA/part-0.parquet").names
        assert names == [*expected, "p_numbers_out:0", "p_numbers_out:1", "p_strings_out:0", "p_strings_out:1"]


class TestAgain:
    def test_a_finished_run_does_nothing(self, small_models: Path, lake: Path, tmp_path: Path) -> None:
        scored(small_models, lake, tmp_path / "out")
        before = times(tmp_path / "out")
        assert scored(small_models, lake, tmp_path / "out") == SOME_REJECTED
        assert times(tmp_path / "out") == before

    @pytest.mark.parametrize(
        "name",
        [
            "carrier=UA/part-0.parquet",
            "_rejected/carrier=UA/part-0.parquet",
            "_skylane/partitions/carrier=UA/part-0.parquet.json",
        ],
    )
    @pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["gone", "changed"])
    def test_what_is_missing_or_changed_is_scored_again(
        self, small_models: Path, lake: Path, tmp_path: Path, name: str, damage: Callable[[Path], object]
    ) -> None:
        scored(small_models, lake, tmp_path / "out")
        before, untouched = tree(tmp_path / "out"), times(tmp_path / "out")["carrier=B6/part-0.parquet"]
        damage(tmp_path / "out" / name)
        code = scored(small_models, lake, tmp_path / "out")
        if "json" in name and (tmp_path / "out" / name).exists() and code == UNUSABLE:
            return  # a record that is no record is an error, which names it
        assert tree(tmp_path / "out") == before
        assert times(tmp_path / "out")["carrier=B6/part-0.parquet"] == untouched

    def test_an_input_that_changed_is_scored_again_and_the_others_are_not(
        self, small_models: Path, lake: Path, tmp_path: Path, table: Callable[..., pa.Table]
    ) -> None:
        scored(small_models, lake, tmp_path / "out")
        before = times(tmp_path / "out")
        parquet.write_table(table(3), lake / "carrier=UA/part-0.parquet")
        assert scored(small_models, lake, tmp_path / "out") == SOME_REJECTED
        after = times(tmp_path / "out")
        changed = {name for name in after if after[name] != before[name]}
        assert changed == {"carrier=UA/part-0.parquet", "_skylane/partitions/carrier=UA/part-0.parquet.json"}
        assert not (tmp_path / "out/_rejected/carrier=UA/part-0.parquet").exists()

    def test_other_options_are_refused_unless_it_begins_again(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        scored(small_models, lake, tmp_path / "out")
        assert scored(small_models, lake, tmp_path / "out", "--columns", "none") == UNUSABLE
        assert "was written with columns None, and this run ()" in capsys.readouterr().err
        assert scored(small_models, lake, tmp_path / "out", "--columns", "none", "--restart") == SOME_REJECTED

    def test_options_of_an_attempt_that_completed_nothing_do_not_bind(
        self, small_models: Path, lake: Path, tmp_path: Path
    ) -> None:
        assert scored(small_models, lake, tmp_path / "out", "--columns", "nothing") == UNUSABLE
        assert scored(small_models, lake, tmp_path / "out", "--columns", "none") == SOME_REJECTED

    def test_the_number_of_workers_changes_nothing(self, small_models: Path, lake: Path, tmp_path: Path) -> None:
        for workers in ("1", "3"):
            scored(small_models, lake, tmp_path / workers, "--workers", workers)
        assert tree(tmp_path / "1") == tree(tmp_path / "3")


class TestFaults:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param(b"", "it cannot be read as parquet", id="an empty file"),
            pytest.param(b"PAR1 but not really PAR1", "it cannot be read as parquet", id="another format"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_named(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
    ) -> None:
        (tmp_path / "in.parquet").write_bytes(content)
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out") == UNUSABLE
        error = capsys.readouterr().err
        assert f"in.parquet: {message}" in error
        assert len(error.splitlines()) == 1

    @pytest.mark.parametrize(
        ("source", "target", "message"),
        [
            pytest.param("lake", "lake", "would be overwritten", id="into the input"),
            pytest.param("lake", "out.parquet", "expected a directory for 3 files", id="several files into one"),
            pytest.param("nothing", "out", "there is no file", id="no such file"),
            pytest.param("lake/*/nothing-*.csv", "out", "there is no file", id="a glob without a match"),
            pytest.param("lake/_SUCCESS", "out", "expected a file that ends with .parquet", id="an unknown format"),
        ],
    )
    def test_what_cannot_be_scored_is_explained(
        self, small_models: Path, lake: Path, capsys: pytest.CaptureFixture[str], source: str, target: str, message: str
    ) -> None:
        assert scored(small_models, lake.parent / source, lake.parent / target) == UNUSABLE
        assert message in capsys.readouterr().err

    def test_two_inputs_that_would_become_one_output_are_refused(
        self, small_models: Path, tmp_path: Path, table: Callable[..., pa.Table], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "in").mkdir()
        parquet.write_table(table(3), tmp_path / "in/x.parquet")
        arrow_csv.write_csv(table(3), tmp_path / "in/x.csv")
        assert scored(small_models, tmp_path / "in", tmp_path / "out", "--format", "parquet") == UNUSABLE
        assert "would both become" in capsys.readouterr().err

    def test_a_second_run_into_the_same_directory_is_refused(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out/_skylane").mkdir(parents=True)
        with (tmp_path / "out/_skylane/lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert scored(small_models, lake, tmp_path / "out") == UNUSABLE
        assert "another run scores into" in capsys.readouterr().err

    def test_a_directory_that_cannot_be_written_is_named(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("")
        assert scored(small_models, lake, tmp_path / "file" / "out") == UNWRITABLE
        assert "Not a directory" in capsys.readouterr().err

    def test_nothing_is_left_of_an_output_that_could_not_be_completed(
        self, small_models: Path, lake: Path, tmp_path: Path
    ) -> None:
        source = lake / "carrier=UA/part-0.parquet"
        content = bytearray(source.read_bytes())
        content[4:60] = bytes(56)  # the head of the first page
        source.write_bytes(content)
        assert scored(small_models, source, tmp_path / "out") == UNUSABLE
        assert {name for name in tree(tmp_path / "out") if not name.startswith("_")} == set()


KILLED: Final = """
import os, sys
from skylane.score.command import main
calls = int(sys.argv.pop(1))
def counted(call):
    def dying(*arguments):
        global calls
        calls -= 1
        if calls == 0:
            os._exit(137)  # as SIGKILL: nothing is cleaned up
        return call(*arguments)
    return dying
os.replace, os.fsync = counted(os.replace), counted(os.fsync)
sys.exit(main(sys.argv[1:]))
"""
"""Ends at the n-th of the calls that put a file in its place, or on the disk."""


@pytest.mark.slow
def test_killed_at_every_step_and_run_again_it_ends_with_the_same_tree(
    small_models: Path, tmp_path: Path, table: Callable[..., pa.Table]
) -> None:
    source, kills = tmp_path / "in", 0
    source.mkdir()
    for number in range(4):
        parquet.write_table(table(50, number), source / f"{number:02}.parquet")
    scored(small_models, source, tmp_path / "expected")
    arguments = (str(source), str(tmp_path / "out"), "--model", "mixed", "--models", str(small_models), "--quiet")
    for calls in (1, 2, 3, 4, 5, 6, 7, 3, 5, 7, 6):
        run = subprocess.run([sys.executable, "-P", "-c", KILLED, str(calls), *arguments], check=False)
        kills += run.returncode == 137
    assert kills >= 8
    assert scored(small_models, source, tmp_path / "out") == SOME_REJECTED
    assert tree(tmp_path / "out") == tree(tmp_path / "expected")
