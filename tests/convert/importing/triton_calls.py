"""Ask every model by both of NVIDIA's clients, unmodified. Run by test_end_to_end.py in a process of its own.

argv: the gRPC address, the HTTP address, and an .npz file with arrays called model/input. Prints JSON:
client → model → output → values.
"""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client


def answers(library: Any, address: str, rows: dict[str, dict[str, "np.ndarray[Any, Any]"]]) -> dict[str, Any]:
    """What one client gets. Types are those that the server's metadata name, as generic programs do it."""
    answers_by_name: dict[str, Any] = {}
    with library.InferenceServerClient(address) as client:
        for model, arrays in rows.items():
            assert client.is_model_ready(model)
            described = client.get_model_metadata(model)
            described = described if isinstance(described, dict) else json.loads(_json(described))
            inputs = []
            for tensor in described["inputs"]:
                array = arrays[tensor["name"]]
                made = library.InferInput(tensor["name"], list(array.shape), tensor["datatype"])
                made.set_data_from_numpy(array.astype(object) if tensor["datatype"] == "BYTES" else array)
                inputs.append(made)
            result = client.infer(model, inputs)
            answers_by_name[model] = {
                tensor["name"]: _values(result, tensor["name"]) for tensor in described["outputs"]
            }
    return answers_by_name


def _json(message: Any) -> str:
    from google.protobuf.json_format import MessageToJson

    return MessageToJson(message, preserving_proto_field_name=True)


def _values(result: Any, name: str) -> Any:
    array = result.as_numpy(name)
    return [value.decode() for value in array.ravel()] if array.dtype == object else array.tolist()


def main() -> None:
    """See the module."""
    grpc_address, http_address, file = sys.argv[1:]
    rows: dict[str, dict[str, Any]] = {}
    with np.load(file) as archive:
        for key in archive.files:
            model, _, name = key.partition("/")
            rows.setdefault(model, {})[name] = archive[key]
    print(
        json.dumps({"grpc": answers(grpc_client, grpc_address, rows), "http": answers(http_client, http_address, rows)})
    )


if __name__ == "__main__":
    main()
