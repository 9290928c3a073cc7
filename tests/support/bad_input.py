"""Requests that are wrong, and what their callers hear: one table for every protocol and transport."""

import grpc
import numpy as np
import pytest

from skylane.v1.prediction_pb2 import DATA_TYPE_FLOAT32 as FLOAT32
from skylane.v1.prediction_pb2 import DATA_TYPE_FLOAT64 as FLOAT64
from skylane.v1.prediction_pb2 import DATA_TYPE_STRING as STRING
from skylane.v1.prediction_pb2 import Column, DoubleList, PredictRequest, StringList, Tensor
from support.calls import ask, features

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
LINEAR_TAKES = "the model takes tensor 'features' float32 (any, 20)"
MIXED_TAKES = (
    "the model takes the columns 'a', 's', 'b' and 't', or the tensors 'numbers' float32 (any, 2) and "
    "'strings' string (any, 2)"
)
ONE = features(1)


def doubles(name: str, *values: float, missing: tuple[int, ...] = ()) -> Column:
    return Column(name=name, doubles=DoubleList(values=values), missing=missing)


def strings(name: str, *values: str, missing: tuple[int, ...] = ()) -> Column:
    return Column(name=name, strings=StringList(values=values), missing=missing)


def mixed(*columns: Column) -> PredictRequest:
    return PredictRequest(model="mixed", columns=columns)


CASES = [
    pytest.param(
        PredictRequest(), INVALID, "model: expected the name of a model, received nothing", id="an empty message"
    ),
    pytest.param(
        ask("lienar", features=ONE),
        NOT_FOUND,
        "there is no model 'lienar': did you mean 'linear'? this server has linear, mixed and touchy",
        id="a misspelt model",
    ),
    pytest.param(
        ask("x" * 10_000, features=ONE),
        NOT_FOUND,
        f"there is no model '{'x' * 100}…': this server has linear, mixed and touchy",
        id="an endless name is cut",
    ),
    pytest.param(
        PredictRequest(model="linear", version=7),
        NOT_FOUND,
        "version 7 of model 'linear' is not loaded: loaded is 1",
        id="an unknown version",
    ),
    pytest.param(
        PredictRequest(model="linear", version=0),
        INVALID,
        "version: expected 1 or more, received 0",
        id="version 0 is not the latest",
    ),
    pytest.param(
        PredictRequest(model="linear", label="stable"),
        NOT_FOUND,
        "model 'linear' has no label 'stable': it has no labels",
        id="an unknown label",
    ),
    pytest.param(ask("linear"), INVALID, f"the request has no inputs: {LINEAR_TAKES}", id="no inputs"),
    pytest.param(
        ask("linear", feature=ONE),
        INVALID,
        "inputs: 'features' is missing, and 'feature' is not known (did you mean 'features'?); " + LINEAR_TAKES,
        id="a misspelt tensor",
    ),
    pytest.param(
        ask("linear", features=ONE, more=ONE),
        INVALID,
        f"inputs: 'more' is not known; {LINEAR_TAKES}",
        id="a tensor too many",
    ),
    pytest.param(
        ask("mixed", numbers=np.zeros((1, 2), np.float32)),
        INVALID,
        f"inputs: 'strings' is missing; {MIXED_TAKES}",
        id="a tensor too few",
    ),
    pytest.param(
        ask("linear", features=ONE.astype(np.float64)),
        INVALID,
        "tensor 'features': expected float32, received float64",
        id="the wrong dtype",
    ),
    pytest.param(
        ask("linear", features=features(1, 19)),
        INVALID,
        "tensor 'features': expected shape (any, 20), received (1, 19)",
        id="the wrong width",
    ),
    pytest.param(
        ask("linear", features=ONE[0]),
        INVALID,
        "tensor 'features': expected shape (any, 20), received (20)",
        id="a row without its dimension of rows",
    ),
    pytest.param(
        PredictRequest(model="linear", tensors=[Tensor(name="features", dtype=FLOAT32, shape=[1, 20], data=b"1234")]),
        INVALID,
        "tensor 'features': data: expected 80 bytes for float32 of shape [1, 20], received 4",
        id="too few bytes",
    ),
    pytest.param(
        PredictRequest(model="linear", tensors=[Tensor(name="features", dtype=FLOAT32, shape=[-1, 20], data=b"")]),
        INVALID,
        "tensor 'features': shape: expected sizes from 0 with the rows first, received [-1, 20]",
        id="a negative size",
    ),
    pytest.param(
        PredictRequest(model="linear", tensors=[Tensor(name="features", shape=[1, 20], data=b"")]),
        INVALID,
        "tensor 'features': dtype: expected one of bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, "
        "float16, float32, float64, string, received 0",
        id="no dtype",
    ),
    pytest.param(
        PredictRequest(model="linear", tensors=[Tensor(name="features", dtype=FLOAT32)]),
        INVALID,
        "tensor 'features': shape: expected sizes from 0 with the rows first, received []",
        id="no shape",
    ),
    pytest.param(
        PredictRequest(model="mixed", tensors=[Tensor(name="s", dtype=STRING, shape=[1], strings=[b"\xff"])]),
        INVALID,
        "tensor 's': strings: expected UTF-8, received b'\\xff'",
        id="a string that is not UTF-8",
    ),
    pytest.param(
        PredictRequest(model="mixed", tensors=[Tensor(name="a", dtype=FLOAT64)], columns=[doubles("a", 1)]),
        INVALID,
        "inputs: expected tensors or columns, received both",
        id="tensors and columns at once",
    ),
    pytest.param(
        mixed(doubles("a", 1), doubles("b", 1), strings("s", "x"), strings("u", "y")),
        INVALID,
        "inputs: 't' is missing, and 'u' is not known; " + MIXED_TAKES,
        id="a column under another name",
    ),
    pytest.param(
        mixed(doubles("a", 1), doubles("b", 1), strings("s", "x"), strings("t", "y", "z")),
        INVALID,
        "inputs differ in their rows: 'a' has 1, 't' has 2",
        id="columns of different length",
    ),
    pytest.param(
        mixed(strings("a", "1"), doubles("b", 1), strings("s", "x"), strings("t", "y")),
        INVALID,
        "column 'a': expected floats (float32), received strings",
        id="strings for numbers",
    ),
    pytest.param(
        mixed(doubles("a", 1), doubles("b", 1), doubles("s", 1), strings("t", "y")),
        INVALID,
        "column 's': expected strings (string), received floats",
        id="numbers for strings",
    ),
    pytest.param(
        mixed(doubles("a", float("nan")), doubles("b", 1), strings("s", "x"), strings("t", "y")),
        INVALID,
        "column 'a': the pipeline accepts no gaps here, but the value of row 0 is missing",
        id="a gap where the pipeline takes none",
    ),
    pytest.param(
        mixed(doubles("a", 1, missing=(3,)), doubles("b", 1), strings("s", "x"), strings("t", "y")),
        INVALID,
        "column 'a': missing: row 3 is beyond the 1 values of the list",
        id="a gap beyond the rows",
    ),
    pytest.param(mixed(doubles("a", 1), doubles("a", 1)), INVALID, "columns: 'a' appears twice", id="a column twice"),
    pytest.param(
        ask("linear", outputs=["scor"], features=ONE),
        INVALID,
        "outputs: 'scor' is not known: did you mean 'score'? the model has label and score",
        id="a misspelt output",
    ),
    pytest.param(
        ask("linear", outputs=["score", "score"], features=ONE),
        INVALID,
        "outputs: a name appears twice",
        id="an output twice",
    ),
    pytest.param(
        ask("linear", features=features(8193)),
        INVALID,
        "the request has 8193 rows, but this model takes at most 8192 (max_request_rows): send it in parts",
        id="more rows than the model takes",
    ),
    pytest.param(
        ask("linear", request_id="i" * 257, features=ONE),
        INVALID,
        "request_id: expected at most 256 bytes",
        id="an endless request id",
    ),
]
