"""Comparisons that answer one question, run by hand: `python -m skylane.bench.experiments.<name>`."""
