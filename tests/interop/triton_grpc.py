"""What programs do with `tritonclient.grpc`, unmodified. Run by test_triton_grpc.py in a process of its own.

argv: the address; prints JSON. tritonclient's messages have the names of ours.
"""

import asyncio
import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.linspace(-1, 1, 40, dtype=np.float32).reshape(2, 20)


def features(rows: "np.ndarray[Any, Any]" = ROWS) -> list[Any]:
    """The inputs of `linear`."""
    made = triton.InferInput("features", list(rows.shape), "FP32")
    made.set_data_from_numpy(rows)
    return [made]


def strings() -> list[Any]:
    """The inputs of `mixed`."""
    numbers, texts = triton.InferInput("numbers", [1, 2], "FP32"), triton.InferInput("strings", [1, 2], "BYTES")
    numbers.set_data_from_numpy(np.array([[1, 2]], np.float32))
    texts.set_data_from_numpy(np.array([["é", "x"]], object))
    return [numbers, texts]


def scores(result: Any) -> list[float]:
    """The output of `linear`."""
    found: list[float] = result.as_numpy("score").ravel().tolist()
    return found


def told(call: Any) -> list[str]:
    """Status and message of what is refused."""
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
    raise AssertionError("it was not refused")


def streamed(client: Any) -> dict[str, list[float]]:
    """Scores by request id, over one stream."""
    results: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: results.put((result, error)))
    for place in range(10):
        client.async_stream_infer("linear", features(), request_id=str(place))
    found = [results.get(timeout=30) for _ in range(10)]
    client.stop_stream()
    assert all(error is None for _, error in found), found
    return {result.get_response().id: scores(result) for result, _ in found}


def reloaded(client: Any) -> list[Any]:
    """A model is taken away and brought back; what is seen of it after each."""
    client.unload_model("linear")
    seen = [client.is_model_ready("linear"), told(lambda: client.infer("linear", features()))[0]]
    client.load_model("linear")
    return [*seen, client.is_model_ready("linear"), scores(client.infer("linear", features()))]


async def asynchronous(address: str) -> list[float]:
    """The client for asyncio."""
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        results = await asyncio.gather(*(client.infer("linear", features()) for _ in range(20)))
        return scores(results[-1])


def main(address: str) -> dict[str, Any]:
    """Everything, as JSON can say it."""
    with triton.InferenceServerClient(address) as client:
        waiting: queue.Queue[Any] = queue.Queue()
        for _ in range(20):
            client.async_infer("linear", features(), lambda result, error: waiting.put((result, error)))
        wanted = [triton.InferRequestedOutput("label"), triton.InferRequestedOutput("score")]
        with_id = client.infer("linear", features(), outputs=wanted, request_id="7", client_timeout=30)
        return {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model ready": client.is_model_ready("linear", "1"),
            "absent model ready": client.is_model_ready("absent"),
            "absent version ready": client.is_model_ready("linear", "999"),
            "server": client.get_server_metadata(as_json=True),
            "model": client.get_model_metadata("linear", as_json=True),
            "config": client.get_model_config("linear", as_json=True),
            "index": client.get_model_repository_index(as_json=True),
            "scores": [scores(client.infer("linear", features())) for _ in range(3)],
            "async": [scores(waiting.get(timeout=30)[0]) for _ in range(20)],
            "id": with_id.get_response().id,
            "labels": with_id.as_numpy("label").ravel().tolist(),
            "compressed": scores(client.infer("linear", features(), compression_algorithm="gzip")),
            "strings": [text.decode() for text in client.infer("mixed", strings()).as_numpy("strings_out").ravel()],
            "stream": streamed(client),
            "asyncio": asyncio.run(asynchronous(address)),
            "statistics": client.get_inference_statistics("linear", as_json=True),
            "unknown": told(lambda: client.infer("lienar", features())),
            "wrong": told(lambda: client.infer("linear", features(ROWS[:, 1:]))),
            "reloaded": reloaded(client),
        }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
