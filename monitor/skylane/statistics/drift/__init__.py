"""Whether the rows of a block of time are like those that a version was made from. Pure NumPy.

reference = Reference.from_profile(profile)       or skylane.reference.read(version, identity), with its own blocks
current = block_statistics(columns, answers, weights, reference, times_s=…, start_s=…)
verdict = judge(history, current, reference)
"""

from skylane.reference import Reference as Reference
from skylane.statistics.drift.blocks import BlockStatistics as BlockStatistics
from skylane.statistics.drift.blocks import block_start as block_start
from skylane.statistics.drift.blocks import block_statistics as block_statistics
from skylane.statistics.drift.blocks import merged as merged
from skylane.statistics.drift.finding import Finding as Finding
from skylane.statistics.drift.judge import ColumnDrift as ColumnDrift
from skylane.statistics.drift.judge import Verdict as Verdict
from skylane.statistics.drift.judge import judge as judge
