"""Predictions over HTTP: each protocol's bodies, every type, and the same values and words as over gRPC."""

from typing import Any

import numpy as np
import pytest

from skylane.dtypes import DTYPES, DType
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, write_raw
from support.calls import array_of, ask, features, open_channel, predict
from support.http import Http, binary_body, infer, tensor
from support.server import RunningServer

ONE = features(1)
ROW = ONE[0].tolist()


class TestOpenInference:
    """`/v2`."""

    def test_json(self, http: Http) -> None:
        answer = http.post("/v2/models/linear/infer", infer(tensor("features", features(3)), id="é7"))
        assert answer.status == 200
        assert (answer.json["model_name"], answer.json["model_version"], answer.json["id"]) == ("linear", "1", "é7")
        label, score = answer.json["outputs"]
        assert (label["name"], label["datatype"], label["shape"]) == ("label", "INT64", [3])
        np.testing.assert_allclose(score["data"], features(3).sum(axis=1), rtol=1e-5)
        assert score["shape"] == [3, 1]

    def test_load_and_unload_are_off_unless_allowed(self, http: Http) -> None:
        for change in ("load", "unload"):
            refused = http.post(f"/v2/repository/models/linear/{change}", {"parameters": {"unload_dependents": False}})
            assert refused.error == (
                403,
                "load and unload are disabled: the server's --allow-admin or --tokens enable them",
            )

    def test_statistics_of_one_model_and_of_all(self, http: Http) -> None:
        http.post("/v2/models/linear/infer", infer(tensor("features", features(3))))
        (one,) = http.get("/v2/models/linear/stats").json["model_stats"]
        assert one["inference_count"] >= 3
        every = http.get("/v2/models/stats").json["model_stats"]
        assert {"linear", "mixed", "touchy"} <= {each["name"] for each in every}

    def test_nested_data_is_the_same(self, http: Http) -> None:
        flat, nested = tensor("features", features(3)), tensor("features", features(3))
        nested["data"] = features(3).tolist()
        assert (
            http.post("/v2/models/linear/infer", infer(flat)).json
            == http.post("/v2/models/linear/infer", infer(nested)).json
        )

    def test_outputs_come_in_the_order_asked(self, http: Http) -> None:
        body = infer(tensor("features", ONE), outputs=[{"name": "score"}, {"name": "label"}])
        answer = http.post("/v2/models/linear/infer", body)
        assert [output["name"] for output in answer.json["outputs"]] == ["score", "label"]
        assert "id" not in answer.json

    def test_each_output_is_binary_or_not_as_asked(self, http: Http) -> None:
        outputs = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "label"}]
        answer = http.post("/v2/models/linear/infer", infer(tensor("features", ONE), outputs=outputs))
        score, label = answer.json["outputs"]
        assert answer.headers["content-type"] == "application/octet-stream"
        assert score["parameters"] == {"binary_data_size": 4}
        assert "data" not in score
        assert label["data"] == [int(ONE.sum() > 0)]
        np.testing.assert_allclose(np.frombuffer(answer.binary, "<f4"), ONE.sum(axis=1), rtol=1e-5)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_type_goes_both_ways_in_both_forms(self, http: Http, dtype: DType) -> None:
        if dtype == "string":
            array = np.array([["é", ""], ["a\nb", "x" * 300]], object)
        else:
            array = np.array([[0, 1], [1, 0]] if dtype == "bool" else [[0, 1], [100, 7]], dtype)
        raw, name = write_raw(array), DATATYPE_OF[dtype]
        described = {"name": "x", "datatype": name, "shape": [2, 2]}
        as_json = http.post(f"/v2/models/{dtype}/infer", infer(described | {"data": array.ravel().tolist()}))
        assert as_json.json["outputs"] == [
            {"name": "y", "datatype": name, "shape": [2, 2], "data": array.ravel().tolist()}
        ]
        body, size = binary_body(
            infer(described | {"parameters": {"binary_data_size": len(raw)}}, parameters={"binary_data_output": True}),
            raw,
        )
        as_binary = http.post(f"/v2/models/{dtype}/infer", body, Inference_Header_Content_Length=size)
        assert as_binary.binary == raw
        assert as_binary.json["outputs"][0]["parameters"] == {"binary_data_size": len(raw)}

    def test_in_json_a_gap_is_null_and_infinities_are_words_and_in_binary_they_survive(self, http: Http) -> None:
        array = np.array([[np.nan, -np.inf]], np.float32)
        body, size = binary_body(
            infer({"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}),
            array.tobytes(),
        )
        answer = http.post("/v2/models/float32/infer", body, Inference_Header_Content_Length=size)
        assert answer.json["outputs"][0]["data"] == [None, "-Infinity"]
        assert http.post(
            "/v2/models/float32/infer",
            infer({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [None, 1]}),
        ).json["outputs"][0]["data"] == [None, 1.0]

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            pytest.param(
                "/v2/models/float32/infer",
                b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[NaN,-Infinity]}]}',
                id="Open Inference Protocol",
            ),
            pytest.param("/v1/models/float32:predict", b'{"instances":[[NaN,-Infinity]]}', id="instances"),
            pytest.param("/v1/models/float32:predict", b'{"rows":[{"x":[NaN,-Infinity]}]}', id="rows"),
        ],
    )
    def test_what_python_writes_for_gaps_and_infinities_is_taken(self, http: Http, path: str, body: bytes) -> None:
        answer = http.post(path, body)
        assert b'[null,"-Infinity"]' in answer.body

    def test_the_lists_of_kserve_and_of_triton(self, http: Http) -> None:
        assert http.get("/v2/").json == http.get("/v2").json
        assert "linear" in http.get("/v2/models").json["models"]

    def test_a_body_of_bytes_alone_is_the_only_input(self, http: Http) -> None:
        answer = http.post("/v2/models/linear/infer", features(3).tobytes(), Inference_Header_Content_Length="0")
        score = answer.json["outputs"][1]
        assert score["shape"] == [3, 1]
        np.testing.assert_allclose(np.frombuffer(answer.binary[-12:], "<f4"), features(3).sum(axis=1), rtol=1e-5)

    def test_columns_are_inputs_as_well(self, http: Http) -> None:
        inputs = [
            {"name": "a", "datatype": "FP64", "shape": [2], "data": [1, 2]},
            {"name": "b", "datatype": "FP64", "shape": [2], "data": [None, 4]},
            {"name": "s", "datatype": "BYTES", "shape": [2, 1], "data": ["x", "y"]},
            {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["", "é"]},
        ]
        numbers, strings = http.post("/v2/models/mixed/infer", infer(*inputs)).json["outputs"]
        assert numbers["data"] == [1.0, None, 2.0, 4.0]
        assert strings["data"] == ["x", "", "y", "é"]

    def test_no_rows_are_an_answer_of_no_rows(self, http: Http) -> None:
        body = infer({"name": "features", "datatype": "FP32", "shape": [0, 20], "data": []})
        assert [output["shape"] for output in http.post("/v2/models/linear/infer", body).json["outputs"]] == [
            [0],
            [0, 1],
        ]

    def test_a_version_in_the_path(self, http: Http) -> None:
        assert http.post("/v2/models/linear/versions/1/infer", infer(tensor("features", ONE))).status == 200

    def test_what_the_server_says_of_itself(self, http: Http) -> None:
        assert http.get("/v2").json["extensions"] == [
            "binary_tensor_data",
            "model_configuration",
            "model_repository",
            "statistics",
        ]
        assert http.get("/v2/health/live").status == http.get("/v2/health/ready").status == 200
        assert http.get("/v2/models/linear/ready").status == 200
        about = http.get("/v2/models/linear/versions/1").json
        assert about["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 20]}]
        index = http.post("/v2/repository/index", {"ready": True}).json
        assert {"name": "linear", "version": "1", "state": "READY", "reason": ""} in index


class TestPredictions:
    """`/v1`."""

    def test_rows(self, http: Http) -> None:
        rows = [{"a": 1, "b": None, "s": "x", "t": "y"}, {"a": 2.5, "b": 3, "s": "", "t": None}]
        expected = {
            "model": "mixed",
            "version": 1,
            "predictions": [
                {"numbers_out": [1.0, None], "strings_out": ["x", "y"]},
                {"numbers_out": [2.5, 3.0], "strings_out": ["", ""]},
            ],
        }
        assert http.post("/v1/models/mixed:predict", {"rows": rows}).json == expected
        assert http.post("/v1/models/mixed:predict", rows).json == expected
        assert http.post("/v1/models/mixed:predict", rows[0]).json["predictions"] == expected["predictions"][:1]  # type: ignore[index]

    def test_a_column_that_may_be_missing_can_be_left_out(self, http: Http) -> None:
        (prediction,) = http.post("/v1/models/mixed:predict", {"a": 1, "s": "x"}).json["predictions"]
        assert prediction == {"numbers_out": [1.0, None], "strings_out": ["x", ""]}

    def test_one_value_needs_no_list(self, http: Http) -> None:
        (prediction,) = http.post("/v1/models/linear:predict", {"features": ROW}).json["predictions"]
        assert prediction == {"label": int(ONE.sum() > 0), "score": pytest.approx(ONE.sum(), rel=1e-5)}

    def test_outputs_that_are_wanted(self, http: Http) -> None:
        body = {"rows": [{"features": ROW}], "outputs": ["label"]}
        assert list(http.post("/v1/models/linear:predict", body).json["predictions"][0]) == ["label"]

    @pytest.mark.parametrize(
        ("path", "body", "answer"),
        [
            pytest.param(
                "/v1/models/mixed:predict",
                {"instances": [{"a": 1, "b": 2, "s": "x", "t": "y"}]},
                {"predictions": [{"numbers_out": [1.0, 2.0], "strings_out": ["x", "y"]}]},
                id="instances as objects",
            ),
            pytest.param(
                "/v1/models/float32/versions/1:predict",
                {"signature_name": "serving_default", "instances": [[1, 2], [3, 4]]},
                {"predictions": [[1.0, 2.0], [3.0, 4.0]]},
                id="instances as lists, one output: bare values",
            ),
            pytest.param(
                "/v1/models/float32:predict",
                {"inputs": [[1, 2]]},
                {"outputs": [[1.0, 2.0]]},
                id="inputs as a list",
            ),
            pytest.param(
                "/v1/models/mixed:predict",
                {"inputs": {"numbers": [[1, 2]], "strings": [["x", "y"]]}},
                {"outputs": {"numbers_out": [[1.0, 2.0]], "strings_out": [["x", "y"]]}},
                id="inputs as an object of tensors",
            ),
            pytest.param(
                "/v1/models/mixed:predict",
                {"inputs": {"a": [1, 2], "b": [None, 4], "s": ["x", "y"], "t": ["p", None]}},
                {
                    "outputs": {
                        "numbers_out": [[1.0, None], [2.0, 4.0]],
                        "strings_out": [["x", "p"], ["y", ""]],
                    }
                },
                id="inputs as an object of columns",
            ),
            pytest.param(
                "/v1/models/touchy:predict",
                {"instances": ["1.5", "2"]},
                {"predictions": [[1.5], [2.0]]},
                id="rows of one value",
            ),
            pytest.param(
                "/v1/models/touchy:predict",
                {"instances": [{"b64": "MS41"}, {"b64": "Mg=="}]},
                {"predictions": [[1.5], [2.0]]},
                id="strings in base64",
            ),
            pytest.param(
                "/v1/models/mixed:predict",
                {"instances": [{"a": 1, "b": 2, "s": {"b64": "eA=="}, "t": {"b64": "w6k="}}]},
                {"predictions": [{"numbers_out": [1.0, 2.0], "strings_out": ["x", "é"]}]},
                id="strings in base64, in columns",
            ),
            pytest.param(
                "/v1/models/mixed:predict",
                {"inputs": {"numbers": [[1, 2]], "strings": [[{"b64": "eA=="}, "y"]]}},
                {"outputs": {"numbers_out": [[1.0, 2.0]], "strings_out": [["x", "y"]]}},
                id="strings in base64, in tensors",
            ),
            pytest.param("/v1/models/float32:predict", {"instances": []}, {"predictions": []}, id="no rows"),
        ],
    )
    def test_tensorflow_servings_bodies(self, http: Http, path: str, body: Any, answer: Any) -> None:
        assert http.post(path, body).json == answer

    def test_a_label_in_the_path(self, http: Http) -> None:
        body = {"instances": [ROW]}
        answer = http.post("/v1/models/linear/labels/stable:predict", body)
        assert (answer.status, len(answer.json["predictions"])) == (200, 1)

    def test_status_and_metadata_as_tensorflow_serving_tells_them(self, http: Http) -> None:
        expected = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for path in ("", "/versions/1", "/labels/stable"):
            assert http.get(f"/v1/models/linear{path}").json == {"model_version_status": [expected]}
        metadata = http.get("/v1/models/linear/metadata").json
        assert metadata["model_spec"] == {"name": "linear", "signature_name": "", "version": "1"}
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["inputs"]["features"]["dtype"] == "DT_FLOAT"
        sizes = [size["size"] for size in signature["inputs"]["features"]["tensor_shape"]["dim"]]
        assert sizes == ["-1", "20"]
        assert "linear" in http.get("/v1/models").json["models"]


def test_answers_equal_those_over_grpc(http_server: RunningServer, http: Http) -> None:
    rows = features(50)
    with open_channel(http_server.address) as channel:
        reply = predict(channel)(ask("linear", features=rows))
    answer = http.post("/v2/models/linear/infer", infer(tensor("features", rows))).json
    np.testing.assert_array_equal(np.array(answer["outputs"][1]["data"], np.float32), array_of(reply, "score")[:, 0])


def test_the_page_and_its_document(http: Http) -> None:
    """Every example of the document is a request that is answered, and the page loads nothing from elsewhere."""
    document = http.get("/openapi.json").json
    paths = [path for path in document["paths"] if path.endswith(":predict")]
    assert "/v1/models/mixed:predict" in paths
    for path in paths:
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        answer = http.post(path, example)
        assert (answer.status, len(answer.json["predictions"])) == (200, len(example["rows"])), answer.body
    page = http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"http://" not in page.body
    assert b"https://" not in page.body
