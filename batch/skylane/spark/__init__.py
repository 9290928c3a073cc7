"""Scores Spark's data frames with a published version: the same answers as `skylane score` and the server.

    from skylane.spark import score

    scored = score(spark.read.parquet("lake/flights"), "flights_late@3", "models")

Classic Spark and Spark Connect. docs/batch.md says what runs where.
"""

from skylane.spark.frames import score
from skylane.spark.shipping import REASON

__all__ = ["REASON", "score"]
