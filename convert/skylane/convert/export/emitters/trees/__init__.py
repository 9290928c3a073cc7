"""Decision trees: all trees of a model in one ONNX node, with thresholds rounded so that comparisons stay exact.

`tree_table.py` is the common form of all trees, `thresholds.py` rounds the thresholds, `tree_nodes.py` and
`classifier_node.py` write the ONNX nodes. Each other module reads the trees of one library or one family.
"""
