"""Bad input over HTTP gets the words that it gets over gRPC, where gRPC can be asked the same, and harms nobody."""

import struct
from typing import Any

import grpc
import numpy as np
import pytest

from skylane.v1.prediction_pb2 import PredictRequest
from support.calls import ask, features, open_channel, predict
from support.http import Http, binary_body, infer, tensor
from support.server import RunningServer

ONE = features(1)
ROW = ONE[0].tolist()
MIXED_TAKES = (
    "the model takes the columns 'a', 's', 'b' and 't', or the tensors 'numbers' float32 (any, 2) and "
    "'strings' string (any, 2)"
)


def v2(model: str = "linear", *tensors: dict[str, Any], **more: Any) -> tuple[str, Any]:
    return f"/v2/models/{model}/infer", infer(*tensors, **more)


def described(**more: Any) -> dict[str, Any]:
    return {"name": "features", "datatype": "FP32", "shape": [1, 20], "data": ROW} | more


SAME_WORDS = [
    pytest.param(ask("lienar", features=ONE), 404, v2("lienar", tensor("features", ONE)), id="a misspelt model"),
    pytest.param(
        PredictRequest(model="linear", version=7),
        404,
        ("/v2/models/linear/versions/7/infer", infer()),
        id="an unknown version",
    ),
    pytest.param(
        PredictRequest(model="linear", label="stbale"),
        404,
        ("/v1/models/linear/labels/stbale:predict", {"instances": []}),
        id="an unknown label",
    ),
    pytest.param(
        PredictRequest(model="linear", label="gone"),
        404,
        ("/v1/models/linear/labels/gone:predict", {"instances": []}),
        id="a label of a version that is not there",
    ),
    pytest.param(
        PredictRequest(model="linear", version=0),
        400,
        ("/v2/models/linear/versions/0/infer", infer()),
        id="version 0",
    ),
    pytest.param(ask("linear"), 400, v2("linear"), id="no inputs"),
    pytest.param(ask("linear", feature=ONE), 400, v2("linear", tensor("feature", ONE)), id="a misspelt tensor"),
    pytest.param(
        ask("linear", features=ONE.astype(np.float64)),
        400,
        v2("linear", tensor("features", ONE, "FP64")),
        id="the wrong dtype",
    ),
    pytest.param(
        ask("linear", features=features(1, 19)), 400, v2("linear", tensor("features", features(1, 19))), id="the width"
    ),
    pytest.param(
        ask("linear", features=ONE, outputs=["scor"]),
        400,
        v2("linear", tensor("features", ONE), outputs=[{"name": "scor"}]),
        id="a misspelt output",
    ),
    pytest.param(
        ask("linear", features=ONE, outputs=["score", "score"]),
        400,
        v2("linear", tensor("features", ONE), outputs=[{"name": "score"}, {"name": "score"}]),
        id="an output twice",
    ),
    pytest.param(
        ask("linear", features=features(8193)),
        400,
        v2("linear", tensor("features", features(8193))),
        id="more rows than the model takes",
    ),
    pytest.param(
        ask("touchy", text=np.array([["x"]], object)),
        500,
        ("/v1/models/touchy:predict", {"instances": ["x"]}),
        id="rows on which the model fails",
    ),
]


@pytest.mark.parametrize(("over_grpc", "status", "over_http"), SAME_WORDS)
def test_errors_have_the_words_of_grpc(
    http_server: RunningServer, http: Http, over_grpc: PredictRequest, status: int, over_http: tuple[str, Any]
) -> None:
    with open_channel(http_server.address) as channel, pytest.raises(grpc.RpcError) as refused:
        predict(channel)(over_grpc)
    assert http.post(*over_http).error == (status, refused.value.details())


BAD = [
    pytest.param(
        v2("linear", described(shape=[-1, 20])),
        "tensor 'features': shape: expected sizes from 0 with the rows first, received [-1, 20]",
        id="a negative size",
    ),
    pytest.param(
        v2("linear", described(shape=[1] * 9)),
        "tensor 'features': shape: expected at most 8 sizes, received 9",
        id="too many dimensions",
    ),
    pytest.param(
        v2("linear", described(datatype="FLOAT")),
        "tensor 'features': datatype: expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, "
        "FP16, FP32, FP64 and BYTES, received 'FLOAT'",
        id="an unknown datatype",
    ),
    pytest.param(
        v2("linear", described(data=ROW[:3])),
        "tensor 'features': data: expected 20 elements for shape [1, 20], received 3",
        id="too few elements",
    ),
    pytest.param(
        v2("linear", described(data=["x"] * 20)),
        "tensor 'features': data[0]: expected a number or null, received a string",
        id="strings for numbers",
    ),
    pytest.param(
        v2("linear", described(data=[[1, 2], [3]])),
        "tensor 'features': data: lists beside one another differ in length",
        id="ragged lists",
    ),
    pytest.param(
        v2("linear", described(data=7)),
        "tensor 'features': data: expected a list, received a number",
        id="no list",
    ),
    pytest.param(
        v2("int8", {"name": "x", "datatype": "INT8", "shape": [1, 2], "data": [1, 300]}),
        "tensor 'x': data: a value is outside the range of int8",
        id="an integer that does not fit",
    ),
    pytest.param(
        v2("linear", {"name": "features", "datatype": "FP32", "shape": [1, 20]}),
        "tensor 'features': expected `data`, or `binary_data_size`",
        id="no data",
    ),
    pytest.param(v2("linear", described(), described()), "inputs: 'features' appears twice", id="an input twice"),
    pytest.param(v2("linear", described(), id="i" * 257), "id: expected at most 256 bytes", id="an endless id"),
    pytest.param(
        v2("linear", described(parameters={"shared_memory_region": "r"})),
        "input 'features': shared memory is not supported: send the data",
        id="shared memory",
    ),
    pytest.param(
        v2("linear", described(), parameters={"timeout": "soon"}),
        "parameters: timeout: expected microseconds from 0, received 'soon'",
        id="a timeout that is none",
    ),
    pytest.param(
        ("/v2/models/linear/infer", b'{"inputs":'),
        "the body is not an inference request: Input data was truncated",
        id="half a body",
    ),
    pytest.param(
        ("/v2/models/linear/infer", b"{}"),
        "the body is not an inference request: expected a field 'inputs'",
        id="no inputs at all",
    ),
    pytest.param(
        ("/v1/models/linear:predict", b"[" * 100_000),
        "the body is not JSON: maximum recursion depth exceeded while deserializing an object",
        id="lists without end",
    ),
    pytest.param(
        ("/v1/models/linear:predict", b'{"rows": [{"features": [nan]}]}'),
        "the body is not JSON: JSON is malformed: invalid character (byte 28)",
        id="a token that nobody writes",
    ),
    pytest.param(
        ("/v1/models/linear:predict", b'[NaN, "\\ud800"]'),
        "the body is not JSON: 'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed",
        id="half a pair of surrogates beside a token",
    ),
    pytest.param(
        ("/v1/models/linear:predict", b"\xef\xbb\xbf{}"),
        "the body is not JSON: it begins with a byte order mark (BOM): send UTF-8 without one",
        id="a byte order mark",
    ),
    pytest.param(
        ("/v2/models/linear/infer", '{"inputs": []}'.encode("utf-16")),
        "the body is not an inference request: it looks like UTF-16: send UTF-8",
        id="UTF-16",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", [{"a": 1, "s": {"b64": "/w=="}}]),
        "b64: expected base64 of text in UTF-8, received '/w=='",
        id="bytes that are no text",
    ),
    pytest.param(
        ("/v1/models/linear:predict", 7),
        "the body: expected an object or a list of objects, received '7'",
        id="a number",
    ),
    pytest.param(
        ("/v1/models/linear:predict", {"rows": [], "outputs": []}),
        "rows: expected at least one, received none",
        id="no rows",
    ),
    pytest.param(("/v1/models/linear:predict", {"rows": 1}), "rows: expected a list", id="rows that are no list"),
    pytest.param(
        ("/v1/models/linear:predict", {"rows": [{}], "instances": [1]}),
        "the body: expected one of rows, instances and inputs, received rows and instances",
        id="two forms at once",
    ),
    pytest.param(
        ("/v1/models/linear:predict", {"instances": [ROW], "signature": "x"}),
        "the body: 'signature' is not known: expected instances and signature_name",
        id="an unknown key",
    ),
    pytest.param(
        ("/v1/models/linear:predict", {"instances": [ROW], "signature_name": "classify"}),
        "signature_name: expected 'serving_default' or nothing, received 'classify'",
        id="another signature",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", {"instances": [[1, 2]]}),
        "instances: this model takes the tensors 'numbers' and 'strings': name them, or its columns",
        id="rows without names for several tensors",
    ),
    pytest.param(
        ("/v1/models/linear:predict", {"instances": [ROW, {"features": ROW}]}),
        "instances: expected all to be objects or none, but row 1 differs from row 0",
        id="rows of two kinds",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", {"a": 1, "s": "x", "tt": "y"}),
        f"inputs: 'b' and 't' are missing, and 'tt' is not known (did you mean 't'?); {MIXED_TAKES}",
        id="a misspelt column",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", {"b": 1, "s": "x"}),
        f"inputs: 'a' is missing; {MIXED_TAKES}",
        id="a column that must not be left out",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", {"a": "1", "s": "x"}),
        "column 'a': expected floats (float32), received strings",
        id="a string for a number",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", [{"a": 1, "s": "x"}, {"a": "1", "s": "x"}]),
        "column 'a': expected one kind of value for all rows, received integers and strings",
        id="two kinds in one column",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", [{"a": 1, "s": "x"}, {"a": [1], "s": "x"}]),
        "column 'a': expected one value for each row, but row 1 holds a list",
        id="a list in a column",
    ),
    pytest.param(
        ("/v1/models/mixed:predict", [{"a": None, "s": "x"}]),
        "column 'a': the pipeline accepts no gaps here, but the value of row 0 is missing",
        id="a gap where the pipeline takes none",
    ),
]


@pytest.mark.parametrize(("request_", "message"), BAD)
def test_a_body_that_is_wrong(http: Http, request_: tuple[str, Any], message: str) -> None:
    assert http.post(*request_).error == (400, message)


@pytest.mark.parametrize(
    ("raw", "sizes", "header", "message"),
    [
        pytest.param(b"1234", [8], None, "binary_data_size: expected 0 to 4", id="fewer bytes than announced"),
        pytest.param(b"1" * 80, [-1], None, "binary_data_size: expected 0 to 80", id="a negative size"),
        pytest.param(b"1" * 80, ["80"], None, "binary_data_size: expected 0 to 80", id="a size that is no number"),
        pytest.param(b"1" * 79, [79], None, "expected 80 bytes for float32 of shape [1, 20], received 79", id="short"),
        pytest.param(b"1" * 81, [80], None, "1 bytes behind the JSON that belong to no tensor", id="bytes of nobody"),
        pytest.param(b"", [0], "99999", "Inference-Header-Content-Length: expected 0 to", id="JSON beyond the body"),
        pytest.param(b"", [0], "-1", "inference-header-content-length: expected a number", id="a negative header"),
        pytest.param(b"", [0], "x", "inference-header-content-length: expected a number", id="a header of letters"),
    ],
)
def test_binary_tensors_that_are_wrong(
    http: Http, raw: bytes, sizes: list[Any], header: str | None, message: str
) -> None:
    inputs = [
        {"name": "features", "datatype": "FP32", "shape": [1, 20], "parameters": {"binary_data_size": size}}
        for size in sizes
    ]
    body, size = binary_body(infer(*inputs), raw)
    status, told = http.post("/v2/models/linear/infer", body, Inference_Header_Content_Length=header or size).error
    assert status == 400
    assert message in told


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(struct.pack("<I", 5) + b"abc", "element 0 has 5 bytes by its length, but 3 are left", id="short"),
        pytest.param(b"\1\0\0\0a\2\0", "expected a length of 4 bytes before element 1, 2 are left", id="half a length"),
        pytest.param(b"\1\0\0\0\xff" * 2, "strings: expected UTF-8, received b'\\xff'", id="not UTF-8"),
        pytest.param(b"\1\0\0\0a", "expected 2 elements for shape [1, 2], received 1", id="one too few"),
    ],
)
def test_binary_strings_that_are_wrong(http: Http, raw: bytes, message: str) -> None:
    described = {"name": "x", "datatype": "BYTES", "shape": [1, 2], "parameters": {"binary_data_size": len(raw)}}
    body, size = binary_body(infer(described), raw)
    status, told = http.post("/v2/models/string/infer", body, Inference_Header_Content_Length=size).error
    assert status == 400
    assert told.startswith("tensor 'x': ")
    assert message in told


def test_a_model_that_fails_on_a_row_fails_that_request_alone(http: Http) -> None:
    assert http.post("/v1/models/touchy:predict", {"instances": ["x"]}).status == 500
    assert http.post("/v1/models/touchy:predict", {"instances": ["1"]}).json == {"predictions": [[1.0]]}


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        pytest.param("GET", "/v3", (404, "there is nothing at this path: /docs lists what there is"), id="no path"),
        pytest.param(
            "GET",
            "/v1/models/linear:classify",
            (501, "this server has no :classify: send rows to :predict"),
            id="what TensorFlow Serving has besides",
        ),
        pytest.param(
            "GET", "/v2/models/linear/versions/x", (400, "version: expected 1 or more, received 'x'"), id="no version"
        ),
    ],
)
def test_a_path_that_leads_nowhere(http: Http, method: str, path: str, error: tuple[int, str]) -> None:
    http.send(method, path)
    assert http.answer().error == error


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        pytest.param("GET", "/v1/models/linear:predict", "POST", id="TensorFlow Serving's"),
        pytest.param("PUT", "/v1/models/linear/versions/1:predict", "POST", id="of a version"),
        pytest.param("DELETE", "/v1/models/linear/labels/stable:predict", "POST", id="of a label"),
        pytest.param("GET", "/v2/models/linear/infer", "POST", id="the Open Inference Protocol's"),
        pytest.param("GET", "/v2/repository/index", "POST", id="the index"),
        pytest.param("POST", "/v1/models/linear", "GET, HEAD", id="a status"),
        pytest.param("POST", "/metrics", "GET, HEAD", id="metrics"),
    ],
)
def test_the_wrong_method_hears_of_the_right_one(http: Http, method: str, path: str, takes: str) -> None:
    http.send(method, path)
    answer = http.answer()
    assert answer.error == (405, f"method: expected {takes} at this path, received {method}")
    assert answer.headers["allow"] == takes
