"""Training rows with feature values, from the files that views name. Needs pyarrow."""

from skylane.features.training.joining import Joined, ViewCounts, join
from skylane.features.training.joining_files import write_join

__all__ = ["Joined", "ViewCounts", "join", "write_join"]
