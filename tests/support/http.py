"""Requests over HTTP put together by hand, as a client in any language does."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, or what of it is JSON."""
        size = self.headers.get("inference-header-content-length")
        return json.loads(self.body if size is None else self.body[: int(size)])

    @property
    def binary(self) -> bytes:
        """What stands behind the JSON."""
        return self.body[int(self.headers["inference-header-content-length"]) :]

    @property
    def error(self) -> tuple[int, str]:
        """Status and words of a refusal."""
        assert self.headers["content-type"] == "application/json"
        assert self.json == {"error": self.json["error"], "request_id": self.headers["x-request-id"]}
        return self.status, self.json["error"]


class Http:
    """One connection that stays open."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, **headers: str) -> None:
        """`headers` go with every request; `_` stands for `-`."""
        self._headers = _named(headers)
        if tls is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        else:
            self.connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=tls)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Ask, without waiting for the answer. Anything but bytes goes as JSON."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, path, content, self._headers | _named(headers))

    def answer(self) -> Answer:
        """The answer to what was sent."""
        response = self.connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """Ask with GET, and wait."""
        self.send("GET", path, **headers)
        return self.answer()

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask with POST, and wait."""
        self.send("POST", path, body, **headers)
        return self.answer()

    def __enter__(self) -> "Http":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.connection.close()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def tensor(name: str, array: "np.ndarray[Any, Any]", datatype: str = "FP32") -> dict[str, Any]:
    """A tensor of the Open Inference Protocol, in JSON."""
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


def infer(*tensors: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A body of `infer`."""
    return {"inputs": list(tensors), **more}


def binary_body(body: dict[str, Any], *raws: bytes) -> tuple[bytes, str]:
    """A body with tensors behind it, and its header."""
    encoded = json.dumps(body).encode()
    return encoded + b"".join(raws), str(len(encoded))
