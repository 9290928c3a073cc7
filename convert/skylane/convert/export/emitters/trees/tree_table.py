"""Trees of any library in one form: a table of nodes. Plain arrays; knows neither estimators nor ONNX graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from skylane.convert.inspection.schema import Array

LEAF = -1


@dataclass(frozen=True)
class TreeTable:
    """Trees whose leaves are summed. All arrays but `roots` have one entry for each node of any tree."""

    roots: Array
    """(trees) int64: the first node of each tree."""
    feature: Array
    """int64: the index of the feature that a node compares; 0 in leaves."""
    threshold: Array
    """float64: numbers up to this one go left."""
    left: Array
    """int64: the left child; LEAF in leaves."""
    right: Array
    """int64: the right child; LEAF in leaves."""
    gaps_left: Array
    """bool: whether NaN goes left."""
    values: Array
    """(nodes, width) float64: what a leaf adds to each output."""
    single: bool
    """Whether features are rounded to single precision before they are compared."""
    members: Mapping[int, Array] = field(default_factory=dict)
    """Nodes that test for categories instead → the codes, int64, that go left; all others and NaN go right."""

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    @property
    def leaves(self) -> Array:
        """(nodes) bool."""
        return np.asarray(self.left == LEAF)

    @property
    def several(self) -> bool:
        """Whether some leaf adds to several outputs."""
        return bool((np.count_nonzero(self.values[self.leaves], axis=1) > 1).any())

    def column(self, place: int) -> "TreeTable":
        """The same trees for one of the outputs."""
        return replace(self, values=self.values[:, [place]])

    def spread(self, place: int, width: int) -> "TreeTable":
        """Trees with one output as trees with several, the others zero."""
        values = np.zeros((len(self.values), width))
        values[:, place] = self.values[:, 0]
        return replace(self, values=values)

    def renumbered(self, columns: Sequence[int]) -> "TreeTable":
        """The same trees where feature f is column columns[f]."""
        feature = np.asarray(columns, dtype=np.int64)[self.feature]
        return replace(self, feature=np.where(self.leaves, 0, feature))

    def split(self, nodes_max: int) -> list["TreeTable"]:
        """The same trees, in order, as forests of at most `nodes_max` nodes; a larger tree is a forest of its own."""
        ends = np.append(self.roots[1:], len(self.feature))
        starts, first = [0], 0
        for tree, end in enumerate(ends):
            if end - first > nodes_max and self.roots[tree] > first:
                first = int(self.roots[tree])
                starts.append(first)
        return [self._slice(start, end) for start, end in zip(starts, [*starts[1:], len(self.feature)], strict=True)]

    def _slice(self, start: int, end: int) -> "TreeTable":
        leaf = self.leaves[start:end]
        return TreeTable(
            roots=self.roots[(self.roots >= start) & (self.roots < end)] - start,
            feature=self.feature[start:end],
            threshold=self.threshold[start:end],
            left=np.where(leaf, LEAF, self.left[start:end] - start),
            right=np.where(leaf, LEAF, self.right[start:end] - start),
            gaps_left=self.gaps_left[start:end],
            values=self.values[start:end],
            single=self.single,
            members={node - start: codes for node, codes in self.members.items() if start <= node < end},
        )

    @classmethod
    def constant(cls, values: Array, single: bool) -> "TreeTable":
        """For each output a tree that is a single leaf."""
        count = len(values)
        return cls(
            roots=np.arange(count),
            feature=np.zeros(count, np.int64),
            threshold=np.zeros(count),
            left=np.full(count, LEAF),
            right=np.full(count, LEAF),
            gaps_left=np.zeros(count, np.bool_),
            values=np.diag(values).astype(np.float64),
            single=single,
        )

    @classmethod
    def joined(cls, several: Sequence["TreeTable"]) -> "TreeTable":
        """All trees of these forests, which have the same features and outputs."""
        starts = np.cumsum([0, *(len(one.feature) for one in several)])
        moved = list(zip(several, starts, strict=False))
        return cls(
            roots=np.concatenate([one.roots + start for one, start in moved]),
            feature=np.concatenate([one.feature for one in several]),
            threshold=np.concatenate([one.threshold for one in several]),
            left=np.concatenate([np.where(one.leaves, LEAF, one.left + start) for one, start in moved]),
            right=np.concatenate([np.where(one.leaves, LEAF, one.right + start) for one, start in moved]),
            gaps_left=np.concatenate([one.gaps_left for one in several]),
            values=np.concatenate([one.values for one in several]),
            single=several[0].single,
            members={node + int(start): codes for one, start in moved for node, codes in one.members.items()},
        )
