"""What people get wrong: each is said before anything is written, names the file or column, and costs no data."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest
from rich.console import Console

from skylane.score import console, listing, sources
from skylane.score.command import ALL_SCORED, SOME_REJECTED, UNUSABLE, UNWRITABLE, main
from skylane.score.hashes import CHUNK_BYTES, sha256_of
from skylane.score.records import PartitionRecord

ROWS: dict[str, list[Any]] = {"a": [1.0, 2.0], "s": ["x", "y"], "b": [1.0, 2.0], "t": ["p", "q"]}

Table = Callable[..., pa.Table]


def scored(small_models: Path, source: Path | str, target: Path | str, *more: str) -> int:
    return main([str(source), str(target), "--model", "mixed", "--models", str(small_models), "--quiet", *more])


def written(root: Path) -> set[str]:
    """Names of the files below a directory that are no records."""
    return {
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and "_skylane" not in path.parts
    }


def with_column(name: str, values: pa.Array) -> pa.Table:
    return pa.table(ROWS).append_column(name, values)


class TestColumns:
    @pytest.mark.parametrize(
        ("form", "values"),
        [
            pytest.param("csv", pa.array([[1], [2]]), id="lists in CSV"),
            pytest.param("csv", pa.array([{"k": 1}, {"k": 2}]), id="structs in CSV"),
            pytest.param("csv", pa.array([b"\xff", b"\x00"]), id="bytes in CSV"),
            pytest.param("csv", pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int8())), id="maps in CSV"),
            pytest.param("csv", pa.nulls(2, pa.month_day_nano_interval()), id="intervals in CSV"),
            pytest.param("parquet", pa.nulls(2, pa.month_day_nano_interval()), id="intervals in Parquet"),
        ],
    )
    def test_a_column_that_the_format_cannot_hold_is_named(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, values: pa.Array
    ) -> None:
        table = with_column("extra", values)
        with pa.ipc.new_file(tmp_path / "in.arrow", table.schema) as writer:
            writer.write_table(table)
        target = tmp_path / "out" / f"out.{form}"
        assert scored(small_models, tmp_path / "in.arrow", target) == UNUSABLE
        assert f"in.arrow: column 'extra': {form} cannot hold" in capsys.readouterr().err
        assert written(tmp_path / "out") == set()
        assert scored(small_models, tmp_path / "in.arrow", target, "--columns", "a") == ALL_SCORED

    @pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
    def test_times_decimals_and_categories_are_copied(self, small_models: Path, tmp_path: Path, form: str) -> None:
        table = with_column("when", pa.array([0, 1], pa.timestamp("us", "Europe/Zurich")))
        table = table.append_column("price", pa.array([1, 2]).cast(pa.decimal128(21, 2)))
        table = table.append_column("kind", pa.array(["x", "y"]).dictionary_encode())
        parquet.write_table(table, tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / f"out.{form}") == ALL_SCORED

    @pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
    def test_categories_that_differ_from_batch_to_batch_are_copied(
        self, small_models: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sources, "BATCH_ROWS", 2)
        parts = [with_column("kind", pa.array([kind] * 2).dictionary_encode()) for kind in ("x", "y")]
        with parquet.ParquetWriter(tmp_path / "in.parquet", parts[0].schema) as writer:
            for part in parts:
                writer.write_table(part)
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / f"out.{form}") == ALL_SCORED
        if form == "arrow":
            with pa.ipc.open_file(tmp_path / "out.arrow") as file:
                assert file.read_all()["kind"].to_pylist() == ["x", "x", "y", "y"]

    @pytest.mark.parametrize("name", ["a", "extra"])
    def test_a_name_that_is_there_twice_is_refused(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        table = with_column("extra", pa.array([1.0, 2.0])).append_column(name, pa.array([1.0, 2.0]))
        parquet.write_table(table, tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out") == UNUSABLE
        assert f"in.parquet: column '{name}' is there more than once" in capsys.readouterr().err

    def test_a_missing_column_is_an_error_that_says_what_the_file_has(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parquet.write_table(pa.table(ROWS).rename_columns(["A", "s", "b", "t"]), tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out") == UNUSABLE
        error = capsys.readouterr().err
        assert "in.parquet: " in error
        assert "'a' is missing" in error
        assert "the data has 'A', 's', 'b', 't'" in error

    def test_a_file_with_none_of_the_columns_says_what_it_has(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parquet.write_table(pa.table({"x": [1]}), tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out") == UNUSABLE
        assert (
            "in.parquet: expected the columns 'a', 's', 'b', 't', received none of them: the data has 'x'"
            in capsys.readouterr().err
        )

    def test_a_column_of_texts_for_numbers_is_refused_and_not_rejected_row_by_row(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parquet.write_table(pa.table(ROWS | {"a": ["1", "2"]}), tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out") == UNUSABLE
        assert "column 'a': expected numbers (float32), received a column of texts" in capsys.readouterr().err

    def test_an_answer_clashes_only_with_a_column_that_is_copied(self, small_models: Path, tmp_path: Path) -> None:
        parquet.write_table(with_column("numbers_out:0", pa.array([1.0, 2.0])), tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out") == UNUSABLE
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "other", "--columns", "none") == ALL_SCORED

    def test_a_column_is_copied_once(self, small_models: Path, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            scored(small_models, tmp_path / "in.parquet", tmp_path / "out", "--columns", "a,b,a")

    def test_what_pandas_says_of_its_index_is_kept(self, small_models: Path, tmp_path: Path) -> None:
        import pandas as pd

        pd.DataFrame(ROWS, index=pd.Index(["k", "l"], name="key")).to_parquet(tmp_path / "in.parquet")
        assert scored(small_models, tmp_path / "in.parquet", tmp_path / "out.parquet") == ALL_SCORED
        assert list(pd.read_parquet(tmp_path / "out.parquet").index) == ["k", "l"]


class TestCsv:
    @pytest.mark.parametrize("mark", [";", "\t", "|"])
    def test_another_separator_is_named(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mark: str
    ) -> None:
        (tmp_path / "in.csv").write_text("a,s,b,t\n1,x,2,y\n".replace(",", mark))
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "out") == UNUSABLE
        assert f"expected commas between the columns, received {mark!r}" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param("\ufeffa,s,b,t\n1,x,2,y\n", id="a byte order mark"),
            pytest.param("a,s,b,t\r\n1,x,2,y\r\n", id="lines of Windows"),
            pytest.param('"a","s","b","t"\n"1","x,\n""x""","2","y"\n', id="commas, lines and quotes in quotes"),
            pytest.param("a,s,b,t\n1,x,2,y", id="no end of the last line"),
            pytest.param("a,s,b,t\n\n1,x,2,y\n\n", id="empty lines"),
        ],
    )
    def test_ordinary_forms_are_read(self, small_models: Path, tmp_path: Path, content: str) -> None:
        (tmp_path / "in.csv").write_text(content, newline="")
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "out.parquet") == ALL_SCORED
        assert len(parquet.read_table(tmp_path / "out.parquet")) == 1

    def test_a_quote_that_is_not_closed_is_explained(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sources, "CSV_BLOCK_BYTES", 4096)
        (tmp_path / "in.csv").write_text('a,s,b,t\n1,"x,2,y\n' + "1,x,2,y\n" * 2000)
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "out") == UNUSABLE
        assert "or a quote is not closed" in capsys.readouterr().err

    def test_lines_that_are_no_rows_do_not_fill_the_memory(
        self, small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "in.csv").write_text("a,s,b,t\n1,x,2,y\n" + "1,x\n" * 6)
        monkeypatch.setattr(sources, "UNREADABLE_MAX", 6)
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "out") == SOME_REJECTED
        monkeypatch.setattr(sources, "UNREADABLE_MAX", 5)
        assert scored(small_models, tmp_path / "in.csv", tmp_path / "other") == UNUSABLE
        assert "Expected 4 columns, got 2" in capsys.readouterr().err


class TestBatches:
    def test_small_batches_are_joined(self, small_models: Path, tmp_path: Path) -> None:
        with pa.ipc.new_stream(tmp_path / "in.arrow", pa.table(ROWS).schema) as writer:
            for _ in range(50):
                writer.write_table(pa.table(ROWS))
        assert scored(small_models, tmp_path / "in.arrow", tmp_path / "out.parquet") == ALL_SCORED
        metadata = parquet.read_metadata(tmp_path / "out.parquet")
        assert (metadata.num_rows, metadata.num_row_groups) == (100, 1)

    def test_large_rows_are_read_few_at_a_time(
        self, tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = table(64).append_column("text", pa.array([os.urandom(500).hex() for _ in range(64)]))
        parquet.write_table(rows, tmp_path / "in.parquet")
        monkeypatch.setattr(sources, "BATCH_BYTES", 16_000)
        (source,) = listing.sources(str(tmp_path / "in.parquet"))
        batches = list(source.open().batches())
        assert max(batch.nbytes for batch in batches) <= 20_000
        assert pa.Table.from_batches(batches).equals(rows)

    def test_what_was_read_of_a_file_does_not_stay_in_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sources, "BATCH_BYTES", 500_000)
        group = pa.table({"text": [os.urandom(50_000).hex() for _ in range(20)]})
        with parquet.ParquetWriter(tmp_path / "in.parquet", group.schema) as writer:
            for _ in range(20):
                writer.write_table(group)
        (source,) = listing.sources(str(tmp_path / "in.parquet"))
        batches, before = source.open().batches(), pa.total_allocated_bytes()
        held = [pa.total_allocated_bytes() - before for batch in batches if len(batch)]
        assert max(held) < 12 * group.nbytes < (tmp_path / "in.parquet").stat().st_size


class TestOutput:
    @pytest.mark.parametrize("name", ["out.txt", "out.csv.gz", "s3://bucket/out"])
    def test_a_name_that_is_meant_otherwise_does_not_become_a_directory(
        self, small_models: Path, lake: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert scored(small_models, lake, name) == UNUSABLE
        assert {path.name for path in tmp_path.iterdir()} == {"lake"}

    def test_a_url_is_no_input(self, small_models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert scored(small_models, "s3://bucket/rows", tmp_path / "out") == UNUSABLE
        assert "received the URL s3://bucket/rows" in capsys.readouterr().err

    def test_a_directory_whose_name_ends_as_that_of_a_file_is_a_directory(
        self, small_models: Path, lake: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out.parquet").mkdir()
        assert scored(small_models, lake, tmp_path / "out.parquet") == SOME_REJECTED
        assert "carrier=UA/part-0.parquet" in written(tmp_path / "out.parquet")

    def test_a_directory_in_the_place_of_an_output_is_named(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out/carrier=UA/part-0.parquet").mkdir(parents=True)
        assert scored(small_models, lake, tmp_path / "out") == UNUSABLE
        assert "out/carrier=UA/part-0.parquet, found a directory" in capsys.readouterr().err

    def test_a_file_that_this_command_did_not_write_is_not_replaced(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        foreign = tmp_path / "out/carrier=UA/part-0.parquet"
        foreign.parent.mkdir(parents=True)
        foreign.write_text("mine")
        for _ in range(2):
            assert scored(small_models, lake, tmp_path / "out") == UNUSABLE
            assert "was not written by this command" in capsys.readouterr().err
            assert foreign.read_text() == "mine"
        assert scored(small_models, lake, tmp_path / "out", "--restart") == SOME_REJECTED

    def test_outputs_below_the_input_are_no_inputs_of_the_next_run(
        self, small_models: Path, lake: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert scored(small_models, lake, lake / "scored") == SOME_REJECTED
        before = written(lake)
        assert scored(small_models, lake, lake / "scored") == SOME_REJECTED
        assert written(lake) == before
        assert not capsys.readouterr().err

    def test_rejected_rows_of_two_formats_have_a_file_each(
        self, small_models: Path, tmp_path: Path, table: Table
    ) -> None:
        (tmp_path / "in").mkdir()
        parquet.write_table(table(5), tmp_path / "in/x.parquet")
        arrow_csv.write_csv(table(5), tmp_path / "in/x.csv")
        assert scored(small_models, tmp_path / "in", tmp_path / "out") == SOME_REJECTED
        assert written(tmp_path / "out") >= {"_rejected/x.parquet", "_rejected/x.csv.parquet"}

    def test_rejected_rows_are_scored_again_when_they_are_mended(
        self, small_models: Path, tmp_path: Path, table: Table, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parquet.write_table(table(5), tmp_path / "in.parquet")
        scored(small_models, tmp_path / "in.parquet", tmp_path / "out.parquet")
        rejected = tmp_path / "_rejected/out.parquet"
        before = rejected.read_bytes()
        assert scored(small_models, rejected, tmp_path / "out.parquet", "--restart") == UNUSABLE
        assert "would be overwritten" in capsys.readouterr().err
        assert rejected.read_bytes() == before
        assert scored(small_models, rejected, tmp_path / "again.parquet") == SOME_REJECTED
        (row,) = parquet.read_table(tmp_path / "_rejected/again.parquet").to_pylist()
        assert (row["_row"], row["day"]) == (0, 3)

    def test_a_disk_that_is_full_leaves_no_part_of_an_output(
        self, small_models: Path, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class FullDisk(io.BufferedWriter):
            def flush(self) -> None:
                raise OSError(28, "No space left on device")

        def opened(path: Path, *_: object, **__: object) -> Any:
            return FullDisk(io.FileIO(path, "w"))

        monkeypatch.setattr("skylane.score.sinks.open_new", opened)
        assert scored(small_models, lake, tmp_path / "out") == UNWRITABLE
        assert written(tmp_path / "out") == set()


class TestInput:
    def test_files_behind_a_link_to_a_directory_are_scored_and_loops_end(
        self, small_models: Path, lake: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in/linked").symlink_to(lake, target_is_directory=True)
        (lake / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
        assert scored(small_models, tmp_path / "in", tmp_path / "out") == SOME_REJECTED
        outputs = {name for name in written(tmp_path / "out") if not name.startswith("_")}
        assert outputs == {
            f"linked/carrier={carrier}/part-0.parquet" for carrier in ("UA", "B6", "__HIVE_DEFAULT_PARTITION__")
        }

    def test_a_link_to_nothing_is_an_error(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (lake / "gone.parquet").symlink_to(tmp_path / "nothing")
        assert scored(small_models, lake, tmp_path / "out") == UNUSABLE
        assert "gone.parquet: it cannot be read" in capsys.readouterr().err

    def test_a_directory_that_cannot_be_listed_is_an_error(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        listed = os.scandir

        def scandir(path: Any) -> Any:
            if str(path).endswith("carrier=B6"):
                raise PermissionError(13, "Permission denied", str(path))
            return listed(path)

        monkeypatch.setattr(os, "scandir", scandir)
        assert scored(small_models, lake, tmp_path / "out") == UNUSABLE
        assert "carrier=B6: it cannot be read: Permission denied" in capsys.readouterr().err

    def test_a_file_that_changes_while_it_is_read_is_not_recorded(
        self, small_models: Path, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        source, read = lake / "carrier=UA/part-0.parquet", sources.Reader.batches

        def batches(reader: sources.Reader) -> Iterator[pa.RecordBatch]:
            yield from read(reader)
            with source.open("ab") as file:
                file.write(b"more")

        monkeypatch.setattr(sources.Reader, "batches", batches)
        assert scored(small_models, source, tmp_path / "out") == UNUSABLE
        assert "part-0.parquet: it was changed while it was read" in capsys.readouterr().err
        assert written(tmp_path / "out") == set()

    def test_a_run_that_ends_early_does_not_hash_its_input_to_the_end(
        self, small_models: Path, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin, stops = sources.Reader.begin_hash, list[threading.Event]()

        def begin_hash(reader: sources.Reader, pool: Executor, stop: threading.Event) -> Callable[[], str]:
            stops.append(stop)
            begin(reader, pool, stop)
            raise KeyboardInterrupt

        monkeypatch.setattr(sources.Reader, "begin_hash", begin_hash)
        assert scored(small_models, lake, tmp_path / "out") == 130
        assert [stop.is_set() for stop in stops] == [True]

    def test_hashing_ends_when_it_is_told_to(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(bytes(CHUNK_BYTES))
        stop = threading.Event()
        complete = sha256_of(tmp_path / "file", stop)
        stop.set()
        assert sha256_of(tmp_path / "file", stop) != complete == sha256_of(tmp_path / "file")


class TestReporter:
    def test_rows_that_were_scored_before_do_not_count_as_speed(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        small_models: Path,
        lake: Path,
        tmp_path: Path,
    ) -> None:
        scored(small_models, lake, tmp_path / "out")
        (tmp_path / "out/carrier=UA/part-0.parquet").unlink()
        main([str(lake), str(tmp_path / "out"), "--model", "mixed", "--models", str(small_models)])
        output = capsys.readouterr().out
        assert output.startswith("200 rows in 1 file, ")
        assert "; 2 files unchanged" in output

    @pytest.mark.parametrize(("files", "lines"), [(100, 100), (101, 1)], ids=["few files", "many files"])
    def test_of_many_files_only_those_with_rejected_rows_are_listed(
        self, monkeypatch: pytest.MonkeyPatch, files: int, lines: int
    ) -> None:
        reporter, stream = console.Reporter(), io.StringIO()
        monkeypatch.setattr(reporter, "_console", Console(file=stream, width=120))
        reporter.begin(files, None)
        for number in range(files):
            record = PartitionRecord(
                input_sha256="", output="", output_sha256="", rows=5, rejected=int(number == 7), rejected_sha256=None
            )
            reporter.partition(f"{number}.csv", record, was_done=False)
        printed = stream.getvalue().splitlines()
        assert len(printed) == lines
        assert any("7.csv: 5 rows, 1 rejected" in line for line in printed)
