"""The command `skylane journal`: what is in a journal, its rows, training sets, and removing one person.

Here rather than beside the journal itself, because exports and removals concern outcomes as well.
"""

from skylane.monitor.journal_commands.exporting import training_set

__all__ = ["training_set"]
