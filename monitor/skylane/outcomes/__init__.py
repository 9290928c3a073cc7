"""What became true afterwards: labels and values, beside the instant at which each was known.

from skylane import outcomes

labels = outcomes.read("journal", "flights_late", known_by=instant)
joined = outcomes.join(predictions, labels)
"""

from skylane.outcomes.checks import Refusal
from skylane.outcomes.joining import JoinCounts, Joined, join
from skylane.outcomes.log_files import read_log
from skylane.outcomes.resolution import Counts, Resolved, resolve
from skylane.outcomes.schema import LOG, OUTCOMES, SUBMISSION
from skylane.outcomes.store import OutcomeStore, Receipt, Submission, read

__all__ = [
    "LOG",
    "OUTCOMES",
    "SUBMISSION",
    "Counts",
    "JoinCounts",
    "Joined",
    "OutcomeStore",
    "Receipt",
    "Refusal",
    "Resolved",
    "Submission",
    "join",
    "read",
    "read_log",
    "resolve",
]
