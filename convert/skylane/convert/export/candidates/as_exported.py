"""The graph as skl2onnx makes it, in single and in double precision."""

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate


@candidate("float32")
def float32(source: Source) -> Built:
    """Numbers of four bytes: half the traffic, and the type that most operators of ONNX Runtime are fastest with."""
    return Built(source.exported("float32").SerializeToString(deterministic=True), "float32", "as exported")


@candidate("float64")
def float64(source: Source) -> Built:
    """Numbers of eight bytes, as scikit-learn computes. Many operators (imputers, most trees) have no such kernel."""
    if all(column.kind == "string" for column in source.layout.columns):
        raise NotApplicable("the pipeline takes no numbers")
    return Built(source.exported("float64").SerializeToString(deterministic=True), "float64", "as exported, in doubles")
