"""Publishes existing graphs as versions: ONNX files, Triton repositories, MLflow models.

`command` is `skylane import`, `copying` is `skylane models copy`. `graph` reads an ONNX file, `sample` reads the rows,
`verify` runs the graph on them, and `version` publishes it; `triton` and `mlflow` read these other layouts.
"""
