"""Decision trees: many of them in one node, thresholds moved to where the rows are compared exactly.

`forest.py` is the form that all trees are brought into, `thresholds.py` says what they are compared with, `nodes.py`
writes them into a graph; every other module reads one library's or one family's trees.
"""
