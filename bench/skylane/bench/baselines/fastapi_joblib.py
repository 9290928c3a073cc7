"""How many teams start: FastAPI, uvicorn, JSON, the scikit-learn pipeline itself out of a joblib file.

One process, no access log. Loads every `<name>.joblib` of a directory; those files are pickles and are trusted, because
the harness wrote them a moment ago.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class Request(BaseModel):
    """Rows of features."""

    rows: list[list[float]]


class Response(BaseModel):
    """A label and the probability of each class, for each row."""

    label: list[int]
    probabilities: list[list[float]]


def make_app(estimators: dict[str, Any]) -> FastAPI:
    """The application."""
    app = FastAPI()

    @app.post("/v1/models/{name}")
    async def predict(name: str, request: Request) -> Response:
        if name not in estimators:
            raise HTTPException(404, f"no model {name!r}")
        rows, estimator = np.asarray(request.rows, np.float32), estimators[name]
        probabilities = estimator.predict_proba(rows)
        label = estimator.classes_[probabilities.argmax(axis=1)]
        return Response(label=label.tolist(), probabilities=probabilities.tolist())

    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.baselines.fastapi_joblib", description=__doc__)
    parser.add_argument("--pipelines", type=Path, required=True, help="directory of <name>.joblib files")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(argv)
    estimators = {path.stem: joblib.load(path) for path in options.pipelines.glob("*.joblib")}
    uvicorn.run(make_app(estimators), host="127.0.0.1", port=options.port, access_log=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
