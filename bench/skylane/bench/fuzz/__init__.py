"""Searches for faults that tests with a few examples miss: `python -m skylane.bench.fuzz --minutes 60 --seed 1`.

Each target plays rounds, each round is decided by its seed alone, and a round that fails is repeated by that seed.
"""
