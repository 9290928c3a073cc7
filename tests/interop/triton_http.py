"""What programs do with `tritonclient.http`, unmodified. Run by test_triton_http.py in a process of its own.

argv: the address; prints JSON. tritonclient brings gevent, whose patches no other test should meet.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.linspace(-1, 1, 40, dtype=np.float32).reshape(2, 20)


def features(binary: bool, rows: "np.ndarray[Any, Any]" = ROWS) -> list[Any]:
    """The inputs of `linear`."""
    made = triton.InferInput("features", list(rows.shape), "FP32")
    made.set_data_from_numpy(rows, binary_data=binary)
    return [made]


def outputs(binary: bool) -> list[Any]:
    """Both outputs of `linear`, in the order that is not the model's."""
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in ("score", "label")]


def strings(binary: bool) -> list[Any]:
    """The inputs of `mixed`."""
    numbers, texts = triton.InferInput("numbers", [1, 2], "FP32"), triton.InferInput("strings", [1, 2], "BYTES")
    numbers.set_data_from_numpy(np.array([[1, 2]], np.float32), binary_data=binary)
    texts.set_data_from_numpy(np.array([["é", "x"]], object), binary_data=binary)
    return [numbers, texts]


def told(call: Any) -> list[str]:
    """Status and message of what is refused."""
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
    raise AssertionError("it was not refused")


def at_once(address: str) -> list[list[float]]:
    """Calls that do not wait. On a client of their own: beside calls that wait, it never closes, whoever the server."""
    with triton.InferenceServerClient(address, concurrency=4) as client:
        waiting = [client.async_infer("linear", features(True)) for _ in range(20)]
        return [call.get_result().as_numpy("score").ravel().tolist() for call in waiting]


def reloaded(client: Any) -> list[Any]:
    """A model is taken away and brought back; what is seen of it after each."""
    client.unload_model("linear")
    seen = [client.is_model_ready("linear"), told(lambda: client.infer("linear", features(True)))[0]]
    client.load_model("linear")
    return [
        *seen,
        client.is_model_ready("linear"),
        client.infer("linear", features(True)).as_numpy("score").ravel().tolist(),
    ]


async def asynchronous(address: str) -> list[float]:
    """The client for asyncio."""
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        results = await asyncio.gather(*(client.infer("linear", features(True)) for _ in range(20)))
        found: list[float] = results[-1].as_numpy("score").ravel().tolist()
        return found


def main(address: str) -> dict[str, Any]:
    """Everything once, with the client that waits."""
    with triton.InferenceServerClient(address, concurrency=4) as client:
        scores = {
            f"{binary_in} {binary_out} {packed}": client.infer(
                "linear",
                features(binary_in),
                outputs=outputs(binary_out),
                request_id="7",
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
            for binary_in in (True, False)
            for binary_out in (True, False)
            for packed in (None, "gzip", "deflate")
        }
        return {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model ready": [client.is_model_ready("linear"), client.is_model_ready("linear", "1")],
            "unknown model ready": client.is_model_ready("nothing"),
            "server": client.get_server_metadata(),
            "model": client.get_model_metadata("linear"),
            "config": client.get_model_config("linear"),
            "index": client.get_model_repository_index(),
            "ids": sorted({result.get_response()["id"] for result in scores.values()}),
            "scores": [result.as_numpy("score").ravel().tolist() for result in scores.values()],
            "labels": [result.as_numpy("label").tolist() for result in scores.values()],
            "all outputs": client.infer("linear", features(True)).as_numpy("score").ravel().tolist(),
            "async": at_once(address),
            "strings": [
                [text.decode() if isinstance(text, bytes) else text for text in row]
                for binary in (True, False)
                for row in client.infer(
                    "mixed",
                    strings(binary),
                    outputs=[triton.InferRequestedOutput("strings_out", binary_data=binary)],
                )
                .as_numpy("strings_out")
                .tolist()
            ],
            "unknown": told(lambda: client.infer("lienar", features(True))),
            "wrong": told(lambda: client.infer("linear", features(True, ROWS[:, :19]))),
            "version": told(lambda: client.infer("linear", features(True), model_version="7")),
            "reloaded": reloaded(client),
        }


if __name__ == "__main__":
    json.dump(main(sys.argv[1]) | {"asyncio": asyncio.run(asynchronous(sys.argv[1]))}, sys.stdout)
