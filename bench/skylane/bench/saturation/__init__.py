"""This server beside the usual ways to serve: what is compared, how, and the report. `python -m
skylane.bench.saturation`.
"""
