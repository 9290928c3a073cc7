"""skl2onnx's graph, in float32 and in float64."""

from skylane.convert.export.candidates.registry import Built, NotApplicable, Source, candidate


@candidate("float32")
def float32(source: Source) -> Built:
    """float32: half the traffic of float64, and the type for which most operators of ONNX Runtime are fastest."""
    return Built(source.exported("float32").SerializeToString(deterministic=True), "float32", "as exported")


@candidate("float64")
def float64(source: Source) -> Built:
    """float64, as scikit-learn computes. Many operators (imputers, most trees) have no float64 kernel."""
    if all(column.kind == "string" for column in source.layout.columns):
        raise NotApplicable("the pipeline takes no numbers")
    return Built(source.exported("float64").SerializeToString(deterministic=True), "float64", "as exported, in doubles")
