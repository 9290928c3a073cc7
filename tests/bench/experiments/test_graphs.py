"""The comparison of our graphs with skl2onnx's."""

from sklearn.linear_model import Ridge

from skylane.bench.experiments.graphs import SUBJECTS, Ratio, Subject, measure, page, record


def test_a_pipeline_is_measured_in_every_type_of_numbers() -> None:
    ratios = measure(Subject("Ridge", Ridge(), "numbers"))
    assert set(ratios) == {"float32", "mixed", "float64"}
    assert all(ratio.size > 0 and ratio.load > 0 and len(ratio.latency) == 3 for ratio in ratios.values())


def test_the_page_has_a_row_for_each_graph() -> None:
    text = page({"trees": {"float32": Ratio(2.0, 1.25, (120.4, 9.5, 1.0))}}, "raw.json")
    assert "| trees | float32 | 2.00 | 1.25 | 120 | 9.50 | 1.00 |" in text.splitlines()


def test_pipelines_are_told_apart_by_name() -> None:
    assert len({subject.name for subject in SUBJECTS}) == len(SUBJECTS)


def test_the_file_has_all_digits_and_what_they_depend_on() -> None:
    told = record({"trees": {"float32": Ratio(2.0, 1.25, (120.4, 9.5, 1.0))}})
    assert told["ratios"]["trees"]["float32"]["latency"] == (120.4, 9.5, 1.0)
    assert told["machine"]["cores"] >= 1
    assert told["libraries"]["onnxruntime"][0].isdigit()


def test_the_page_says_where_large_factors_end() -> None:
    text = page({"isolation forest of 100": {"float32": Ratio(5.0, 32.0, (91.2, 9.6, 4.6))}}, "raw.json")
    assert "At 1, 64, 1024 rows, in single precision: isolation forest of 100 91, 10, 5 times as fast." in text
    assert "times as fast" not in page({"trees": {"float32": Ratio(2.0, 1.25, (120.4, 9.5, 1.0))}}, "raw.json")
