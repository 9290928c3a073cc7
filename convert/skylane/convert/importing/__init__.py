"""Graphs that were not made here → published versions: ONNX files, Triton repositories, MLflow models.

`command` is `skylane import`, `copying` is `skylane models copy`. `graph` reads an ONNX file, `sample` the rows,
`verify` runs it on them, and `version` publishes it; `triton` and `mlflow` find all that in other layouts.
"""
