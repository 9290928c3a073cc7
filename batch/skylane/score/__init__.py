"""Scores tables and files with a published version: the same answers as the server's, without the server.

    from skylane.score import Scorer, score

    answers = score(frame, "flights_late")  # Arrow, pandas or polars in; the same kind out, with the answers
    scorer = Scorer.load("flights_late@3")  # for many tables

`skylane score IN OUT --model flights_late` does it for files: docs/batch.md.
"""

from skylane.score.frames import score
from skylane.score.scorer import Rejection, Scored, Scorer
from skylane.score.selection import ScoreError

__all__ = ["Rejection", "ScoreError", "Scored", "Scorer", "score"]
